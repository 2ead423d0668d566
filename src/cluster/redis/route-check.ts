import type { Registered } from '../../contracts/cluster-listener.js';
import type { ConsistencyRequest, InconsistencyKind } from '../../contracts/consistency.js';
import { SseError } from '../../errors/sse-error.js';
import type { Partition } from '../../redis/keys.js';
import { ownedScript } from '../../redis/scripts/owned-script.js';
import { refreshScript, type RouteState } from '../../redis/scripts/refresh-script.js';
import type { ConsistencyTally } from '../consistency-tally.js';
import { lastingDifferences, type Difference } from '../difference.js';
import { byPartition } from './by-partition.js';
import type { ClusterNode } from './cluster-node.js';
import type { NodeLeases } from './node-leases.js';
import type { RouteMend } from './route-mend.js';
import { routeTimes } from './route-times.js';

const ROUTES_PER_CALL = 200;

const KINDS: Readonly<Record<RouteState, InconsistencyKind | undefined>> = {
  mine: undefined,
  missing: 'missing-route',
  foreign: 'foreign-route',
  'other-token': 'wrong-token',
};

interface RouteDifference extends Difference {
  /** Of the connection here; absent when it is the route that is too much. */
  readonly state?: RouteState;
}

/** Compares every connection of this node with its route, and every route of this node with its connection. */
export class RouteCheck {
  constructor(
    private readonly node: ClusterNode,
    private readonly leases: NodeLeases,
    private readonly mend: RouteMend,
  ) {}

  /** @throws SseError, also when a lease was lost meanwhile: what was compared with was not this node's any more */
  async run({ settle }: ConsistencyRequest, tally: ConsistencyTally): Promise<void> {
    const generations = this.#generations();
    const differences = await lastingDifferences(() => this.#look(tally), settle);
    if (this.#generations() !== generations) throw lost();
    for (const difference of differences) {
      const repaired = tally.left > 0 && (await this.#repair(difference));
      const { kind, connectionId } = difference;
      tally.add({ kind, connectionId, repaired });
    }
  }

  /** The leases that the node holds, as one value. */
  #generations(): string {
    return this.node.gateway.keys.partitions.map(each => this.leases.generation(each)).join(' ');
  }

  async #look(tally: ConsistencyTally): Promise<RouteDifference[]> {
    const found: RouteDifference[] = [];
    tally.checked = 0;
    for (const [partition, registered] of await byPartition(this.node)) {
      for (let from = 0; from < registered.length; from += ROUTES_PER_CALL) {
        const batch = registered.slice(from, from + ROUTES_PER_CALL);
        found.push(...(await this.#compare(partition, batch)));
      }
      const here = new Set(registered.map(({ connectionId }) => connectionId));
      const owned = await this.#ghosts(partition, here, found);
      tally.checked += registered.length + owned;
    }
    return found;
  }

  async #compare(partition: Partition, batch: readonly Registered[]): Promise<RouteDifference[]> {
    const { gateway, inc, listener, options } = this.node;
    const reply = await gateway.run(refreshScript, {
      partition,
      inc,
      gen: this.leases.generation(partition),
      ...routeTimes(options),
      ttlMs: 0,
      connections: batch.map(({ connectionId, token }) => ({ conn: connectionId, tok: token })),
    });
    if (reply.status !== 'OK') throw lost();
    return batch.flatMap(({ connectionId, token }, at) => {
      const state = reply.states[at] ?? 'mine';
      const kind = KINDS[state];
      // It may have ended while Redis was asked.
      return kind === undefined || !listener.holds(connectionId, token)
        ? []
        : [{ kind, connectionId, token, state }];
    });
  }

  async #ghosts(
    partition: Partition,
    here: ReadonlySet<string>,
    found: RouteDifference[],
  ): Promise<number> {
    const gen = this.leases.generation(partition);
    for (let offset = 0; ; offset += ROUTES_PER_CALL) {
      const request = { partition, gen, offset, limit: ROUTES_PER_CALL };
      const { connections } = await this.node.gateway.run(ownedScript, request);
      for (const { conn: connectionId, tok: token } of connections) {
        // Of those, the comparison has told already.
        if (here.has(connectionId) || this.node.listener.holds(connectionId, token)) continue;
        found.push({ kind: token === '' ? 'index' : 'ghost', connectionId, token });
      }
      if (connections.length < ROUTES_PER_CALL) return offset + connections.length;
    }
  }

  async #repair({ kind, connectionId, token, state }: RouteDifference): Promise<boolean> {
    if (state !== undefined) {
      return (await this.mend.connection({ connectionId, token }, state)) !== undefined;
    }
    const removed = await this.mend.ghost(connectionId, token);
    // Of an entry of the index alone there is no route to remove.
    return removed || kind === 'index';
  }
}

function lost(): SseError {
  return new SseError(
    'UNAVAILABLE',
    'a check must keep its leases, and one was lost; the next check tells more',
  );
}
