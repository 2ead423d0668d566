import { randomBytes } from 'node:crypto';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { Periodic } from '../../time.js';
import { closedCoordinator } from '../guarded-cluster.js';
import { RedisClock } from './signing.js';
import type { ClusterNode } from './cluster-node.js';
import { beforeSending, redisErrorCode } from './failures.js';
import { nodeIdOf } from './frames.js';
import type { Partition } from './keys.js';
import { countScript, type Lease, type LeaseReply, leaseScript, reapScript } from './scripts.js';

const ROUTES_PER_CALL = 200;
const RETRY_MS = 1_000;

/** Called by {@link NodeLeases}. None may throw. */
interface LeaseEvents {
  /** The lease of a partition is a new one: the routes that this node had there are gone. */
  onOpened(partition: Partition): void;
  /** Every lease that can be renewed was renewed just now. */
  onBeat(): void;
  /** A partition is in trouble. Called once until it is well again. */
  onTrouble(partition: Partition, trouble: Trouble): void;
  /** A partition is well again. */
  onRecovered(): void;
}

/** Why this node cannot prove in a partition that it lives. */
export type Trouble =
  /** Nothing comes from its master, or Redis says that it cannot serve. */
  | { readonly kind: 'silent'; readonly because: unknown }
  /** Redis refuses writes, with this error code. Reading goes on. */
  | { readonly kind: 'refused'; readonly code: string }
  /** This key has another type. */
  | { readonly kind: 'unreadable'; readonly key: string };

/**
 * The node's proofs of life, one per partition, renewed with each heartbeat. Changes of one lease happen one after the
 * other, so that a heartbeat cannot reopen a lease that is being released. Each partition has a state of its own: where one
 * master of a Redis Cluster fails, the partitions of the others go on.
 */
export class NodeLeases {
  readonly #partitions: readonly PartitionLease[];
  readonly #heartbeat: Periodic;
  readonly #retryMs: number;
  #beating: Promise<void> | undefined;
  #stopped = false;

  constructor(
    private readonly node: ClusterNode,
    private readonly events: LeaseEvents,
  ) {
    const { heartbeat } = node.options.node;
    this.#retryMs = Math.min(RETRY_MS, heartbeat);
    this.#partitions = node.gateway.keys.partitions.map(partition => new PartitionLease(partition));
    // A failure is reported by `onTrouble`.
    this.#heartbeat = new Periodic(() => this.beat().catch(() => undefined), { everyMs: heartbeat });
  }

  /** A time in milliseconds at which the Redis of a partition certainly was; `undefined` before its first answer. */
  clockOf(partition: Partition): number | undefined {
    return this.#of(partition).clock.earliest;
  }

  /** The routes of all nodes in a partition, as an answer named them. */
  observeRoutes(partition: Partition, routes: number): void {
    this.#of(partition).routes = routes;
  }

  /** This node removed so many routes of a partition. */
  removedRoutes(partition: Partition, removed: number): void {
    this.#of(partition).routes -= removed;
  }

  /** The routes of all nodes in the other partitions, as their last answers named them. */
  routesBeside(partition: Partition): number {
    return this.#partitions.reduce((sum, each) => sum + (each.partition === partition ? 0 : each.routes), 0);
  }

  /** Whether no partition answers. */
  get silent(): boolean {
    return this.#partitions.every(({ trouble }) => trouble?.kind === 'silent');
  }

  /** The partitions in trouble. */
  get troubles(): readonly { readonly partition: Partition; readonly trouble: Trouble }[] {
    return this.#partitions.flatMap(({ partition, trouble }) =>
      trouble === undefined ? [] : [{ partition, trouble }],
    );
  }

  troubleOf(partition: Partition): Trouble | undefined {
    return this.#of(partition).trouble;
  }

  /** Milliseconds that leases may be over and count: while Redis refuses writes no node can renew its lease. */
  get graceMs(): number {
    const isRefused = this.#partitions.some(({ trouble }) => trouble?.kind === 'refused');
    return isRefused ? routeTimes(this.node.options).keyMs : 0;
  }

  /**
   * Whether this node has renewed its lease in a partition for the time of a lease without a break. All nodes may have been
   * cut off together: before that time another node without a lease may only be late. A heartbeat that is late is a break.
   */
  isSteady(partition: Partition): boolean {
    const held = this.#of(partition);
    return performance.now() - held.aliveSince >= this.node.options.node.lease && !this.#isLate(held);
  }

  #isLate({ renewedAt }: PartitionLease): boolean {
    return performance.now() - renewedAt > 2 * this.node.options.node.heartbeat;
  }

  /** To be called when the connection to Redis is lost: the time of {@link isSteady} begins anew. */
  interrupt(): void {
    for (const each of this.#partitions) each.aliveSince = Infinity;
  }

  /** Why this node can ask nothing of the cluster, or nothing of one partition; `undefined` when it can. */
  obstacle(partition?: Partition): string | undefined {
    const away = this.node.gateway.obstacle(partition?.leases);
    if (away !== undefined) return away;
    if (this.silent || (partition && this.troubleOf(partition)?.kind === 'silent')) return 'Redis does not answer';
    const asked = partition === undefined ? this.#partitions : [this.#of(partition)];
    return asked.every(({ lease, trouble }) => lease !== undefined || trouble !== undefined)
      ? undefined
      : 'this node has not joined yet';
  }

  /** The lease of a partition. @throws SseError `UNAVAILABLE` when there is none yet */
  leaseOf(partition: Partition): Lease {
    const { lease } = this.#of(partition);
    if (lease !== undefined) return lease;
    throw new SseError('UNAVAILABLE', 'this node has no lease in the cluster yet; try again later');
  }

  /** The data epoch of a partition as this node knows it; '' when it knows none. */
  epochOf(partition: Partition): string {
    return this.#of(partition).lease?.epoch ?? '';
  }

  /**
   * Renews every lease, at once and with each heartbeat from now on; calls that overlap share one. Rejects when no
   * partition could be renewed. @throws SseError; `INVALID_OPTION` for another layout in any partition
   */
  beat(): Promise<void> {
    if (!this.#stopped) this.#heartbeat.start();
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  /** To be called when a script answered that the lease is lost. @throws SseError */
  reopen(partition: Partition): Promise<void> {
    const held = this.#of(partition);
    return held.change(() => this.#renew(held));
  }

  /** To be called when Redis refused a call: the state of each partition is known soon afterwards. */
  onRefusal(): void {
    if (this.troubles.length === 0) this.#heartbeat.runWithin(0);
  }

  /**
   * Removes the leases with all their routes, a batch at a time.
   * @param stay opens new leases at once, for a node that goes on @throws SseError
   */
  async release(stay: boolean): Promise<void> {
    const reachable = this.#partitions.filter(({ trouble }) => trouble?.kind !== 'silent');
    await Promise.all(
      reachable.map(held =>
        held.change(async () => {
          await this.#release(held);
          if (stay) ({ lease: held.lease, routes: held.routes } = await this.#lease(held));
        }),
      ),
    );
  }

  /** Ends the heartbeats. */
  stop(): void {
    this.#stopped = true;
    this.#heartbeat.stop();
  }

  async #beat(): Promise<void> {
    const renewals = await Promise.allSettled(this.#partitions.map(({ partition }) => this.reopen(partition)));
    const failures = renewals.flatMap(renewal => (renewal.status === 'rejected' ? [renewal.reason as unknown] : []));
    if (failures.length > 0 || this.troubles.length > 0) this.#heartbeat.runWithin(this.#retryMs);
    const fatal = failures.find(failure => !SseError.is(failure, 'UNAVAILABLE'));
    if (fatal !== undefined || failures.length === renewals.length) throw fatal ?? failures[0];
    this.events.onBeat();
  }

  async #renew(held: PartitionLease): Promise<void> {
    this.#refuseStopped();
    try {
      const { status, lease, full, routes } = await this.#lease(held);
      held.lease = lease;
      held.routes = routes;
      if (full) this.#enter(held, { kind: 'refused', code: 'OOM' });
      else this.#recover(held);
      if (status === 'OPENED' && !this.#stopped) this.events.onOpened(held.partition);
    } catch (error) {
      held.aliveSince = Infinity;
      const isAway = this.node.gateway.obstacle(held.partition.leases) !== undefined;
      const trouble = troubleFrom(error, isAway);
      if (trouble !== undefined) this.#enter(held, trouble);
      throw error;
    }
  }

  /** A lease that is opened after the end would not be released. */
  #refuseStopped(): void {
    if (this.#stopped) throw closedCoordinator();
  }

  #enter(held: PartitionLease, trouble: Trouble): void {
    const isFirst = held.trouble === undefined && !this.#stopped;
    held.aliveSince = Infinity;
    held.trouble = trouble;
    if (isFirst) this.events.onTrouble(held.partition, trouble);
  }

  #recover(held: PartitionLease): void {
    const now = performance.now();
    held.aliveSince = this.#isLate(held) ? now : Math.min(held.aliveSince, now);
    held.renewedAt = now;
    if (held.trouble === undefined || this.#stopped) return;
    held.trouble = undefined;
    this.events.onRecovered();
  }

  async #lease(held: PartitionLease): Promise<Extract<LeaseReply, { readonly lease: Lease }>> {
    const { gateway, inc, options, clock } = this.node;
    const sentAt = performance.now();
    const { leaseMs, keyMs } = routeTimes(options);
    const reply = await gateway.run(leaseScript, {
      partition: held.partition,
      inc,
      believed: held.lease,
      leaseMs,
      keyMs,
      schema: gateway.keys.schema,
      newEpoch: randomBytes(6).toString('hex'),
    });
    if (reply.status === 'UNREADABLE') throw new UnreadableKey(reply.key);
    if (reply.status !== 'SCHEMA') {
      const now = reply.nowMicros / 1_000;
      held.clock.observe(now, sentAt);
      if (held.partition.number === 0) clock.observe(now, sentAt);
      return reply;
    }
    throw new SseError(
      'INVALID_OPTION',
      `redis.partitions and redis.pubsub must be the same on all nodes (${reply.stored} as partitions/mode in this ` +
        `Redis), got ${gateway.keys.schema}; set them alike, or use another redis.prefix`,
    );
  }

  async #release(held: PartitionLease): Promise<void> {
    const request = { partition: held.partition, limit: ROUTES_PER_CALL, overBy: 0, self: this.node.inc };
    held.lease = undefined;
    while ((await this.node.gateway.run(reapScript, request)).status === 'MORE');
  }

  #of(partition: Partition): PartitionLease {
    const held = this.#partitions[partition.number];
    if (held === undefined) throw new SseError('INTERNAL', 'a partition must be one of this layout');
    return held;
  }
}

/** The lease of one partition, as far as this node knows it. */
class PartitionLease {
  lease: Lease | undefined;
  readonly clock = new RedisClock();
  trouble: Trouble | undefined;
  /** Of all nodes. */
  routes = 0;
  /** When the present unbroken stretch of renewals began. */
  aliveSince = Infinity;
  renewedAt = -Infinity;
  #changes: Promise<unknown> = Promise.resolve();

  constructor(readonly partition: Partition) {}

  /** Runs after the changes before it. */
  change<T>(work: () => Promise<T>): Promise<T> {
    const change = this.#changes.then(work, work);
    this.#changes = change;
    return change;
  }
}

/** A key of the registry has another type. */
class UnreadableKey extends SseError {
  constructor(readonly key: string) {
    super('UNAVAILABLE', `the key ${key} must be of the type that this library writes; delete it, or move it away`, {
      retryable: false,
      noEffect: 'KEY_UNREADABLE',
    });
  }
}

/** What a failed renewal says of its partition; `undefined` when it says nothing yet. */
function troubleFrom(error: unknown, isAway: boolean): Trouble | undefined {
  if (error instanceof UnreadableKey) return { kind: 'unreadable', key: error.key };
  const code = redisErrorCode(error instanceof Error ? error.cause : undefined);
  const isRefused = SseError.is(error) && error.noEffect === 'WRITES_REFUSED';
  if (code !== undefined && isRefused) return { kind: 'refused', code };
  // A late answer to one call is no silence.
  return code !== undefined || isAway ? { kind: 'silent', because: error } : undefined;
}

const MARGIN_MS = 60_000;

/** How long things of the registry live in Redis, in milliseconds. */
interface RouteTimes {
  /** A lease without a heartbeat. */
  readonly leaseMs: number;
  /** A route that is not refreshed. */
  readonly ttlMs: number;
  /** The keys of a partition that no node uses any more; outlives everything in them. */
  readonly keyMs: number;
}

export function routeTimes({ node, redis }: ResolvedSseOptions): RouteTimes {
  const ttlMs = redis.connectionTtl * 1000;
  return { leaseMs: node.lease, ttlMs, keyMs: ttlMs + node.lease + MARGIN_MS };
}

/** The nodes with a live lease, read from Redis at most once per heartbeat and after each join and leave. */
export class LiveNodes {
  #count: Promise<number> | undefined;

  constructor(
    private readonly node: Pick<ClusterNode, 'gateway'>,
    private readonly leases: Pick<NodeLeases, 'troubleOf' | 'graceMs'>,
  ) {}

  /** How many there are. @throws SseError */
  count(): Promise<number> {
    this.#count ??= this.incarnations().then(
      incs => new Set(incs.map(nodeIdOf)).size,
      (error: unknown) => {
        this.#count = undefined;
        throw error;
      },
    );
    return this.#count;
  }

  /** Their incarnations, read now. @throws SseError; of `UNAVAILABLE` with `noEffect` */
  async incarnations(): Promise<readonly string[]> {
    const { gateway } = this.node;
    const { partitions } = gateway.keys;
    // Every node has a lease in each partition, so one that is well is enough.
    const partition = partitions.find(each => this.leases.troubleOf(each) === undefined) ?? partitions[0];
    if (partition === undefined) return [];
    const counting = gateway.run(countScript, { partition, graceMs: this.leases.graceMs });
    const { nodes } = await beforeSending(counting);
    return nodes.map(({ inc }) => inc);
  }

  /** To be called when a node may have joined or left. */
  forget(): void {
    this.#count = undefined;
  }
}
