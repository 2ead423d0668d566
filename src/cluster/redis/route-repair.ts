import type { Registered } from '../../contracts/cluster-listener.js';
import type { ConsistencySummary } from '../../contracts/telemetry.js';
import { SseError } from '../../errors/sse-error.js';
import type { Partition } from '../../redis/keys.js';
import { ownedScript } from '../../redis/scripts/owned-script.js';
import { refreshScript, type RouteState } from '../../redis/scripts/refresh-script.js';
import type { ClusterNode } from './cluster-node.js';
import type { NodeLeases } from './node-leases.js';
import { RepairTally } from './repair-tally.js';
import type { RouteRegistry } from './route-registry.js';
import { routeTimes } from './route-times.js';

const ROUTES_PER_CALL = 200;

/**
 * Keeps the routes of this node alive and in step with its connections. What was read may be stale by the time it is acted
 * on; every repair is therefore one that cannot harm: routes are restored only where no live owner is, and removed only
 * with the token that was seen.
 */
export class RouteRepair {
  #running: Promise<ConsistencySummary> | undefined;
  #again = false;

  constructor(
    private readonly node: ClusterNode,
    private readonly leases: NodeLeases,
    private readonly registry: RouteRegistry,
  ) {}

  /** Renews every route and repairs what differs, in both directions. A call while one runs makes it run once more. */
  run(): Promise<ConsistencySummary> {
    if (this.#running !== undefined) this.#again = true;
    this.#running ??= this.node.telemetry
      .checking(() => this.#run(new RepairTally()))
      .finally(() => {
        this.#running = undefined;
      });
    return this.#running;
  }

  async #run(tally: RepairTally): Promise<RepairTally> {
    this.#again = false;
    for (const partition of this.node.gateway.keys.partitions) {
      await this.#refresh(partition, tally);
      await this.#removeGhosts(partition, tally);
    }
    return this.#wantedAgain() ? this.#run(tally) : tally;
  }

  #wantedAgain(): boolean {
    return this.#again;
  }

  async #refresh(partition: Partition, tally: RepairTally): Promise<void> {
    let batch: Registered[] = [];
    // The connections change while this waits, so their list is taken at once.
    for (const registered of [...this.node.listener.registered()]) {
      if (this.node.gateway.keys.partitionOf(registered.connectionId) !== partition) continue;
      batch.push(registered);
      if (batch.length < ROUTES_PER_CALL) continue;
      await this.#refreshBatch(partition, batch, tally);
      batch = [];
    }
    if (batch.length > 0) await this.#refreshBatch(partition, batch, tally);
  }

  async #refreshBatch(
    partition: Partition,
    batch: readonly Registered[],
    tally: RepairTally,
  ): Promise<void> {
    const reply = await this.node.gateway.run(refreshScript, {
      partition,
      inc: this.node.inc,
      gen: this.leases.generation(partition),
      ...routeTimes(this.node.options),
      connections: batch.map(({ connectionId, token }) => ({ conn: connectionId, tok: token })),
    });
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
    tally: RepairTally,
  ): Promise<void> {
    const { connectionId, token } = registered;
    if (state === 'mine' || !this.node.listener.holds(connectionId, token)) return;
    if (state === 'other-token') {
      const route = await this.registry.find(connectionId);
      // Another connection of this node with the same id is newer; a token that nobody here has is a ghost.
      if (route?.inc === this.node.inc && !this.node.listener.holds(connectionId, route.tok)) {
        await this.registry.unregister(connectionId, route.tok);
        tally.repaired('ghost');
      }
    }
    if (await this.registry.restore(registered)) {
      tally.repaired('missing-route');
      // It ended while it was restored, and its own release came too early.
      if (!this.node.listener.holds(connectionId, token)) {
        await this.registry.unregister(connectionId, token);
      }
      return;
    }
    this.node.listener.onSuperseded(connectionId, token);
    tally.repaired('foreign-route');
  }

  /** Removes the routes of this node whose connections have ended. */
  async #removeGhosts(partition: Partition, tally: RepairTally): Promise<void> {
    for (let offset = 0; ; offset += ROUTES_PER_CALL) {
      const gen = this.leases.generation(partition);
      const request = { partition, gen, offset, limit: ROUTES_PER_CALL };
      const { connections } = await this.node.gateway.run(ownedScript, request);
      const ghosts = connections.filter(
        ({ conn, tok }) => tok !== '' && !this.node.listener.holds(conn, tok),
      );
      await Promise.all(ghosts.map(({ conn, tok }) => this.registry.unregister(conn, tok)));
      tally.checked += connections.length;
      tally.repaired('ghost', ghosts.length);
      if (connections.length < ROUTES_PER_CALL) return;
      // What was removed moves the others up.
      offset -= ghosts.length;
    }
  }
}
