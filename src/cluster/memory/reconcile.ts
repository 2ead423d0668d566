import type { ClusterListener } from '../../contracts/listener.js';
import { userOf } from '../../protocol/names.js';
import type { Difference } from '../differences.js';
import type { OwnedRoute, RouteTable } from './routes.js';

/** Compares the connections of one node with the routes of its bus, and makes them agree. */
export class NodeReconciliation {
  /** Connections and routes that the last comparison looked at. */
  compared = 0;

  /** @param isLive whether a node is on the bus, be it cut off */
  constructor(
    private readonly routes: RouteTable,
    private readonly nodeId: string,
    private readonly listener: ClusterListener,
    private readonly isLive: (nodeId: string) => boolean,
  ) {}

  /** Where this node's connections and its routes differ. */
  differences(): Difference[] {
    const { routes, nodeId, listener } = this;
    const found: Difference[] = [];
    const here = new Set<string>();
    this.compared = 0;
    for (const { connectionId, token } of listener.registered()) {
      here.add(connectionId);
      this.compared += 1;
      const route = routes.get(connectionId);
      if (route === undefined) found.push({ kind: 'missing-route', connectionId, token });
      else if (route.nodeId !== nodeId) found.push({ kind: 'foreign-route', connectionId, token });
      else if (route.token !== token) found.push({ kind: 'wrong-token', connectionId, token });
    }
    for (const { connectionId, token, nodeId: owner } of routes.all()) {
      if (owner !== nodeId) continue;
      this.compared += 1;
      if (!here.has(connectionId) && !listener.holds(connectionId, token))
        found.push({ kind: 'ghost', connectionId, token });
    }
    return found;
  }

  /** Routes of nodes that are not on the bus. */
  orphans(): Difference[] {
    const routes = [...this.routes.all()];
    this.compared = routes.length;
    return routes
      .filter(({ nodeId }) => !this.isLive(nodeId))
      .map(({ connectionId, token }) => ({ kind: 'orphan', connectionId, token }));
  }

  /** Makes both agree, unless the difference is over. Returns whether it did. */
  repair({ kind, connectionId, token }: Difference): boolean {
    const { routes, nodeId, listener } = this;
    const route = routes.get(connectionId);
    if (kind === 'ghost' || kind === 'orphan') {
      return route !== undefined && routes.unregister(route.nodeId, connectionId, token);
    }
    if (!listener.holds(connectionId, token)) return false;
    if (route !== undefined && this.#isDead(route)) {
      routes.unregister(route.nodeId, connectionId, route.token);
    }
    const user = userOf(connectionId);
    if (!routes.restore(nodeId, { connectionId, token, ...(user === undefined ? {} : { user }) })) {
      listener.onSuperseded(connectionId, token, route?.fencingToken ?? Infinity);
    }
    return true;
  }

  /** Whether the owner of a route is gone, or is this node and has no such connection. */
  #isDead({ nodeId, connectionId, token }: OwnedRoute): boolean {
    return nodeId === this.nodeId ? !this.listener.holds(connectionId, token) : !this.isLive(nodeId);
  }
}
