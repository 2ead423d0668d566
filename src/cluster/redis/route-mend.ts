import type { Registered } from '../../contracts/cluster.js';
import type { InconsistencyKind } from '../differences.js';
import type { ClusterNode } from './cluster-node.js';
import type { RouteRegistry } from './routes.js';
import type { RouteState } from './scripts/refresh-script.js';

/**
 * Puts right one difference between a connection and its route. What was seen may be stale by now; each repair is therefore
 * one that cannot harm: a route is restored only where no live owner is, and removed only with the token that was seen.
 */
export class RouteMend {
  constructor(
    private readonly node: ClusterNode,
    private readonly registry: RouteRegistry,
  ) {}

  /** Brings a connection and its route together again. Returns what was repaired, if anything was. @throws SseError */
  async connection(
    registered: Registered,
    state: RouteState | undefined,
  ): Promise<InconsistencyKind | undefined> {
    const { connectionId, token } = registered;
    const { listener } = this.node;
    if (state === 'mine' || !listener.holds(connectionId, token)) return undefined;
    if (state === 'other-token') await this.#clear(connectionId);
    if (!(await this.registry.restore(registered))) {
      listener.onSuperseded(connectionId, token);
      return 'foreign-route';
    }
    // It ended while it was restored, and its own release came too early.
    if (!listener.holds(connectionId, token)) await this.registry.unregister(connectionId, token);
    return state === 'other-token' ? 'wrong-token' : 'missing-route';
  }

  /**
   * Removes a route whose connection is not here; '' as token: what only the index knows. Returns whether it was removed.
   * @throws SseError
   */
  async ghost(connectionId: string, token: string): Promise<boolean> {
    if (this.node.listener.holds(connectionId, token)) return false;
    return this.registry.unregister(connectionId, token);
  }

  /** Another connection of this node with the same id is newer; a token that nobody here has is a ghost. */
  async #clear(connectionId: string): Promise<void> {
    const route = await this.registry.find(connectionId);
    if (route?.inc === this.node.inc) await this.ghost(connectionId, route.tok);
  }
}
