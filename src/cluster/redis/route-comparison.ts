import type { Registered } from '../../contracts/cluster.js';
import type { InconsistencyKind } from '../differences.js';
import { SseError } from '../../errors.js';
import type { Difference } from '../differences.js';
import type { ClusterNode } from './cluster-node.js';
import type { Partition } from './keys.js';
import type { NodeLeases } from './leases.js';
import { refreshRequest } from './routes.js';
import { type OwnedReply, ownedScript } from './scripts/owned-script.js';
import { refreshScript, type RouteState } from './scripts/refresh-script.js';

const KINDS: Readonly<Record<RouteState, InconsistencyKind | undefined>> = {
  mine: undefined,
  missing: 'missing-route',
  foreign: 'foreign-route',
  'other-token': 'wrong-token',
};

/** A connection of this node and its route in Redis that do not say the same. */
export interface RouteDifference extends Difference {
  /** Of the connection here; absent when it is the route that is too much. */
  readonly state?: RouteState;
}

/** Some routes of this node, and how many there are of what. */
export interface RoutePage extends Pick<OwnedReply, 'owned' | 'all' | 'indexed'> {
  /** Routes on the page. */
  readonly length: number;
  /** Those of them whose connection is not here. */
  readonly differences: readonly RouteDifference[];
}

/** Compares some connections of this node with their routes, and some routes with their connections: a script call each. */
export class RouteComparison {
  constructor(
    private readonly node: ClusterNode,
    private readonly leases: NodeLeases,
  ) {}

  /** The differences of at most 500 connections of one partition. @throws SseError, also when the lease is lost */
  async connections(
    partition: Partition,
    registered: readonly Registered[],
  ): Promise<RouteDifference[]> {
    const { gateway, listener } = this.node;
    const request = refreshRequest(this.node, this.leases, partition, registered);
    const reply = await gateway.run(refreshScript, { ...request, ttlMs: 0 });
    if (reply.status !== 'OK') throw lostLease();
    return registered.flatMap(({ connectionId, token }, at) => {
      const state = reply.states[at] ?? 'mine';
      const kind = KINDS[state];
      // It may have ended while Redis was asked.
      return kind === undefined || !listener.holds(connectionId, token)
        ? []
        : [{ kind, connectionId, token, state }];
    });
  }

  /** At most 500 routes of one partition behind the first `offset`, in the order of connection ids. @throws SseError */
  async routes(partition: Partition, offset: number, limit: number): Promise<RoutePage> {
    const { gateway, listener } = this.node;
    const gen = this.leases.generation(partition);
    const request = { partition, gen, offset, limit };
    const { owned, all, indexed, connections } = await gateway.run(ownedScript, request);
    const differences = connections.flatMap(({ conn: connectionId, tok: token }) =>
      listener.holds(connectionId, token)
        ? []
        : [{ kind: token === '' ? ('index' as const) : ('ghost' as const), connectionId, token }],
    );
    return { owned, all, indexed, length: connections.length, differences };
  }
}

/** What was compared with was not this node's any more. */
export function lostLease(): SseError {
  return new SseError(
    'UNAVAILABLE',
    'a check must keep its leases, and one was lost; the next check tells more',
  );
}
