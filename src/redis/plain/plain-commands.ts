import type { Cluster, Redis } from 'ioredis';
import { plainReap } from './plain-reap.js';
import { plainRegister } from './plain-register.js';
import { plainUnregister } from './plain-unregister.js';

/** A script done with plain commands: the same KEYS and ARGV, the same reply. */
export type PlainCommand = (
  client: Redis | Cluster,
  keys: readonly string[],
  args: readonly string[],
) => Promise<readonly unknown[]>;

/** Which operations are one script each; see the settings of the same names. */
export interface Atomicity {
  readonly redisAtomicEnabled: boolean;
  readonly connectionRegistrationAtomic: boolean;
  readonly connectionUnregistrationAtomic: boolean;
  readonly expiredConnectionCleanupAtomic: boolean;
}

/** The scripts that are to be done with plain commands, by name. */
export function plainCommands(atomicity: Atomicity): ReadonlyMap<string, PlainCommand> {
  const { redisAtomicEnabled: any } = atomicity;
  const plain = new Map<string, PlainCommand>();
  if (!any || !atomicity.connectionRegistrationAtomic) plain.set('register', plainRegister);
  if (!any || !atomicity.connectionUnregistrationAtomic) plain.set('unregister', plainUnregister);
  if (!any || !atomicity.expiredConnectionCleanupAtomic) plain.set('reap', plainReap);
  return plain;
}
