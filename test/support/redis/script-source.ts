import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { ScriptSource } from '../../../src/cluster/redis/script.js';

/** The folder of the scripts in the repository. */
export const LUA_FOLDER = fileURLToPath(new URL('../../../../lua/', import.meta.url));

/** Reads the clock from a key beside the first one, so that a test decides what time it is; 0 until it has. */
const FAKE_CLOCK = `
local now = tonumber(redis.call('GET', string.match(KEYS[1], '^(.-{.-}):') .. ':clock') or '0')
local nowMicros = now * 1000
`;

/** The scripts under test: those of the package, or, for the mutation run, those in the folder that LUA_FOLDER names. */
export function scriptSource(clock: 'redis' | 'fake'): ScriptSource {
  const folder = process.env['LUA_FOLDER'];
  return {
    replaced: { ...(folder !== undefined && textsIn(folder)), ...(clock === 'fake' && { _clock: FAKE_CLOCK }) },
  };
}

/** The texts of the scripts in a folder by name. */
export function textsIn(folder: string): Record<string, string> {
  const files = readdirSync(folder).filter(name => name.endsWith('.lua'));
  return Object.fromEntries(files.map(name => [name.slice(0, -4), readFileSync(join(folder, name), 'utf8')]));
}
