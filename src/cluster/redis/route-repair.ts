import type { Registered } from '../../contracts/cluster.js';
import type { ConsistencySummary } from '../../contracts/telemetry.js';
import { SseError } from '../../errors.js';
import { ConsistencyTally } from '../differences.js';
import type { ClusterNode } from './cluster-node.js';
import type { Partition } from './keys.js';
import type { NodeLeases } from './leases.js';
import type { RouteMend } from './route-mend.js';
import { byPartition, refreshRequest } from './routes.js';
import { ownedScript } from './scripts/owned-script.js';
import { refreshScript, type RouteState } from './scripts/refresh-script.js';

const ROUTES_PER_CALL = 200;

/**
 * Keeps the routes of this node alive and in step with its connections: after outages, and whenever their time to live is
 * a third over. It goes on whatever `consistency` says.
 */
export class RouteRepair {
  #running: Promise<ConsistencySummary> | undefined;
  #again = false;

  constructor(
    private readonly node: ClusterNode,
    private readonly leases: NodeLeases,
    private readonly mend: RouteMend,
  ) {}

  /** Renews every route and repairs what differs, in both directions. A call while one runs makes it run once more. */
  run(): Promise<ConsistencySummary> {
    if (this.#running !== undefined) this.#again = true;
    this.#running ??= this.node.telemetry
      .checking(async () => (await this.#run(new ConsistencyTally())).report())
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #run(tally: ConsistencyTally): Promise<ConsistencyTally> {
    this.#again = false;
    for (const [partition, registered] of await byPartition(this.node)) {
      for (let from = 0; from < registered.length; from += ROUTES_PER_CALL) {
        await this.#refresh(partition, registered.slice(from, from + ROUTES_PER_CALL), tally);
      }
      await this.#removeGhosts(partition, tally);
    }
    return this.#wantedAgain() ? this.#run(tally) : tally;
  }

  #wantedAgain(): boolean {
    return this.#again;
  }

  async #refresh(
    partition: Partition,
    batch: readonly Registered[],
    tally: ConsistencyTally,
  ): Promise<void> {
    const request = refreshRequest(this.node, this.leases, partition, batch);
    const reply = await this.node.gateway.run(refreshScript, request);
    if (reply.status !== 'OK') {
      if (reply.status === 'LIMIT') throw new SseError('INTERNAL', 'a refresh was too large');
      // What it opens is repaired by the run that follows.
      await this.leases.reopen(partition);
      this.#again = true;
      return;
    }
    const { states } = reply;
    tally.checked += batch.length;
    await Promise.all(batch.map((registered, at) => this.#repair(registered, states[at], tally)));
  }

  async #repair(
    registered: Registered,
    state: RouteState | undefined,
    tally: ConsistencyTally,
  ): Promise<void> {
    const kind = await this.mend.connection(registered, state);
    const { connectionId } = registered;
    if (kind !== undefined) tally.add({ kind, connectionId, repaired: true });
  }

  /** Removes the routes of this node whose connections have ended. */
  async #removeGhosts(partition: Partition, tally: ConsistencyTally): Promise<void> {
    for (let offset = 0; ; offset += ROUTES_PER_CALL) {
      const gen = this.leases.generation(partition);
      const request = { partition, gen, offset, limit: ROUTES_PER_CALL };
      const { connections } = await this.node.gateway.run(ownedScript, request);
      const ghosts = connections.filter(
        ({ conn, tok }) => tok !== '' && !this.node.listener.holds(conn, tok),
      );
      await Promise.all(ghosts.map(({ conn, tok }) => this.mend.ghost(conn, tok)));
      tally.checked += connections.length;
      for (const { conn } of ghosts) {
        tally.add({ kind: 'ghost', connectionId: conn, repaired: true });
      }
      if (connections.length < ROUTES_PER_CALL) return;
      // What was removed moves the others up.
      offset -= ghosts.length;
    }
  }
}
