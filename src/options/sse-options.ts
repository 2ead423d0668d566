import type { ServiceIdentifier } from 'inversify';
import type { OperationKind } from '../contracts/policy.js';
import { SseError } from '../errors.js';
import { type GivenValues, Setting } from './kinds.js';
import { inside, nearestName, OptionProblems, type SettingPath } from './problems.js';
import { SETTINGS } from './settings.js';

/** The values of a table of settings. A mapped type, so that the comments of the table stay with the properties. */
type ValuesOf<Table> =
  Table extends Setting<infer Value> ? Value : { readonly [Key in keyof Table]: ValuesOf<Table[Key]> };

/** Every setting with a value. */
export type Settings = ValuesOf<typeof SETTINGS>;

/** The bounds of one kind of call, with the repetitions that the retry settings of other groups ask for. */
export type OperationLimits = Settings['resilience'][OperationKind] & {
  /** Further tries of a call that failed with a retryable error; 0: none. */
  readonly retries: number;
  /** Milliseconds between two tries, give or take half. */
  readonly retryPause: number;
};

/** Every setting with its value in force. Frozen throughout, except `redis.client`. */
export interface ResolvedSseOptions extends Omit<Settings, 'resilience'> {
  /**
   * Bounds and repetitions per kind of call to the cluster. The repetitions are those of `script.retry*` for `send` and
   * `publish`, of `atomicOperation.luaScriptRetry*` for `register`, and of `reliability.cleanupRetry*` for the rest.
   */
  readonly resilience: Readonly<Record<OperationKind, OperationLimits>>;
}

export const ResolvedSseOptions: ServiceIdentifier<ResolvedSseOptions> = Symbol.for(
  'distributed-sse/ResolvedSseOptions',
);

/** See {@link SETTINGS}. */
export type ConnectionSettings = ResolvedSseOptions['connection'];

/** All of `Values` optional at every depth; an explicit `undefined` means the default too. Keeps the comments. */
type InputOf<Values> = {
  readonly [Key in keyof Values]?: InputValue<Values[Key]> | undefined;
};

/** Lists and functions are given whole, and so is `redis.client`, which is any object. */
type InputValue<Value> = Value extends readonly unknown[] | ((...args: never[]) => unknown)
  ? Value
  : Value extends object
    ? object extends Value
      ? Value
      : InputOf<Value>
    : Value;

/**
 * What an application may set, everything optional. `undefined` is the default, `false` switches off where a setting
 * takes it. The environment overrules it: `SSE_CONNECTION_MAX_CONNECTIONS=5000` is `connection.maxConnections`.
 */
export type SseOptions = InputOf<Settings>;

/** Takeovers of one id by page loads that succeed within `connection.takeoverWindow`. */
export const PAGE_LOAD_TAKEOVERS = 19;

/**
 * The settings in force: the environment over `input` over the defaults, validated, frozen throughout. Only the
 * environment passed in is read; both arguments stay unchanged. The result depends on nothing else, except that a default
 * `node.id` is new each time. `redis.client` is passed on as given.
 * @throws SseError `INVALID_OPTION` with one line for each unknown name, wrong value and contradiction. Secrets are not
 * shown.
 * @param source which variables of `env` are settings; default those that begin with `SSE_`
 */
export function resolveOptions(
  input: SseOptions = {},
  env: NodeJS.ProcessEnv = {},
  source?: EnvironmentOption,
): ResolvedSseOptions {
  const problems = new OptionProblems();
  const variables = readEnvironment(env, problems, source);
  const whole: SettingPath = { path: '', name: 'the options', secret: true };
  // The values follow the table, from which the type is made.
  const settings = valuesOf(SETTINGS, input, whole, { variables, problems }) as Settings;
  refuseContradictions(settings, variables, problems);
  if (problems.lines.length > 0) throw new SseError('INVALID_OPTION', problems.lines.join('\n'));
  return Object.freeze({ ...settings, resilience: withRetries(settings) });
}

interface Sources {
  readonly variables: ReadonlyMap<string, VariableValue>;
  readonly problems: OptionProblems;
}

/** The values of a group. A refused value is a problem and counts as absent, so that one call finds all problems. */
function valuesOf(group: SettingGroup, given: unknown, where: SettingPath, sources: Sources): unknown {
  const { variables, problems } = sources;
  const input = groupInput(given, where, problems);
  const values: Record<string, unknown> = {};
  for (const [key, node] of Object.entries(group)) {
    const at = inside(where, key, holdsSecret(node));
    if (!(node instanceof Setting)) {
      values[key] = valuesOf(node, input[key], at, sources);
      continue;
    }
    const set = variables.get(at.path);
    const value = set === undefined ? input[key] : set.value;
    const named = set === undefined ? at : { ...at, name: set.variable };
    values[key] = value === undefined ? undefined : node.kind.check(value, named, problems);
  }
  problems.refuseUnknownKeys(where, input, Object.keys(group), settingsNamed);
  return Object.freeze(withDefaults(group, values));
}

// A name that more groups have says too little.
const MOST_MEANT = 3;

/** The settings of any group that have the name. */
function settingsNamed(name: string): readonly string[] {
  const paths = listSettings().map(({ path }) => path);
  const meant = paths.filter(path => path.endsWith(`.${name}`));
  return meant.length > MOST_MEANT ? [] : meant;
}

/** The object that holds the values of a group; empty when they are absent or the group was refused. */
function groupInput(given: unknown, where: SettingPath, problems: OptionProblems): GivenValues {
  if (given === undefined) return {};
  if (isRecord(given)) return given;
  problems.refuse(where, 'an object of settings', given);
  return {};
}

function isRecord(value: unknown): value is GivenValues {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function withDefaults(group: SettingGroup, given: GivenValues): GivenValues {
  const values: Record<string, unknown> = { ...given };
  for (const [key, node] of Object.entries(group)) {
    if (!(node instanceof Setting) || given[key] !== undefined) continue;
    const { initial } = node;
    values[key] = Object.freeze(initial.kind === 'fixed' ? initial.value : initial.from(given));
  }
  return values;
}

function holdsSecret(node: Setting<unknown> | SettingGroup): boolean {
  return node instanceof Setting ? node.kind.secret === true : Object.values(node).some(child => holdsSecret(child));
}

/** Refuses settings that are sound by themselves but not together; none of a pair that was refused by itself. */
function refuseContradictions(
  { redis, node, sendBuffer, limits }: Settings,
  variables: ReadonlyMap<string, VariableValue>,
  problems: OptionProblems,
): void {
  /** @param paths the settings it is about; the first is the one to change @param rule what the first must be */
  const check = (sound: boolean, rule: string, value: unknown, ...paths: readonly [string, ...string[]]): void => {
    if (sound || paths.some(path => problems.wasRefused(path))) return;
    const [path] = paths;
    const name = variables.get(path)?.variable ?? path;
    problems.contradict({ path, name, secret: false }, rule, value);
  };
  const { enabled, url, client } = redis;
  const { lease, heartbeat } = node;
  const { maxBytes, maxTotalBytes: total } = sendBuffer;
  const { maxEventBytes } = limits;
  const reachable = url !== undefined || client !== undefined;
  const sources = ['redis.url', 'redis.client'];
  check(!enabled || reachable, `false without ${sources.join(' and ')}`, enabled, 'redis.enabled', ...sources);
  check(
    url === undefined || client === undefined,
    'absent when redis.url is given',
    client,
    'redis.client',
    'redis.url',
  );
  const { credentials, username, password } = redis;
  check(
    credentials === undefined || (username === undefined && password === undefined),
    'absent when redis.username or redis.password is given',
    credentials,
    'redis.credentials',
    'redis.username',
    'redis.password',
  );
  check(lease > heartbeat, `longer than node.heartbeat (${heartbeat})`, lease, 'node.lease', 'node.heartbeat');
  const perProcess = 'sendBuffer.maxTotalBytes';
  check(total >= maxBytes, `at least sendBuffer.maxBytes (${maxBytes})`, total, perProcess, 'sendBuffer.maxBytes');
  check(maxEventBytes <= total, `at most ${perProcess} (${total})`, maxEventBytes, 'limits.maxEventBytes', perProcess);
}

/** The three groups that have retry settings, as one pair of values for each kind of call. */
function withRetries(settings: Settings): ResolvedSseOptions['resilience'] {
  const { resilience, script, atomicOperation, reliability } = settings;
  const scripts = { retries: script.retryCount, retryPause: script.retryInterval };
  return Object.freeze({
    register: Object.freeze({
      ...resilience.register,
      retries: atomicOperation.luaScriptRetryCount,
      retryPause: atomicOperation.luaScriptRetryInterval,
    }),
    replay: Object.freeze({ ...resilience.replay, ...scripts }),
    send: Object.freeze({ ...resilience.send, ...scripts }),
    publish: Object.freeze({ ...resilience.publish, ...scripts }),
    command: Object.freeze({ ...resilience.command, ...scripts }),
    maintenance: Object.freeze({
      ...resilience.maintenance,
      retries: reliability.enabled ? reliability.cleanupRetryCount : 0,
      retryPause: reliability.cleanupRetryInterval,
    }),
  });
}

/** A part of the table of settings. */
interface SettingGroup {
  readonly [key: string]: Setting<unknown> | SettingGroup;
}

/** One setting of the table. */
interface ListedSetting {
  /** Keys joined by dots: `connection.maxConnections`. */
  readonly path: string;
  /** The name of its variable without the prefix: `CONNECTION_MAX_CONNECTIONS`. */
  readonly words: string;
  /** Its variable with the usual prefix; `undefined` when it cannot come from the environment. */
  readonly variable: string | undefined;
  readonly setting: Setting<unknown>;
}

/** Every setting, in the order of the table. */
export function listSettings(): ListedSetting[] {
  return settingsIn(SETTINGS, []);
}

function settingsIn(group: SettingGroup, above: readonly string[]): ListedSetting[] {
  return Object.entries(group).flatMap(([key, node]) => {
    const keys = [...above, key];
    if (!(node instanceof Setting)) return settingsIn(node, keys);
    const words = keys.map(key => key.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase()).join('_');
    return [{ path: keys.join('.'), words, variable: node.kind.decode && USUAL.prefix + words, setting: node }];
  });
}

/**
 * Whether settings come from the environment, and how their variables begin. The name of a variable is the prefix and the
 * path of the setting: `SSE_CONNECTION_MAX_CONNECTIONS` is `connection.maxConnections`. `false`: none comes from there.
 */
export type EnvironmentOption = false | { readonly prefix: string };

const USUAL = { prefix: 'SSE_' };

/** A value that the environment sets. */
interface VariableValue {
  readonly variable: string;
  /** Decoded, not yet validated. */
  readonly value: unknown;
}

/**
 * The values that the environment has, by the path of their setting. An empty variable, or one of blanks, counts as unset.
 * A variable that is nearly the name of a setting is a problem; variables of Kubernetes and of other programs are ignored.
 */
function readEnvironment(
  env: NodeJS.ProcessEnv,
  problems: OptionProblems,
  source: EnvironmentOption = USUAL,
): ReadonlyMap<string, VariableValue> {
  const values = new Map<string, VariableValue>();
  const prefix = prefixOf(source, problems);
  if (prefix === undefined) return values;
  const known = new Map<string, ListedSetting>();
  for (const listed of listSettings()) known.set(listed.words, listed);
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(prefix) || text === undefined || text.trim() === '') continue;
    const name = variable.slice(prefix.length);
    const { path, setting } = known.get(name) ?? {};
    if (path === undefined || setting?.kind.decode === undefined) refuseNearMiss(name, prefix, known, problems);
    else values.set(path, { variable, value: setting.kind.decode(text) });
  }
  return values;
}

/** The prefix of all variables; `undefined` when the environment is not read. */
function prefixOf(source: unknown, problems: OptionProblems): string | undefined {
  if (source === false) return undefined;
  const prefix = typeof source === 'object' && source !== null && 'prefix' in source ? source.prefix : undefined;
  if (typeof prefix === 'string' && /^[A-Z][A-Z0-9_]{0,63}$/i.test(prefix)) return prefix;
  const where = { path: 'environment', name: 'environment', secret: false };
  problems.refuse(where, "false, or { prefix } with a prefix such as 'MYAPP_'", prefix ?? source);
  return undefined;
}

/** What Kubernetes sets in each container for a Service of the namespace: `SSE_SERVICE_HOST`, `SSE_PORT_80_TCP_ADDR`. */
const SERVICE_VARIABLE = /(^|_)(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$/;

/** More differences than that are no slip of the pen: the variable belongs to another program. */
const MAX_SLIPS = 2;

function refuseNearMiss(
  name: string,
  prefix: string,
  known: ReadonlyMap<string, ListedSetting>,
  problems: OptionProblems,
): void {
  const exact = known.get(name);
  if (exact !== undefined) {
    problems.lines.push(`${prefix}${name} cannot be set in the environment; give ${exact.path} to sseModule`);
    return;
  }
  if (SERVICE_VARIABLE.test(name)) return;
  const shortened = name.includes('_') ? [...known.keys()].find(each => each.endsWith(`_${name}`)) : undefined;
  const meant = shortened ?? nearestName(name, known.keys(), MAX_SLIPS);
  if (meant === undefined) return;
  problems.lines.push(
    `${prefix}${name} is not a setting; did you mean ${prefix}${meant}? If another program uses it, give sseModule ` +
      "{ environment: { prefix: 'MYAPP_' } }",
  );
}
