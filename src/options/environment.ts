import { nearestName } from './nearest-name.js';
import { withValue } from './object-path.js';
import { listSettings } from './setting.js';

/** What the environment says about the settings. */
export interface EnvironmentReading {
  /**
   * The application's settings with those of the environment over them; neither is validated yet.
   */
  readonly input: unknown;
  /** The variable that each path came from. */
  readonly variables: ReadonlyMap<string, string>;
  /** A line for each variable that is no setting. */
  readonly problems: readonly string[];
}

const PREFIX = 'SSE_';

/**
 * Lays the `SSE_*` variables over the application's settings. An empty variable, or one of blanks,
 * counts as unset. Changes neither argument and never throws.
 */
export function readEnvironment(input: unknown, env: NodeJS.ProcessEnv): EnvironmentReading {
  const known = new Map(listSettings().map(setting => [setting.variable, setting]));
  const variables = new Map<string, string>();
  const problems: string[] = [];
  let merged = input;
  for (const [variable, text] of Object.entries(env)) {
    if (!variable.startsWith(PREFIX) || text === undefined || text.trim() === '') continue;
    const setting = known.get(variable);
    if (setting === undefined) {
      const names = [...known.keys()].filter(name => name !== undefined);
      problems.push(`${variable} is not a setting; did you mean ${nearestName(variable, names)}?`);
      continue;
    }
    merged = withValue(merged, setting.path.split('.'), setting.decode(text));
    variables.set(setting.path, variable);
  }
  return { input: merged, variables, problems };
}
