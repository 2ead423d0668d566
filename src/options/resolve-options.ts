import { SseError } from '../errors.js';
import { type EnvironmentOption, readEnvironment, type SettingGroup, type VariableValue } from './environment.js';
import { type GivenValues, Setting } from './kinds.js';
import { inside, OptionProblems, type SettingPath } from './problems.js';
import { SETTINGS } from './settings.js';
import type { ResolvedSseOptions, Settings, SseOptions } from './sse-options.js';

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
  problems.refuseUnknownKeys(where, input, Object.keys(group));
  return Object.freeze(withDefaults(group, values));
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
