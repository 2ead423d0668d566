import type {
  NodeInfo,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
  Route,
} from '../contracts/cluster-coordinator.js';
import type { ClusterListener } from '../contracts/cluster-listener.js';
import type { Frame } from '../contracts/frame.js';
import { SseError } from '../errors/sse-error.js';
import { EVERYONE, MemoryLog } from './memory-log.js';

/** How often an id may be taken over. */
export interface TakeoverLimit {
  readonly takeoverLimit: number;
  /** Milliseconds. */
  readonly takeoverWindow: number;
}

interface Entry extends Route {
  readonly token: string;
  readonly takeovers: readonly number[];
}

interface Member {
  readonly listener: ClusterListener;
  cut: boolean;
}

const IDEMPOTENCY_MS = 60_000;

/**
 * A cluster in memory: what its nodes share. One process has one of its own; several `LocalCoordinator`s on one bus
 * behave as several nodes, which is how an application tests its cluster behaviour without a network.
 */
export class MemoryBus {
  readonly log = new MemoryLog();
  readonly #routes = new Map<string, Entry>();
  readonly #members = new Map<string, Member>();
  readonly #published = new Map<
    string,
    { readonly at: number; readonly result: PublicationResult }
  >();
  #fence = 0;

  /** @throws SseError `INVALID_OPTION` when a node of that id is there already. */
  join(nodeId: string, listener: ClusterListener): void {
    if (this.#members.has(nodeId)) {
      throw new SseError(
        'INVALID_OPTION',
        `node.id must be unique in a cluster, '${nodeId}' is taken; give each node its own`,
      );
    }
    this.#members.set(nodeId, { listener, cut: false });
  }

  leave(nodeId: string): void {
    this.releaseRoutes(nodeId);
    this.#members.delete(nodeId);
  }

  /** Cuts a node off: it reaches nobody and nobody reaches it, until {@link heal}. For tests of an application's outages. */
  cut(nodeId: string): void {
    const member = this.#members.get(nodeId);
    if (member !== undefined) member.cut = true;
  }

  /** Ends a cut. What was published meanwhile does not reach it afterwards; connections that moved to other nodes meanwhile are closed as superseded. */
  heal(nodeId: string): void {
    const member = this.#members.get(nodeId);
    if (member === undefined) return;
    member.cut = false;
    for (const { connectionId, token } of [...member.listener.registered()]) {
      const route = this.#routes.get(connectionId);
      if (route === undefined)
        this.#routes.set(connectionId, this.#entry(nodeId, connectionId, token, []));
      else if (route.nodeId !== nodeId || route.token !== token) {
        member.listener.onSuperseded(connectionId, token);
      }
    }
  }

  isCut(nodeId: string): boolean {
    return this.#members.get(nodeId)?.cut ?? true;
  }

  /** The listener of a node that can be reached. */
  reach(nodeId: string): ClusterListener | undefined {
    const member = this.#members.get(nodeId);
    return member === undefined || member.cut ? undefined : member.listener;
  }

  register(
    nodeId: string,
    { connectionId, token, onDuplicate }: Registration,
    { takeoverLimit, takeoverWindow }: TakeoverLimit,
  ): RegistrationResult {
    const now = Date.now();
    const former = this.#routes.get(connectionId);
    if (former?.nodeId === nodeId && former.token === token) {
      return { outcome: 'registered', fence: former.fence };
    }
    if (former === undefined) return this.#own(nodeId, connectionId, token, []);
    if (onDuplicate === 'reject') return { outcome: 'exists', nodeId: former.nodeId };
    const recent = former.takeovers.filter(at => now - at < takeoverWindow);
    if (recent.length >= takeoverLimit) return { outcome: 'storm' };
    const result = this.#own(nodeId, connectionId, token, [...recent, now]);
    this.reach(former.nodeId)?.onSuperseded(connectionId, former.token);
    return result;
  }

  unregister(nodeId: string, connectionId: string, token: string): boolean {
    const route = this.#routes.get(connectionId);
    if (route?.nodeId !== nodeId || route.token !== token) return false;
    return this.#routes.delete(connectionId);
  }

  releaseRoutes(nodeId: string): void {
    for (const route of this.#routes.values()) {
      if (route.nodeId === nodeId) this.#routes.delete(route.connectionId);
    }
  }

  route(connectionId: string): Entry | undefined {
    return this.#routes.get(connectionId);
  }

  get count(): number {
    return this.#routes.size;
  }

  nodes(self: string): NodeInfo[] {
    const counts = new Map<string, number>();
    for (const { nodeId } of this.#routes.values())
      counts.set(nodeId, (counts.get(nodeId) ?? 0) + 1);
    return [...this.#members.keys()]
      .sort()
      .map(nodeId => ({ nodeId, connections: counts.get(nodeId) ?? 0, self: nodeId === self }));
  }

  publish({ topic, body, retention, idempotencyKey }: Publication): PublicationResult {
    const earlier = this.#recall(idempotencyKey);
    if (earlier !== undefined) return earlier;
    const nodes = this.#members.size;
    if (retention === false) {
      this.#deliver(topic, { bytes: body });
      return this.#remember(idempotencyKey, { nodes });
    }
    const { cursor, frame } = this.log.append(topic ?? EVERYONE, body, retention);
    this.#deliver(topic, frame);
    return this.#remember(idempotencyKey, { cursor, nodes });
  }

  *listeners(): Iterable<[nodeId: string, listener: ClusterListener | undefined]> {
    for (const nodeId of [...this.#members.keys()]) yield [nodeId, this.reach(nodeId)];
  }

  #deliver(topic: string | undefined, frame: Frame): void {
    for (const [, listener] of this.listeners()) listener?.onPublication(topic, frame);
  }

  #own(
    nodeId: string,
    connectionId: string,
    token: string,
    takeovers: readonly number[],
  ): RegistrationResult {
    const entry = this.#entry(nodeId, connectionId, token, takeovers);
    this.#routes.set(connectionId, entry);
    return { outcome: 'registered', fence: entry.fence };
  }

  #entry(nodeId: string, connectionId: string, token: string, takeovers: readonly number[]): Entry {
    this.#fence += 1;
    return { nodeId, connectionId, token, takeovers, fence: this.#fence };
  }

  #recall(key: string | undefined): PublicationResult | undefined {
    const now = Date.now();
    for (const [oldKey, { at }] of this.#published) {
      if (now - at < IDEMPOTENCY_MS) break;
      this.#published.delete(oldKey);
    }
    return key === undefined ? undefined : this.#published.get(key)?.result;
  }

  #remember(key: string | undefined, result: PublicationResult): PublicationResult {
    if (key !== undefined) this.#published.set(key, { at: Date.now(), result });
    return result;
  }
}
