import type { Partition } from '../../../src/cluster/redis/keys.js';
import {
  type Lease,
  type LeaseReply,
  leaseScript,
  type OwnedConnection,
  refreshScript,
  type RegisterReply,
  type RegisterRequest,
  registerScript,
  unregisterScript,
} from '../../../src/cluster/redis/scripts.js';
import type { ScriptBench } from './script-bench.js';

export const LEASE_MS = 15_000;
export const TTL_MS = 60_000;
const KEY_MS = 3_600_000;
/** In place of PUBLISH: the notification of a former owner goes to a list, which a test reads without waiting. */
const TELL_BY_LIST = 'RPUSH' as RegisterRequest['pubCommand'];

/** A node as the scripts see it: its incarnation and what it believes of its lease, in one partition or several. */
export class BenchNode {
  readonly #leases = new Map<number, Lease>();
  #epochs = 0;

  constructor(
    private readonly bench: ScriptBench,
    readonly inc: string,
  ) {}

  believed(partition = this.bench.partition(0)): Lease | undefined {
    return this.#leases.get(partition.number);
  }

  gen(partition = this.bench.partition(0)): string {
    return this.believed(partition)?.gen ?? '0';
  }

  /** The epoch that its next lease would begin. */
  get nextEpoch(): string {
    return `${this.inc}${this.#epochs + 1}`;
  }

  /** Renews its lease; stores the answer unless `forget` is set, as when the answer is lost. */
  async lease({ partition = this.bench.partition(0), schema = '1/test', forget = false } = {}) {
    const newEpoch = this.nextEpoch;
    this.#epochs += 1;
    const reply: LeaseReply = await this.bench.gateway.run(leaseScript, {
      partition,
      inc: this.inc,
      believed: this.believed(partition),
      leaseMs: LEASE_MS,
      keyMs: KEY_MS,
      schema,
      newEpoch,
    });
    if (reply.status !== 'SCHEMA' && !forget) this.#leases.set(partition.number, reply.lease);
    return reply;
  }

  async register(
    conn: string,
    tok: string,
    more: Partial<RegisterRequest> & { readonly partition?: Partition } = {},
  ): Promise<RegisterReply> {
    const partition = more.partition ?? this.bench.partition(0);
    return this.bench.gateway.run(registerScript, {
      partition,
      tombstone: this.#tombstone(partition, tok),
      inc: this.inc,
      gen: this.gen(partition),
      conn,
      tok,
      user: undefined,
      mode: 'take',
      ttlMs: TTL_MS,
      leaseMs: LEASE_MS,
      keyMs: KEY_MS,
      takeoverLimit: 5,
      takeoverWindow: 30_000,
      pubCommand: 'PUBLISH',
      ...more,
    });
  }

  /** The same; its notifications are in {@link ScriptBench.notifications}. */
  registerTelling(
    conn: string,
    tok: string,
    more: Partial<RegisterRequest> & { readonly partition: Partition },
  ): Promise<RegisterReply> {
    const partition = {
      ...more.partition,
      channelPrefix: this.bench.notificationPrefix(more.partition),
    };
    return this.register(conn, tok, { ...more, partition, pubCommand: TELL_BY_LIST });
  }

  async unregister(
    conn: string,
    tok: string,
    { partition = this.bench.partition(0), tombstoneMs = 0 }: { partition?: Partition; tombstoneMs?: number } = {},
  ) {
    const tombstone = this.#tombstone(partition, tok);
    const request = { partition, tombstone, inc: this.inc, conn, tok, tombstoneMs };
    return (await this.bench.gateway.run(unregisterScript, request)).status;
  }

  async refresh(connections: readonly OwnedConnection[], { partition = this.bench.partition(0), ttlMs = TTL_MS } = {}) {
    const { inc } = this;
    const times = { ttlMs, leaseMs: LEASE_MS, keyMs: KEY_MS };
    const request = { partition, inc, gen: this.gen(partition), ...times, connections };
    return this.bench.gateway.run(refreshScript, request);
  }

  #tombstone(partition: Partition, tok: string): string {
    const tombstone = this.bench.keys.tombstone(partition, this.inc, tok);
    this.bench.tombstones.add(tombstone);
    return tombstone;
  }
}
