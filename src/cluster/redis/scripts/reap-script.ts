import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';
import type { OwnedConnection } from './refresh-script.js';

interface ReapRequest {
  readonly partition: Partition;
  /** At most 500. */
  readonly limit: number;
  /** Milliseconds that a lease must have been over. */
  readonly graceMs: number;
  /** `undefined`: any lease that is over. An incarnation: its own, live or not. */
  readonly self: string | undefined;
}

/** `DONE`: the lease is gone with this batch. `MORE`: call again. `NONE`: there is no such lease. */
type ReapReply =
  | {
      readonly status: 'DONE' | 'MORE';
      /** Whose lease it was. */
      readonly inc: string;
      readonly gen: string;
      /** Routes that were removed; each is in the reply of exactly one call. */
      readonly removed: readonly OwnedConnection[];
    }
  | { readonly status: 'NONE' };

/** Removes the routes of a dead node, or of one that leaves. A lost reply loses its list, nothing else. */
export const reapScript = defineScript({
  name: 'reap',
  keys: ['leases', 'routes', 'index'],
  args: ['limit', 'graceMs', 'self'],
  statuses: ['DONE', 'MORE', 'NONE'],
  keyValues: ({ partition }: ReapRequest) => partition,
  argValues: ({ limit, graceMs, self }) => ({ limit, graceMs, self: self ?? '' }),
  read: (status, reply): ReapReply => {
    if (status === 'NONE') return { status };
    const removed = reply.groups(3, 2, at => ({ conn: reply.text(at), tok: reply.text(at + 1) }));
    return { status, inc: reply.text(1), gen: reply.text(2), removed };
  },
});
