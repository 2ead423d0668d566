import { readFileSync } from 'node:fs';
import { SseError } from '../errors/sse-error.js';

/** The folder `lua` of the package, as seen from `dist/src/redis`. */
export const LUA_FOLDER = new URL('../../../lua/', import.meta.url);

const PRELUDE = ['_clock', '_common'];

/** Where scripts come from. */
export interface ScriptSource {
  readonly folder?: URL;
  /** Text in place of a file, by its name without `.lua`; tests put their own clock in place of `_clock`. */
  readonly replaced?: Readonly<Record<string, string>>;
}

/**
 * Reads scripts and puts what they share in front: clock, then common functions. The result maps each name to the text
 * that Redis runs. Synchronous; to be called once at start.
 * @throws SseError `INTERNAL` when a file cannot be read: the package is incomplete.
 */
export function loadScripts(
  names: readonly string[],
  { folder = LUA_FOLDER, replaced = {} }: ScriptSource = {},
): ReadonlyMap<string, string> {
  const read = (name: string): string => {
    try {
      return replaced[name] ?? readFileSync(new URL(`${name}.lua`, folder), 'utf8');
    } catch (cause) {
      throw new SseError('INTERNAL', `lua/${name}.lua must be part of the package; reinstall it`, {
        cause,
      });
    }
  };
  const prelude = PRELUDE.map(read).join('');
  return new Map(names.map(name => [name, prelude + read(name)]));
}
