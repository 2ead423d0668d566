import type {
  ClusterListener,
  ConsistencyReport,
  ConsistencyRequest,
  NodeInfo,
  Publication,
  PublicationResult,
  Registration,
  RegistrationResult,
} from '../../contracts/cluster.js';
import type { Cursor, Frame, Gap, Position } from '../../contracts/events.js';
import { SseError } from '../../errors.js';
import { gapOf } from '../../protocol/gap.js';
import { addressed, carriedTrace, EVERYONE } from '../../protocol/names.js';
import { Findings, type Difference, lastingDifferences } from '../differences.js';
import { MemoryLog } from './log.js';
import { type OwnedRoute, RouteTable, type TakeoverLimit } from './routes.js';

export type { TakeoverLimit } from './routes.js';

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
    if (member !== undefined) member.cutAt ??= this.log.head;
  }

  /**
   * Ends a cut. Connections whose id moved to another node meanwhile are closed as superseded. The node is given what was
   * published and kept meanwhile; the subscribers of what was not kept are told of the gap.
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
      : this.log.head;
    const gap = gaps === 'unknown' ? lostAll(resumedFrom, this.log.head) : gapOf(gaps, resumedFrom);
    if (gap !== undefined) listener.onGap(gap);
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

/** A gap in topics that are not remembered. */
function lostAll(resumedFrom: Cursor, until: Cursor): Gap {
  return { reason: 'GAP', topics: undefined, resumedFrom, until };
}

/** Compares one node of a bus with the routes of all. */
class BusCheck {
  /** @param reach the listener of a member that is not cut off */
  constructor(
    private readonly routes: RouteTable,
    private readonly members: readonly string[],
    private readonly reach: (nodeId: string) => ClusterListener | undefined,
  ) {}

  async run(nodeId: string, request: ConsistencyRequest): Promise<ConsistencyReport> {
    const findings = new Findings(request.maxRepairs);
    const listener = this.reach(nodeId);
    if (listener === undefined) return findings.unknown('cut off from the bus');
    const look = async (): Promise<readonly Difference[]> =>
      request.scope === 'node'
        ? this.#differences(nodeId, listener, findings)
        : this.#orphans(findings);
    const differences = await lastingDifferences(look, request.settle);
    if (this.reach(nodeId) !== listener) return findings.unknown('cut off from the bus meanwhile');
    for (const difference of differences) {
      const repaired = findings.left > 0 && this.#repair(nodeId, listener, difference);
      findings.add({ kind: difference.kind, connectionId: difference.connectionId, repaired });
    }
    if (request.tell && findings.repaired > 0) this.#tell(nodeId);
    return findings.report();
  }

  #differences(nodeId: string, listener: ClusterListener, findings: Findings): Difference[] {
    const found: Difference[] = [];
    const here = new Set<string>();
    findings.checked = 0;
    for (const { connectionId, token } of listener.registered()) {
      here.add(connectionId);
      findings.checked += 1;
      const route = this.routes.get(connectionId);
      if (route === undefined) found.push({ kind: 'missing-route', connectionId, token });
      else if (route.nodeId !== nodeId) found.push({ kind: 'foreign-route', connectionId, token });
      else if (route.token !== token) found.push({ kind: 'wrong-token', connectionId, token });
    }
    for (const { connectionId, token, nodeId: owner } of this.routes.all()) {
      if (owner !== nodeId) continue;
      findings.checked += 1;
      if (!here.has(connectionId) && !listener.holds(connectionId, token))
        found.push({ kind: 'ghost', connectionId, token });
    }
    return found;
  }

  #orphans(findings: Findings): Difference[] {
    const routes = [...this.routes.all()];
    findings.checked = routes.length;
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
