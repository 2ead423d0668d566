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
  /** Its name in the environment; `undefined` when it cannot come from there. */
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
    const variable = node.kind.decode && variableOf(keys);
    return [{ path: keys.join('.'), variable, setting: node }];
  });
}

/** `connection.maxConnections` is `SSE_CONNECTION_MAX_CONNECTIONS`. */
function variableOf(keys: readonly string[]): string {
  const words = keys.map(key => key.replace(/[A-Z]/g, letter => `_${letter}`).toUpperCase());
  return PREFIX + words.join('_');
}

const PREFIX = 'SSE_';

/** A value that the environment sets. */
export interface VariableValue {
  readonly variable: string;
  /** Decoded, not yet validated. */
  readonly value: unknown;
}

/**
 * The values of the `SSE_*` variables by the path of their setting. An empty variable, or one of blanks, counts as unset.
 * A variable that is no setting is a problem.
 */
export function readEnvironment(env: NodeJS.ProcessEnv, problems: OptionProblems): ReadonlyMap<string, VariableValue> {
  const known = new Map<string, ListedSetting>();
  for (const listed of listSettings()) {
    if (listed.variable !== undefined) known.set(listed.variable, listed);
  }
  const values = new Map<string, VariableValue>();
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || text === undefined || text.trim() === '') continue;
    const listed = known.get(variable);
    if (listed === undefined) {
      const nearest = nearestName(variable, known.keys()) ?? '';
      problems.lines.push(`${variable} is not a setting; did you mean ${nearest}?`);
      continue;
    }
    values.set(listed.path, { variable, value: listed.setting.kind.decode?.(text) });
  }
  return values;
}
