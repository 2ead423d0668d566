import { pathToFileURL } from 'node:url';
import type { ScriptSource } from '../../../src/cluster/redis/script.js';

/** Reads the clock from a key beside the first one, so that a test decides what time it is; 0 until it has. */
const FAKE_CLOCK = `
local now = tonumber(redis.call('GET', string.match(KEYS[1], '^(.-{.-}):') .. ':clock') or '0')
local nowMicros = now * 1000
`;

/** The scripts under test: those of the package, or, for the mutation run, those in the folder that LUA_FOLDER names. */
export function scriptSource(clock: 'redis' | 'fake'): ScriptSource {
  const folder = process.env['LUA_FOLDER'];
  return {
    ...(folder !== undefined && { folder: pathToFileURL(`${folder}/`) }),
    ...(clock === 'fake' && { replaced: { _clock: FAKE_CLOCK } }),
  };
}
