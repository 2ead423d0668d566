import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';
import type { OwnedConnection } from './refresh-script.js';

interface OwnedRequest {
  readonly partition: Partition;
  readonly gen: string;
  /** Connections to pass over. */
  readonly offset: number;
  /** At most 500; 0 only counts. */
  readonly limit: number;
}

/** The token is '' where only the index knows the connection. */
export interface OwnedReply {
  readonly status: 'OK';
  /** Entries of the lease in the index. */
  readonly owned: number;
  /** Routes of the partition, whoever owns them. */
  readonly all: number;
  /** Entries of its index. */
  readonly indexed: number;
  readonly connections: readonly OwnedConnection[];
}

/** Lists what the cluster believes that a lease owns, a page at a time, and counts the partition. Changes nothing. */
export const ownedScript = defineScript({
  name: 'owned',
  keys: ['routes', 'index'],
  args: ['gen', 'offset', 'limit'],
  statuses: ['OK'],
  keyValues: ({ partition }: OwnedRequest) => partition,
  argValues: request => request,
  read: (status, reply): OwnedReply => ({
    status,
    owned: reply.integer(1),
    all: reply.integer(2),
    indexed: reply.integer(3),
    connections: reply.groups(4, 2, at => ({ conn: reply.text(at), tok: reply.text(at + 1) })),
  }),
});
