import type { Partition } from '../keys.js';
import { defineScript } from '../script-definition.js';
import type { OwnedConnection } from './refresh-script.js';

export interface OwnedRequest {
  readonly partition: Partition;
  readonly gen: string;
  /** Connections to pass over. */
  readonly offset: number;
  /** At most 500. */
  readonly limit: number;
}

/** The token is '' where only the index knows the connection. */
export interface OwnedReply {
  readonly status: 'OK';
  readonly connections: readonly OwnedConnection[];
}

/** Lists what the cluster believes that a lease owns, a page at a time. Changes nothing. */
export const ownedScript = defineScript({
  name: 'owned',
  keys: ['routes', 'index'],
  args: ['gen', 'offset', 'limit'],
  statuses: ['OK'],
  keyValues: ({ partition }: OwnedRequest) => partition,
  argValues: request => request,
  read: (status, reply): OwnedReply => ({
    status,
    connections: reply.groups(1, 2, at => ({ conn: reply.text(at), tok: reply.text(at + 1) })),
  }),
});
