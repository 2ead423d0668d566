import type { Partition } from '../keys.js';
import { defineScript } from './definition.js';

/** A connection of a node. */
export interface OwnedConnection {
  readonly conn: string;
  readonly tok: string;
}

export interface RefreshRequest {
  readonly partition: Partition;
  readonly inc: string;
  readonly gen: string;
  /** Milliseconds the routes live from now on; 0 compares only. */
  readonly ttlMs: number;
  readonly leaseMs: number;
  readonly keyMs: number;
  /** At most 500. */
  readonly connections: readonly OwnedConnection[];
}

/** How a route compares with what its node thinks. */
export type RouteState = 'mine' | 'missing' | 'foreign' | 'other-token';

/** `LOST`: the lease is gone. `LIMIT`: more than 500 connections; nothing was done. */
type RefreshReply =
  | {
      readonly status: 'OK';
      readonly now: number;
      /** One per connection, in their order. */
      readonly states: readonly RouteState[];
    }
  | { readonly status: 'LOST' | 'LIMIT' };

const STATES: readonly RouteState[] = ['mine', 'missing', 'foreign', 'other-token'];

/** Renews, or compares, routes of a node; only those that are its own are written. Repeating it is harmless. */
export const refreshScript = defineScript({
  name: 'refresh',
  keys: ['leases', 'routes', 'index'],
  args: ['inc', 'gen', 'ttlMs', 'leaseMs', 'keyMs'],
  restArgs: ['conn', 'tok'],
  statuses: ['OK', 'LOST', 'LIMIT'],
  keyValues: ({ partition }: RefreshRequest) => partition,
  argValues: request => request,
  restArgValues: ({ connections }) => connections.flatMap(({ conn, tok }) => [conn, tok]),
  read: (status, reply): RefreshReply => {
    if (status !== 'OK') return { status };
    const states = reply.groups(2, 1, at => STATES[reply.integer(at)] ?? 'missing');
    return { status, now: reply.integer(1), states };
  },
});
