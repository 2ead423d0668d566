import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';

interface UnregisterRequest {
  readonly partition: Partition;
  /** `keys.tombstone` of this registration. */
  readonly tombstone: string;
  readonly inc: string;
  readonly conn: string;
  readonly tok: string;
  /** 0; or, when the registration had no answer and may still arrive, milliseconds to refuse it from now on. */
  readonly tombstoneMs: number;
}

/** `REMOVED`: it was ours. `NONE`: there was no route. `FOREIGN`: another registration's, which stays. */
interface UnregisterReply {
  readonly status: 'REMOVED' | 'NONE' | 'FOREIGN';
}

/** Removes a route if it is still that of this registration. Repeating it is harmless. */
export const unregisterScript = defineScript({
  name: 'unregister',
  keys: ['leases', 'routes', 'index', 'tombstone'],
  args: ['inc', 'conn', 'tok', 'tombstoneMs'],
  statuses: ['REMOVED', 'NONE', 'FOREIGN'],
  keyValues: ({ partition, tombstone }: UnregisterRequest) => ({ ...partition, tombstone }),
  argValues: request => request,
  read: (status): UnregisterReply => ({ status }),
});
