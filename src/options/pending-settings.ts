import { readEnvironment } from './environment.js';
import { valueAt } from './object-path.js';
import { listSettings } from './setting.js';
import type { SseOptions } from './sse-options.js';

/** Groups and settings that are validated while their work is not part of this version yet. */
const PENDING = [
  'atomicOperation.redisAtomicEnabled',
  'atomicOperation.connectionRegistrationAtomic',
  'atomicOperation.connectionUnregistrationAtomic',
  'atomicOperation.expiredConnectionCleanupAtomic',
];

/**
 * The sorted paths of the settings that were given, by the application or the environment, and do
 * nothing in this version. Defaults and `undefined` are not given. Validates nothing and never
 * throws.
 */
export function pendingSettings(input: SseOptions = {}, env: NodeJS.ProcessEnv = {}): string[] {
  const given = readEnvironment(input, env).input;
  return listSettings()
    .map(setting => setting.path)
    .filter(path => isPending(path) && valueAt(given, path.split('.')) !== undefined)
    .sort();
}

function isPending(path: string): boolean {
  return PENDING.some(pending => path === pending || path.startsWith(`${pending}.`));
}
