import { randomBytes } from 'node:crypto';
import { SseError } from '../../errors.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { Periodic } from '../../time.js';
import type { ClusterNode } from './cluster-node.js';
import { nodeIdOf } from './frames.js';
import type { Partition } from './keys.js';
import { countScript, type Lease, leaseScript, reapScript } from './scripts.js';

const ROUTES_PER_CALL = 200;
const RETRY_MS = 1_000;

/** Called by {@link NodeLeases}. None may throw. */
interface LeaseEvents {
  /** The lease of a partition is a new one: the routes that this node had there are gone. */
  onOpened(partition: Partition): void;
  /** Every lease was renewed just now. */
  onBeat(): void;
  /** Heartbeats fail, for this reason. Called once until they succeed again. */
  onSilent(error: unknown): void;
  /** Heartbeats succeed again. */
  onRecovered(): void;
}

/**
 * The node's proofs of life, one per partition, renewed with each heartbeat. Changes of one lease happen one after the
 * other, so that a heartbeat cannot reopen a lease that is being released.
 */
export class NodeLeases {
  readonly #held = new Map<number, Lease>();
  readonly #changes = new Map<number, Promise<unknown>>();
  readonly #heartbeat: Periodic;
  readonly #retryMs: number;
  #beating: Promise<void> | undefined;
  #silence: { readonly because: unknown } | undefined;
  /** When the present unbroken stretch of heartbeats began. */
  #aliveSince = Infinity;
  #stopped = false;

  constructor(
    private readonly node: ClusterNode,
    private readonly events: LeaseEvents,
  ) {
    const { heartbeat } = node.options.node;
    this.#retryMs = Math.min(RETRY_MS, heartbeat);
    // A failure is reported by `onSilent`.
    this.#heartbeat = new Periodic(() => this.beat().catch(() => undefined), {
      everyMs: heartbeat,
    });
  }

  /** Whether there is a lease in every partition, as far as known. */
  get held(): boolean {
    return this.#held.size === this.node.gateway.keys.partitions.length;
  }

  /** Whether the last heartbeat failed. */
  get silent(): boolean {
    return this.#silence !== undefined;
  }

  /** Why the last heartbeat failed. */
  get silence(): unknown {
    return this.#silence?.because;
  }

  /**
   * Whether this node has renewed its leases for the time of a lease without a break. All nodes may have been cut off
   * together: before that time another node without a lease may only be late.
   */
  get steady(): boolean {
    return performance.now() - this.#aliveSince >= this.node.options.node.lease;
  }

  /** To be called when the connection to Redis is lost: the time of {@link steady} begins anew. */
  interrupt(): void {
    this.#aliveSince = Infinity;
  }

  /** Why this node can ask nothing of the cluster; `undefined` when it can. */
  obstacle(): string | undefined {
    const away = this.node.gateway.obstacle();
    if (away !== undefined) return away;
    if (this.silent) return 'Redis does not answer';
    return this.held ? undefined : 'this node has not joined yet';
  }

  /** The generation of a partition's lease. @throws SseError `UNAVAILABLE` when there is none yet */
  generation(partition: Partition): string {
    const lease = this.#held.get(partition.number);
    if (lease !== undefined) return lease.gen;
    throw new SseError('UNAVAILABLE', 'this node has no lease in the cluster yet; try again later');
  }

  /** Renews every lease, at once and with each heartbeat from now on; calls that overlap share one. @throws SseError */
  beat(): Promise<void> {
    if (!this.#stopped) this.#heartbeat.start();
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
    this.#heartbeat.stop();
  }

  async #beat(): Promise<void> {
    try {
      await Promise.all(this.node.gateway.keys.partitions.map(partition => this.reopen(partition)));
    } catch (error) {
      this.#heartbeat.runWithin(this.#retryMs);
      this.#fail(error);
      throw error;
    }
    this.#aliveSince = Math.min(this.#aliveSince, performance.now());
    this.#recover();
    this.events.onBeat();
  }

  #fail(error: unknown): void {
    const isFirst = !this.silent && !this.#stopped;
    this.#silence = { because: error };
    this.interrupt();
    if (isFirst) this.events.onSilent(error);
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

  /** A lease that is opened after the end would not be released. */
  #refuseStopped(): void {
    if (this.#stopped) throw new SseError('CLOSED', 'the coordinator was closed; make another');
  }

  async #lease(partition: Partition) {
    const { gateway, inc, options, clock } = this.node;
    const sentAt = performance.now();
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
      if (partition.number === 0) clock.observe(reply.now, sentAt);
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

/** The nodes with a live lease, read from Redis at most once per heartbeat and after each join and leave. */
export class LiveNodes {
  #count: Promise<number> | undefined;

  constructor(private readonly node: Pick<ClusterNode, 'gateway'>) {}

  /** How many there are. @throws SseError */
  count(): Promise<number> {
    this.#count ??= this.#read().catch((error: unknown) => {
      this.#count = undefined;
      throw error;
    });
    return this.#count;
  }

  /** Their incarnations, read now. @throws SseError */
  async incarnations(): Promise<readonly string[]> {
    const { gateway } = this.node;
    const [partition] = gateway.keys.partitions;
    if (partition === undefined) return [];
    const { nodes } = await gateway.run(countScript, { partition });
    return nodes.map(({ inc }) => inc);
  }

  /** To be called when a node may have joined or left. */
  forget(): void {
    this.#count = undefined;
  }

  async #read(): Promise<number> {
    return new Set((await this.incarnations()).map(nodeIdOf)).size;
  }
}
