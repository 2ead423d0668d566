import type { Revocation } from '../../contracts/authorization.js';
import type {
  Message,
  NodeInfo,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
  RememberedTopic,
  ReplayPage,
  ReplayRequest,
  SubscriptionChange,
} from '../../contracts/cluster.js';
import type { CloseReceipt, Cursor, Frame, Position, SendResult } from '../../contracts/events.js';
import type { ClusterListener } from '../../contracts/listener.js';
import type { ReconcileReport, ReconcileRequest } from '../../contracts/self-check.js';
import { SseError } from '../../errors.js';
import { addressed, carriedTrace, EVERYONE } from '../../protocol/names.js';
import { Periodic } from '../../time.js';
import { Findings, lastingDifferences } from '../differences.js';
import { type Entry, MemoryLog } from './log.js';
import { NodeReconciliation, type OwnedRoute, RouteTable, type TakeoverLimit } from './routes.js';

interface BusNode {
  readonly listener: ClusterListener;
  /** Set while the node is cut off: the newest entry of the log when that began. */
  cutAt: Position | undefined;
}

const IDEMPOTENCY_MS = 60_000;
const MOST_REVOCATIONS = 10_000;

/**
 * A cluster in memory: what its nodes share. One process has one of its own; several `LocalCoordinator`s on one bus
 * behave as several nodes, which is how an application tests its cluster behaviour without a network.
 */
export class MemoryBus {
  readonly log: MemoryLog;
  readonly remembered = new RememberedSubscriptions();
  readonly #routes = new RouteTable();
  readonly #nodes = new Map<string, BusNode>();
  readonly #locks = new Map<string, { readonly holder: string; readonly until: number }>();
  readonly #published = new PublishedKeys();
  /** Who last got a named message, by connection id and message id. */
  readonly #named = new Map<string, { readonly route: OwnedRoute; readonly at: number }>();
  /** The latest revocations, each with its time by the monotonic clock. */
  #revocations: { readonly revocation: Revocation; readonly trace: string | undefined; readonly at: number }[] = [];
  readonly #expiry = new Periodic(() => this.#expire(), { everyMs: IDEMPOTENCY_MS / 2 });

  /** @param maxBytes bytes of the entries that its log keeps. Default 67108864 (64 MiB). */
  constructor(maxBytes?: number) {
    this.log = new MemoryLog(maxBytes);
  }

  /** @throws SseError `INVALID_OPTION` when a node of that id is there already. */
  join(nodeId: string, listener: ClusterListener): void {
    if (this.#nodes.has(nodeId)) {
      throw new SseError(
        'INVALID_OPTION',
        `node.id must be unique in a cluster, '${nodeId}' is taken; give each node its own`,
      );
    }
    this.#nodes.set(nodeId, { listener, cutAt: undefined });
  }

  leave(nodeId: string): void {
    this.releaseRoutes(nodeId);
    this.#nodes.delete(nodeId);
    if (this.#nodes.size === 0) this.#expiry.stop();
  }

  /** Cuts a node off: no other node can be reached from it, and it cannot be reached, until {@link heal}. For tests of an application's outages. */
  cut(nodeId: string): void {
    const node = this.#nodes.get(nodeId);
    if (node !== undefined) node.cutAt ??= this.log.head;
  }

  /**
   * Ends a cut. Connections whose id moved to another node meanwhile are closed as superseded. The node is given what was
   * published and kept meanwhile; for entries that were not kept its listener gets `onGap`.
   */
  heal(nodeId: string): void {
    const node = this.#nodes.get(nodeId);
    if (node?.cutAt === undefined) return;
    const { listener, cutAt } = node;
    node.cutAt = undefined;
    for (const { revocation, trace, at } of this.#lastingRevocations()) {
      listener.onRevoke({ ...revocation, age: performance.now() - at }, trace);
    }
    const reconciliation = this.#reconciliation(nodeId, listener);
    for (const difference of reconciliation.differences()) reconciliation.repair(difference);
    const { entries, gap } = this.log.since(cutAt);
    if (gap !== undefined) listener.onGap(gap);
    for (const { topic, frame, id } of entries) listener.onPublication(addressed(topic), frame, undefined, id);
  }

  /** Compares a node with the routes, as the contract of `SelfCheck.reconcile` says. */
  async reconcile(nodeId: string, request: ReconcileRequest): Promise<ReconcileReport> {
    const findings = new Findings(request.maxRepairs);
    const listener = this.reach(nodeId);
    if (listener === undefined) return findings.unknown('cut off from the bus');
    const reconciliation = this.#reconciliation(nodeId, listener);
    const lasting = await lastingDifferences(
      async () => (request.scope === 'node' ? reconciliation.differences() : reconciliation.orphans()),
      request.settle,
    );
    findings.checked = reconciliation.compared;
    if (this.reach(nodeId) !== listener) return findings.unknown('cut off from the bus meanwhile');
    for (const difference of lasting) {
      const repaired = findings.left > 0 && reconciliation.repair(difference);
      findings.add({ kind: difference.kind, connectionId: difference.connectionId, repaired });
    }
    if (request.notify && findings.repaired > 0) {
      for (const [other, present] of this.listeners()) if (other !== nodeId) present?.onSync();
    }
    return findings.report();
  }

  /** The newest entry that a node was given. */
  lastPosition(nodeId: string): Cursor {
    const { epoch, head } = this.log;
    return { ...(this.#nodes.get(nodeId)?.cutAt ?? head), epoch };
  }

  isCut(nodeId: string): boolean {
    return this.reach(nodeId) === undefined;
  }

  /** The listener of a node that can be reached. */
  reach(nodeId: string): ClusterListener | undefined {
    const node = this.#nodes.get(nodeId);
    return node?.cutAt === undefined ? node?.listener : undefined;
  }

  register(nodeId: string, registration: Registration, takeovers: TakeoverLimit): RegistrationResult {
    const former = this.#routes.get(registration.connectionId);
    const result = this.#routes.register(nodeId, registration, takeovers, id => !this.isCut(id));
    const present = this.#routes.get(registration.connectionId);
    if (former !== undefined && present !== undefined && present !== former) {
      const { connectionId, token } = former;
      this.reach(former.nodeId)?.onSuperseded(connectionId, token, present.fencingToken, registration.trace);
    }
    return result;
  }

  /** Nodes that are cut off carry it out when they are healed. */
  revoke(revocation: Revocation, trace: string | undefined): CloseReceipt {
    const at = performance.now() - revocation.age;
    this.#revocations = [...this.#lastingRevocations().slice(1 - MOST_REVOCATIONS), { revocation, trace, at }];
    return this.closeBy(listener => listener.onRevoke(revocation, trace));
  }

  /** Has every node close connections; `close` returns how many. */
  closeBy(close: (listener: ClusterListener) => number): CloseReceipt {
    let closed = 0;
    const missing: string[] = [];
    for (const [nodeId, listener] of this.listeners()) {
      if (listener === undefined) missing.push(nodeId);
      else closed += close(listener);
    }
    return { closed, missing };
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

  /**
   * What became of a named message that another connection of its id may have got. `undefined`: none delivered it, so the
   * connection of this route gets it.
   */
  recognize({ connectionId, messageId }: Message, route: OwnedRoute): SendResult | undefined {
    const key = `${connectionId}\n${messageId}`;
    const former = this.#named.get(key);
    const now = performance.now();
    const { nodeId, token } = former?.route ?? route;
    const other = nodeId !== route.nodeId || token !== route.token;
    if (former !== undefined && other && now - former.at < IDEMPOTENCY_MS) {
      const outcome = this.reach(nodeId)?.onOutcomeOf(connectionId, messageId, now - former.at) ?? 'unknown';
      if (outcome !== 'none') return { outcome, nodeId };
    }
    this.#named.delete(key);
    this.#named.set(key, { route, at: now });
    this.#expiry.start();
    return undefined;
  }

  get count(): number {
    return this.#routes.size;
  }

  nodes(self: string): NodeInfo[] {
    const counts = this.#routes.countByNode();
    return [...this.#nodes.keys()]
      .sort()
      .map(nodeId => ({ nodeId, connections: counts.get(nodeId) ?? 0, self: nodeId === self }));
  }

  publish(publication: Publication): PublicationResult {
    const { topic, body, retention, idempotencyKey, id } = publication;
    const nodes = this.#nodes.size;
    const earlier = idempotencyKey === undefined ? undefined : this.#published.recall(topic, idempotencyKey);
    if (earlier !== undefined)
      return typeof earlier === 'number' ? { nodes } : { cursor: earlier.cursor(this.log.epoch), nodes };
    const trace = carriedTrace(publication.trace);
    if (retention === false) {
      this.#deliver(topic, { bytes: body }, trace, id);
      this.#remember(topic, idempotencyKey, Math.round(performance.now()));
      return { nodes };
    }
    const { cursor, frame, entry } = this.log.append(topic ?? EVERYONE, body, retention, id);
    this.#deliver(topic, frame, trace, id);
    this.#remember(topic, idempotencyKey, entry);
    return { cursor, nodes };
  }

  replay(request: ReplayRequest): ReplayPage {
    if (request.forgets !== undefined) this.remembered.forget(request.forgets);
    return this.log.replay(request);
  }

  acquireLock(name: string, holder: string, ms: number): boolean {
    const present = this.lockHolder(name);
    if (present !== undefined && present !== holder) return false;
    this.#locks.set(name, { holder, until: performance.now() + ms });
    this.#expiry.start();
    return true;
  }

  releaseLock(name: string, holder: string): void {
    if (this.lockHolder(name) === holder) this.#locks.delete(name);
  }

  lockHolder(name: string): string | undefined {
    const lock = this.#locks.get(name);
    return lock !== undefined && lock.until > performance.now() ? lock.holder : undefined;
  }

  *listeners(): Iterable<[nodeId: string, listener: ClusterListener | undefined]> {
    for (const nodeId of [...this.#nodes.keys()]) yield [nodeId, this.reach(nodeId)];
  }

  #lastingRevocations() {
    const now = performance.now();
    return this.#revocations.filter(({ at, revocation: { ttl } }) => now - at < ttl);
  }

  #reconciliation(nodeId: string, listener: ClusterListener): NodeReconciliation {
    return new NodeReconciliation(this.#routes, nodeId, listener, id => this.#nodes.has(id));
  }

  #deliver(topic: string | undefined, frame: Frame, trace: string | undefined, id: string | undefined): void {
    for (const [, listener] of this.listeners()) listener?.onPublication(topic, frame, trace, id);
  }

  #remember(topic: string | undefined, key: string | undefined, published: Published): void {
    if (key === undefined) return;
    this.#published.remember(topic, key, published);
    this.#expiry.start();
  }

  #expire(): void {
    const now = performance.now();
    for (const [name, { until }] of this.#locks) if (until <= now) this.#locks.delete(name);
    this.#published.expire();
    for (const [key, { at }] of this.#named) if (now - at >= IDEMPOTENCY_MS) this.#named.delete(key);
    if (this.#locks.size === 0 && this.#named.size === 0 && this.#published.empty) this.#expiry.stop();
  }
}

/**
 * A publication with a key, as small as it can be, since each event of a resumable source has a key: its entry or, where it
 * was not kept, its time, by the monotonic clock.
 */
type Published = Entry | number;

/** The idempotency keys of the last minute. */
class PublishedKeys {
  // By topic, then by key, in the order of their publication.
  readonly #topics = new Map<string | undefined, Map<string, Published>>();

  recall(topic: string | undefined, key: string): Published | undefined {
    const published = this.#topics.get(topic)?.get(key);
    return published === undefined || isOver(published) ? undefined : published;
  }

  remember(topic: string | undefined, key: string, published: Published): void {
    let keys = this.#topics.get(topic);
    if (keys === undefined) this.#topics.set(topic, (keys = new Map<string, Published>()));
    // Deleted first, so that it stands last in the order of time.
    keys.delete(key);
    keys.set(key, published);
  }

  get empty(): boolean {
    return this.#topics.size === 0;
  }

  expire(): void {
    for (const [topic, keys] of this.#topics) {
      for (const [key, published] of keys) {
        if (!isOver(published)) break;
        keys.delete(key);
      }
      if (keys.size === 0) this.#topics.delete(topic);
    }
  }
}

function isOver(published: Published): boolean {
  return performance.now() - (typeof published === 'number' ? published : published.at) >= IDEMPOTENCY_MS;
}

interface Remembered {
  /** By the monotonic clock. */
  readonly until: number;
  readonly topics: Map<string, State>;
}

type State =
  | { readonly kind: 'dropped' }
  /** `alone`: nothing remains to be remembered once it is dropped. */
  | { readonly kind: 'followed'; readonly since: Cursor; readonly alone: boolean };

/** What clients follow that come back. */
class RememberedSubscriptions {
  /** By connection id, in the order in which they were remembered. */
  readonly #ids = new Map<string, Remembered>();

  /** @param head the newest entry of the log */
  remember({ connectionId, topic, change, limit, ttl }: SubscriptionChange, head: Cursor): boolean {
    const topics = this.#topicsOf(connectionId) ?? new Map<string, State>();
    const present = topics.get(topic);
    if (present === undefined && topics.size >= limit) return false;
    if (change !== 'drop') {
      const alone = change === 'add' && present === undefined;
      if (present?.kind !== 'followed') topics.set(topic, { kind: 'followed', since: head, alone });
    } else if (present?.kind === 'followed' && present.alone) topics.delete(topic);
    else topics.set(topic, { kind: 'dropped' });
    this.#keep(connectionId, topics, ttl);
    return true;
  }

  recall(connectionId: string, ttl: number): ReadonlyMap<string, RememberedTopic> {
    const topics = this.#topicsOf(connectionId);
    if (topics === undefined) return new Map();
    this.#keep(connectionId, topics, ttl);
    return new Map(
      [...topics].map(([topic, state]): [string, RememberedTopic] => [
        topic,
        state.kind === 'dropped' ? state : { kind: 'followed', since: state.since },
      ]),
    );
  }

  forget(connectionId: string): void {
    this.#ids.delete(connectionId);
  }

  #topicsOf(connectionId: string): Map<string, State> | undefined {
    const now = performance.now();
    // Those with a longer life may keep others a little longer.
    for (const [id, { until }] of this.#ids) {
      if (until > now) break;
      this.#ids.delete(id);
    }
    const remembered = this.#ids.get(connectionId);
    return remembered !== undefined && remembered.until > now ? remembered.topics : undefined;
  }

  #keep(connectionId: string, topics: Map<string, State>, ttl: number): void {
    this.#ids.delete(connectionId);
    this.#ids.set(connectionId, { until: performance.now() + ttl, topics });
  }
}
