import type {
  NodeInfo,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
} from '../contracts/cluster-coordinator.js';
import type { ClusterListener } from '../contracts/cluster-listener.js';
import type { Cursor, Frame, Position } from '../contracts/frame.js';
import type { Hole } from '../contracts/hole.js';
import type { ConsistencyReport, ConsistencyRequest } from '../contracts/consistency.js';
import { SseError } from '../errors/sse-error.js';
import { carriedTrace } from '../protocol/trace-text.js';
import { BusCheck } from './bus-check.js';
import { addressed, EVERYONE } from '../protocol/everyone.js';
import { gapHole } from './gap-hole.js';
import { MemoryLog } from './memory-log.js';
import { RouteTable, type OwnedRoute, type TakeoverLimit } from './route-table.js';

export type { TakeoverLimit } from './route-table.js';

interface Member {
  readonly listener: ClusterListener;
  /** Set while it is cut off: the newest entry of the log when that began. */
  cutAt: Position | undefined;
}

const IDEMPOTENCY_MS = 60_000;

/**
 * A cluster in memory: what its nodes share. One process has one of its own; several `LocalCoordinator`s on one bus
 * behave as several nodes, which is how an application tests its cluster behaviour without a network.
 */
export class MemoryBus {
  readonly log = new MemoryLog();
  readonly #routes = new RouteTable();
  readonly #members = new Map<string, Member>();
  readonly #claims = new Map<string, { readonly holder: string; readonly until: number }>();
  readonly #published = new Map<
    string,
    { readonly at: number; readonly result: PublicationResult }
  >();

  /** @throws SseError `INVALID_OPTION` when a node of that id is there already. */
  join(nodeId: string, listener: ClusterListener): void {
    if (this.#members.has(nodeId)) {
      throw new SseError(
        'INVALID_OPTION',
        `node.id must be unique in a cluster, '${nodeId}' is taken; give each node its own`,
      );
    }
    this.#members.set(nodeId, { listener, cutAt: undefined });
  }

  leave(nodeId: string): void {
    this.releaseRoutes(nodeId);
    this.#members.delete(nodeId);
  }

  /** Cuts a node off: it reaches nobody and nobody reaches it, until {@link heal}. For tests of an application's outages. */
  cut(nodeId: string): void {
    const member = this.#members.get(nodeId);
    if (member !== undefined) member.cutAt ??= this.log.tip;
  }

  /**
   * Ends a cut. Connections whose id moved to another node meanwhile are closed as superseded. The node is given what was
   * published and kept meanwhile; the subscribers of what was not kept are told of the hole.
   */
  heal(nodeId: string): void {
    const member = this.#members.get(nodeId);
    if (member?.cutAt === undefined) return;
    const { listener, cutAt } = member;
    member.cutAt = undefined;
    for (const { connectionId, token } of this.#routes.reconcile(nodeId, [
      ...listener.registered(),
    ])) {
      listener.onSuperseded(connectionId, token);
    }
    const { entries, gaps } = this.log.since(cutAt);
    const { epoch } = this.log;
    const first = entries[0]?.frame.position;
    const resumedFrom = first
      ? { epoch, ms: first.ms, sequence: first.sequence - 1 }
      : this.log.tip;
    const hole =
      gaps === 'unknown' ? lostAll(resumedFrom, this.log.tip) : gapHole(gaps, resumedFrom);
    if (hole !== undefined) listener.onHole(hole);
    for (const { topic, frame } of entries) listener.onPublication(addressed(topic), frame);
  }

  /** Compares a node with the routes, as `ClusterCoordinator.check` says. */
  check(nodeId: string, request: ConsistencyRequest): Promise<ConsistencyReport> {
    const reach = (id: string): ClusterListener | undefined => this.reach(id);
    return new BusCheck(this.#routes, [...this.#members.keys()], reach).run(nodeId, request);
  }

  isCut(nodeId: string): boolean {
    return this.reach(nodeId) === undefined;
  }

  /** The listener of a node that can be reached. */
  reach(nodeId: string): ClusterListener | undefined {
    const member = this.#members.get(nodeId);
    return member?.cutAt === undefined ? member?.listener : undefined;
  }

  register(
    nodeId: string,
    registration: Registration,
    takeovers: TakeoverLimit,
  ): RegistrationResult {
    const former = this.#routes.get(registration.connectionId);
    const result = this.#routes.register(nodeId, registration, takeovers);
    if (former !== undefined && this.#routes.get(former.connectionId) !== former) {
      this.reach(former.nodeId)?.onSuperseded(former.connectionId, former.token);
    }
    return result;
  }

  unregister(nodeId: string, connectionId: string, token: string): boolean {
    return this.#routes.unregister(nodeId, connectionId, token);
  }

  releaseRoutes(nodeId: string): void {
    this.#routes.releaseAll(nodeId);
  }

  route(connectionId: string): OwnedRoute | undefined {
    return this.#routes.get(connectionId);
  }

  get count(): number {
    return this.#routes.size;
  }

  nodes(self: string): NodeInfo[] {
    const counts = this.#routes.countByNode();
    return [...this.#members.keys()]
      .sort()
      .map(nodeId => ({ nodeId, connections: counts.get(nodeId) ?? 0, self: nodeId === self }));
  }

  publish(publication: Publication): PublicationResult {
    const { topic, body, retention, idempotencyKey } = publication;
    const earlier = this.#recall(idempotencyKey);
    if (earlier !== undefined) return earlier;
    const nodes = this.#members.size;
    const trace = carriedTrace(publication.trace);
    if (retention === false) {
      this.#deliver(topic, { bytes: body }, trace);
      return this.#remember(idempotencyKey, { nodes });
    }
    const { cursor, frame } = this.log.append(topic ?? EVERYONE, body, retention);
    this.#deliver(topic, frame, trace);
    return this.#remember(idempotencyKey, { cursor, nodes });
  }

  /** Takes, keeps or looks at what one holder at a time has. */
  claim(name: string, holder: string, ms: number): string | undefined {
    const now = Date.now();
    for (const [other, { until }] of this.#claims) if (until <= now) this.#claims.delete(other);
    const present = this.#claims.get(name)?.holder;
    if (ms === 0 || (present !== undefined && present !== holder)) return present;
    this.#claims.set(name, { holder, until: now + ms });
    return holder;
  }

  *listeners(): Iterable<[nodeId: string, listener: ClusterListener | undefined]> {
    for (const nodeId of [...this.#members.keys()]) yield [nodeId, this.reach(nodeId)];
  }

  #deliver(topic: string | undefined, frame: Frame, trace: string | undefined): void {
    for (const [, listener] of this.listeners()) listener?.onPublication(topic, frame, trace);
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

/** A hole in topics that are not remembered. */
function lostAll(resumedFrom: Cursor, until: Cursor): Hole {
  return { reason: 'GAP', topics: undefined, resumedFrom, until };
}
