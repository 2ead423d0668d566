import { Setting } from './kinds.js';
import { nearestName, type OptionProblems } from './problems.js';
import { SETTINGS } from './settings.js';

/** A part of the table of settings. */
export interface SettingGroup {
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
export interface VariableValue {
  readonly variable: string;
  /** Decoded, not yet validated. */
  readonly value: unknown;
}

/**
 * The values that the environment has, by the path of their setting. An empty variable, or one of blanks, counts as unset.
 * A variable that is nearly the name of a setting is a problem; variables of Kubernetes and of other programs are ignored.
 */
export function readEnvironment(
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
