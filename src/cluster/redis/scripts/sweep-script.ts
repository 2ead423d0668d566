import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';

interface SweepRequest {
  readonly partition: Partition;
  /** Routes to look at, about; at most 500. */
  readonly count: number;
}

/** `WRAPPED`: the last chunk of a round. `MORE`: the next call goes on. */
export interface SweepReply {
  readonly status: 'WRAPPED' | 'MORE';
  /** Connection ids whose routes had run out, or had no lease. */
  readonly removed: readonly string[];
}

/** Removes routes that ran out, one chunk at a time; all nodes share one round. */
export const sweepScript = defineScript({
  name: 'sweep',
  keys: ['leases', 'routes', 'index'],
  args: ['count'],
  statuses: ['WRAPPED', 'MORE'],
  keyValues: ({ partition }: SweepRequest) => partition,
  argValues: request => request,
  read: (status, reply): SweepReply => ({
    status,
    removed: reply.groups(1, 1, at => reply.text(at)),
  }),
});
