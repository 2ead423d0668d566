import type { ClusterListener } from '../contracts/cluster-listener.js';
import type { ConsistencyReport, ConsistencyRequest } from '../contracts/consistency.js';
import { ConsistencyTally } from './consistency-tally.js';
import { lastingDifferences, type Difference } from './difference.js';
import type { OwnedRoute, RouteTable } from './route-table.js';

/** Compares one node of a bus with the routes of all. */
export class BusCheck {
  /** @param reach the listener of a member that is not cut off */
  constructor(
    private readonly routes: RouteTable,
    private readonly members: readonly string[],
    private readonly reach: (nodeId: string) => ClusterListener | undefined,
  ) {}

  async run(nodeId: string, request: ConsistencyRequest): Promise<ConsistencyReport> {
    const tally = new ConsistencyTally(request.maxRepairs);
    const listener = this.reach(nodeId);
    if (listener === undefined) return tally.unknown('cut off from the bus');
    const look = async (): Promise<readonly Difference[]> =>
      request.scope === 'node' ? this.#differences(nodeId, listener, tally) : this.#orphans(tally);
    const differences = await lastingDifferences(look, request.settle);
    if (this.reach(nodeId) !== listener) return tally.unknown('cut off from the bus meanwhile');
    for (const difference of differences) {
      const repaired = tally.left > 0 && this.#repair(nodeId, listener, difference);
      tally.add({ kind: difference.kind, connectionId: difference.connectionId, repaired });
    }
    if (request.tell && tally.left < request.maxRepairs) this.#tell(nodeId);
    return tally.report();
  }

  #differences(nodeId: string, listener: ClusterListener, tally: ConsistencyTally): Difference[] {
    const found: Difference[] = [];
    const here = new Set<string>();
    tally.checked = 0;
    for (const { connectionId, token } of listener.registered()) {
      here.add(connectionId);
      tally.checked += 1;
      const route = this.routes.get(connectionId);
      if (route === undefined) found.push({ kind: 'missing-route', connectionId, token });
      else if (route.nodeId !== nodeId) found.push({ kind: 'foreign-route', connectionId, token });
      else if (route.token !== token) found.push({ kind: 'wrong-token', connectionId, token });
    }
    for (const { connectionId, token, nodeId: owner } of this.routes.all()) {
      if (owner !== nodeId) continue;
      tally.checked += 1;
      if (!here.has(connectionId) && !listener.holds(connectionId, token))
        found.push({ kind: 'ghost', connectionId, token });
    }
    return found;
  }

  #orphans(tally: ConsistencyTally): Difference[] {
    const routes = [...this.routes.all()];
    tally.checked = routes.length;
    return routes
      .filter(({ nodeId }) => !this.members.includes(nodeId))
      .map(({ connectionId, token }) => ({ kind: 'orphan', connectionId, token }));
  }

  #repair(nodeId: string, listener: ClusterListener, difference: Difference): boolean {
    const { kind, connectionId, token } = difference;
    const route = this.routes.get(connectionId);
    if (kind === 'ghost' || kind === 'orphan') {
      return route !== undefined && this.routes.unregister(route.nodeId, connectionId, token);
    }
    if (!listener.holds(connectionId, token)) return false;
    if (route !== undefined && this.#isDead(route, nodeId, listener)) {
      this.routes.unregister(route.nodeId, connectionId, route.token);
    }
    if (!this.routes.restore(nodeId, { connectionId, token })) {
      listener.onSuperseded(connectionId, token);
    }
    return true;
  }

  /** Whether nobody answers for a route: its node is gone, or is this one and has no such connection. */
  #isDead(route: OwnedRoute, nodeId: string, listener: ClusterListener): boolean {
    if (route.nodeId === nodeId) return !listener.holds(route.connectionId, route.token);
    return !this.members.includes(route.nodeId);
  }

  #tell(nodeId: string): void {
    for (const other of this.members) if (other !== nodeId) this.reach(other)?.onSync();
  }
}
