import type { SharedLimit } from '../../contracts/authorization.js';
import type { Registration, RegistrationResult, Route } from '../../contracts/cluster.js';
import type { ClusterListener, Registered } from '../../contracts/listener.js';
import { PAGE_LOAD_TAKEOVERS } from '../../options/sse-options.js';
import { userOf } from '../../protocol/names.js';
import { MinuteCounts, NameCounts } from '../counts.js';
import type { Difference } from '../differences.js';

/** How often an id may be taken over. */
export interface TakeoverLimit {
  readonly takeoverLimit: number;
  /** Milliseconds. */
  readonly takeoverWindow: number;
}

/** A route with what only its owner knows. */
export interface OwnedRoute extends Route {
  readonly token: string;
  /** How the id was taken over lately. */
  readonly takeovers: readonly Takeover[];
  /** By the monotonic clock. */
  readonly registeredAt: number;
  /** What it counts for. */
  readonly limits: readonly SharedLimit[] | undefined;
}

interface Takeover {
  /** By the monotonic clock. */
  readonly at: number;
  readonly pageLoad: boolean;
}

const NONE: readonly Takeover[] = [];

/** Who owns which connection id. */
export class RouteTable {
  readonly #routes = new Map<string, OwnedRoute>();
  #fencingToken = 0;
  /** How many routes count for a name. */
  readonly #counts = new NameCounts();
  readonly #registrations = new MinuteCounts();

  get size(): number {
    return this.#routes.size;
  }

  get(connectionId: string): OwnedRoute | undefined {
    return this.#routes.get(connectionId);
  }

  /** How many routes each node has. */
  countByNode(): ReadonlyMap<string, number> {
    const counts = new Map<string, number>();
    for (const { nodeId } of this.#routes.values()) counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
    return counts;
  }

  /** @param hears whether a node hears of a takeover, which counts then */
  register(
    nodeId: string,
    registration: Registration,
    { takeoverLimit, takeoverWindow }: TakeoverLimit,
    hears: (nodeId: string) => boolean,
  ): RegistrationResult {
    const { connectionId, token, onDuplicate, openedAt, pageLoad = false } = registration;
    const former = this.#routes.get(connectionId);
    if (former === undefined) return this.#refusal(registration) ?? this.#own(nodeId, registration, NONE);
    if (former.nodeId === nodeId && former.token === token) {
      return { outcome: 'registered', fencingToken: former.fencingToken };
    }
    if (openedAt !== undefined) {
      if (former.registeredAt < openedAt) return this.#own(nodeId, registration, former.takeovers);
      return { outcome: 'exists', nodeId: former.nodeId };
    }
    if (onDuplicate === 'reject') return { outcome: 'exists', nodeId: former.nodeId };
    const now = performance.now();
    const recent = former.takeovers.filter(({ at }) => now - at < takeoverWindow);
    if (!hears(former.nodeId)) return this.#own(nodeId, registration, recent);
    const counted = recent.filter(takeover => takeover.pageLoad === pageLoad).length;
    if (counted >= (pageLoad ? PAGE_LOAD_TAKEOVERS : takeoverLimit)) return { outcome: 'storm' };
    return this.#own(nodeId, registration, [...recent, { at: now, pageLoad }]);
  }

  unregister(nodeId: string, connectionId: string, token: string): boolean {
    const route = this.#routes.get(connectionId);
    if (route?.nodeId !== nodeId || route.token !== token) return false;
    return this.#delete(route);
  }

  /** Registers a connection again where its id is free. Returns whether its node has the route now, with this token. */
  restore(nodeId: string, registered: Omit<Registered, 'fencingToken'>): boolean {
    const { connectionId, token } = registered;
    const route = this.#routes.get(connectionId);
    if (route === undefined) this.#own(nodeId, registered, NONE);
    return route === undefined || (route.nodeId === nodeId && route.token === token);
  }

  /** Every route. */
  all(): Iterable<OwnedRoute> {
    return this.#routes.values();
  }

  releaseAll(nodeId: string): void {
    for (const route of this.#routes.values()) {
      if (route.nodeId === nodeId) this.#delete(route);
    }
  }

  /** Why a new route may not come. */
  #refusal({ limits = [], maxConnections = Infinity, openedAt }: Registration): RegistrationResult | undefined {
    if (openedAt !== undefined) return undefined;
    if (this.#routes.size >= maxConnections) return { outcome: 'full' };
    for (const { name, most = Infinity, perMinute = Infinity } of limits) {
      if (perMinute !== Infinity && this.#registrations.of(name) >= perMinute) return { outcome: 'rate-limited', name };
      if (this.#counts.of(name) >= most) return { outcome: 'full', name };
    }
    return undefined;
  }

  #delete(route: OwnedRoute): boolean {
    this.#counts.remove(route.limits ?? []);
    return this.#routes.delete(route.connectionId);
  }

  #own(
    nodeId: string,
    { connectionId, token, user, limits }: Omit<Registered, 'fencingToken'> & Pick<Registration, 'limits'>,
    takeovers: readonly Takeover[],
  ): RegistrationResult {
    const former = this.#routes.get(connectionId);
    if (former !== undefined) this.#delete(former);
    this.#counts.add(limits ?? []);
    for (const { name, perMinute } of limits ?? []) if (perMinute !== undefined) this.#registrations.add(name, 1);
    this.#fencingToken += 1;
    const fencingToken = this.#fencingToken;
    this.#routes.set(connectionId, {
      nodeId,
      connectionId,
      token,
      takeovers,
      fencingToken,
      registeredAt: performance.now(),
      user,
      limits,
    });
    return { outcome: 'registered', fencingToken };
  }
}

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
