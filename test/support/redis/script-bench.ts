import type { Cluster, Redis } from 'ioredis';
import type { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { Keys, type Partition } from '../../../src/cluster/redis/keys.js';
import { BenchNode } from './bench-node.js';
import { randomPrefix } from './gateway-options.js';

/** What Redis holds of one partition. */
export interface PartitionState {
  readonly leases: Readonly<Record<string, string>>;
  readonly routes: Readonly<Record<string, string>>;
  readonly index: Readonly<Record<string, string>>;
}

/** A cluster's keys under a prefix of their own, with a clock that only the test moves. */
export class ScriptBench {
  readonly keys: Keys;
  now = 1_800_000_000_000;
  readonly #incs = new Set<string>();

  constructor(
    readonly gateway: RedisGateway,
    private readonly admin: Redis | Cluster,
    partitions = 1,
  ) {
    const prefix = randomPrefix();
    const { cluster } = gateway;
    this.keys = new Keys({
      prefix,
      database: 0,
      channel: `${prefix}all`,
      partitions,
      pubsub: 'classic',
      cluster,
    });
  }

  node(inc: string): BenchNode {
    this.#incs.add(inc);
    return new BenchNode(this, inc);
  }

  /** Sets the clock; to be called once before the first script. */
  async advance(ms = 0): Promise<void> {
    this.now += ms;
    await Promise.all(this.#clocks().map(key => this.admin.set(key, this.now, 'PX', 600_000)));
  }

  async state({ leases, routes, index }: Partition = this.partition(0)): Promise<PartitionState> {
    const [l, r, scores] = await Promise.all([
      this.admin.hgetall(leases),
      this.admin.hgetall(routes),
      this.admin.zrange(index, '0', '-1', 'WITHSCORES'),
    ]);
    const members = scores.flatMap((name, at) => (at % 2 === 0 ? [[name, scores[at + 1]]] : []));
    return {
      leases: l,
      routes: r,
      index: Object.fromEntries(members) as Record<string, string>,
    };
  }

  /** The key under which a registration of the bench leaves its notifications, without the incarnation. */
  notificationPrefix({ leases }: Partition): string {
    return leases.replace(/l$/, 'notified:');
  }

  /** Removes and returns the notifications since the last call, by incarnation. */
  async notifications(partition: Partition): Promise<Readonly<Record<string, unknown>>> {
    const prefix = this.notificationPrefix(partition);
    const notifications: Record<string, unknown> = {};
    await Promise.all(
      [...this.#incs].map(async inc => {
        const texts = await this.admin.lrange(prefix + inc, 0, -1);
        if (texts.length === 0) return;
        await this.admin.del(prefix + inc);
        notifications[inc] = texts.map(text => JSON.parse(text) as unknown);
      }),
    );
    return notifications;
  }

  /** The key under which a message of the bench leaves its publication, without the incarnation. */
  publicationPrefix({ leases }: Partition): string {
    return leases.replace(/l$/, 'published:');
  }

  /** Removes and returns the only publication under a key. */
  async takePublication(key: string): Promise<string> {
    const [publication, ...others] = await this.admin.lrange(key, 0, -1);
    await this.admin.del(key);
    if (publication === undefined || others.length > 0) throw new Error('one message must be one publication');
    return publication;
  }

  /** Removes keys of a partition as an eviction or a flush would. */
  async lose(partition: Partition, ...which: readonly ('leases' | 'routes' | 'index')[]): Promise<void> {
    await this.admin.del(...which.map(key => partition[key]));
  }

  partition(number: number): Partition {
    const partition = this.keys.partitions[number];
    if (partition === undefined) throw new Error(`no partition ${number}`);
    return partition;
  }

  /** Removes every key it may have made; those of the log by name of topic. */
  async clean(): Promise<void> {
    const tombstones = [...this.tombstones];
    const keys = this.keys.partitions.flatMap(({ leases, routes, index }) => [leases, routes, index]);
    await Promise.all([...keys, ...tombstones, ...this.#clocks()].map(key => this.admin.del(key)));
  }

  /** Marks that were made, to be removed at the end. */
  readonly tombstones = new Set<string>();

  #clocks(): string[] {
    const logClock = this.keys.logMeta.replace(/m$/, 'clock');
    return [...this.keys.partitions.map(({ leases }) => leases.replace(/l$/, 'clock')), logClock];
  }
}
