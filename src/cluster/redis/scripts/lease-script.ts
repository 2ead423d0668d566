import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';

/** A lease as its node knows it: `gen` numbers it within the partition, `epoch` names the partition's life. */
export interface Lease {
  readonly gen: string;
  readonly epoch: string;
}

interface LeaseRequest {
  readonly partition: Partition;
  /** Incarnation: the node's id and something random of this process. */
  readonly inc: string;
  /** The lease the node believes in, as the last answer named it; none at first. */
  readonly believed: Lease | undefined;
  /** Milliseconds the lease lives from now on. */
  readonly leaseMs: number;
  /** Milliseconds the partition lives without any heartbeat; more than the lease and than any route. */
  readonly keyMs: number;
  readonly schema: string;
  /** Random name for the partition's life in case it is empty; without `|`. */
  readonly newEpoch: string;
}

/**
 * `RENEWED`: the believed lease goes on. `OPENED`: it is another one; every route of this node in the partition must be
 * registered again with mode `restore`. `SCHEMA`: the partition belongs to nodes of another layout; nothing was changed.
 */
export type LeaseReply =
  | {
      readonly status: 'RENEWED' | 'OPENED';
      readonly lease: Lease;
      /** Routes of this lease. */
      readonly owned: number;
      /** Clock of the Redis, in milliseconds. */
      readonly now: number;
    }
  | { readonly status: 'SCHEMA'; readonly stored: string };

/** Proves that a node lives, or opens its lease. Repeating it is harmless. */
export const leaseScript = defineScript({
  name: 'lease',
  keys: ['leases', 'routes', 'index'],
  args: ['inc', 'gen', 'epoch', 'leaseMs', 'keyMs', 'schema', 'newEpoch'],
  statuses: ['RENEWED', 'OPENED', 'SCHEMA'],
  keyValues: ({ partition }: LeaseRequest) => partition,
  argValues: ({ believed, ...request }) => ({
    ...request,
    gen: believed?.gen ?? '',
    epoch: believed?.epoch ?? '',
  }),
  read: (status, reply): LeaseReply => {
    if (status === 'SCHEMA') return { status, stored: reply.text(1) };
    const lease = { gen: reply.text(1), epoch: reply.text(2) };
    return { status, lease, owned: reply.integer(3), now: reply.integer(4) };
  },
});
