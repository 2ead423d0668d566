import { randomBytes } from 'node:crypto';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import type { ClusterNode } from './cluster-node.js';
import type { Partition } from './keys.js';
import { type Lease, leaseScript } from './scripts/lease-script.js';
import { reapScript } from './scripts/reap-script.js';

const ROUTES_PER_CALL = 200;
const RETRY_MS = 1_000;

/** What a lease tells. None may throw. */
interface LeaseEvents {
  /** The lease of a partition is a new one: what this node had registered there is gone. */
  onOpened(partition: Partition): void;
  /** Every lease was renewed just now. */
  onBeat(): void;
  /** Heartbeats fail, for this reason. Told once until they succeed again. */
  onSilent(error: unknown): void;
  /** They succeed again. */
  onRecovered(): void;
}

/**
 * The node's proofs of life, one per partition, renewed with each heartbeat. Changes of one lease happen one after the
 * other, so that a heartbeat cannot reopen what is being released.
 */
export class NodeLeases {
  readonly #held = new Map<number, Lease>();
  readonly #changes = new Map<number, Promise<unknown>>();
  #timer: NodeJS.Timeout | undefined;
  #beating: Promise<void> | undefined;
  #clock: { readonly redis: number; readonly at: number } | undefined;
  #silence: { readonly because: unknown } | undefined;
  #stopped = false;

  constructor(
    private readonly node: ClusterNode,
    private readonly events: LeaseEvents,
  ) {}

  /** Whether there is a lease in every partition, as far as known. */
  get held(): boolean {
    return this.#held.size === this.node.gateway.keys.partitions.length;
  }

  /** Redis' clock in milliseconds, reckoned from the last heartbeat; in a Redis Cluster that of one master, for all nodes. */
  get clock(): number | undefined {
    return this.#clock && this.#clock.redis + performance.now() - this.#clock.at;
  }

  /** Whether the last heartbeat failed. */
  get silent(): boolean {
    return this.#silence !== undefined;
  }

  /** Why the last heartbeat failed. */
  get silence(): unknown {
    return this.#silence?.because;
  }

  /** The generation of a partition's lease. @throws SseError `UNAVAILABLE` when there is none yet */
  generation(partition: Partition): string {
    const lease = this.#held.get(partition.number);
    if (lease !== undefined) return lease.gen;
    throw new SseError('UNAVAILABLE', 'this node has no lease in the cluster yet; try again later');
  }

  /** Renews every lease and plans the next heartbeat; calls that overlap share one. @throws SseError */
  beat(): Promise<void> {
    this.#beating ??= this.#beat().finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  /** To be called when a script answered that the lease is lost. @throws SseError */
  reopen(partition: Partition): Promise<void> {
    return this.#change(partition, () => this.#renew(partition));
  }

  /**
   * Removes the leases with all their routes, a batch at a time.
   * @param stay opens new leases at once, for a node that goes on @throws SseError
   */
  async release(stay: boolean): Promise<void> {
    await Promise.all(
      this.node.gateway.keys.partitions.map(partition =>
        this.#change(partition, async () => {
          await this.#release(partition);
          if (stay) this.#held.set(partition.number, (await this.#lease(partition)).lease);
        }),
      ),
    );
  }

  /** Ends the heartbeats. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #beat(): Promise<void> {
    clearTimeout(this.#timer);
    const { heartbeat } = this.node.options.node;
    try {
      await Promise.all(this.node.gateway.keys.partitions.map(partition => this.reopen(partition)));
      this.#plan(heartbeat);
      this.#recover();
      this.events.onBeat();
    } catch (error) {
      this.#plan(Math.min(RETRY_MS, heartbeat));
      this.#fall(error);
      throw error;
    }
  }

  #plan(ms: number): void {
    if (this.#stopped) return;
    this.#timer = setTimeout(() => {
      // A failure is told by `onSilent`.
      this.beat().catch(() => undefined);
    }, ms).unref();
  }

  #fall(error: unknown): void {
    const news = !this.silent && !this.#stopped;
    this.#silence = { because: error };
    if (news) this.events.onSilent(error);
  }

  #recover(): void {
    if (!this.silent || this.#stopped) return;
    this.#silence = undefined;
    this.events.onRecovered();
  }

  #change<T>(partition: Partition, work: () => Promise<T>): Promise<T> {
    const before = this.#changes.get(partition.number) ?? Promise.resolve();
    const change = before.then(work, work);
    this.#changes.set(partition.number, change);
    return change;
  }

  async #renew(partition: Partition): Promise<void> {
    this.#refuseStopped();
    const { status, lease } = await this.#lease(partition);
    this.#held.set(partition.number, lease);
    if (status === 'OPENED' && !this.#stopped) this.events.onOpened(partition);
  }

  /** What would be opened now, nobody would release. */
  #refuseStopped(): void {
    if (this.#stopped) throw new SseError('CLOSED', 'the coordinator was closed; make another');
  }

  async #lease(partition: Partition) {
    const { gateway, inc, options } = this.node;
    const { leaseMs, keyMs } = routeTimes(options);
    const reply = await gateway.run(leaseScript, {
      partition,
      inc,
      believed: this.#held.get(partition.number),
      leaseMs,
      keyMs,
      schema: gateway.keys.schema,
      newEpoch: randomBytes(6).toString('hex'),
    });
    if (reply.status !== 'SCHEMA') {
      if (partition.number === 0) this.#clock = { redis: reply.now, at: performance.now() };
      return reply;
    }
    throw new SseError(
      'INVALID_OPTION',
      `redis.partitions and redis.pubsub must be the same on all nodes (${reply.stored} as partitions/mode in this ` +
        `Redis), got ${gateway.keys.schema}; set them alike, or use another redis.prefix`,
    );
  }

  async #release(partition: Partition): Promise<void> {
    const request = { partition, limit: ROUTES_PER_CALL, graceMs: 0, self: this.node.inc };
    this.#held.delete(partition.number);
    while ((await this.node.gateway.run(reapScript, request)).status === 'MORE');
  }
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
