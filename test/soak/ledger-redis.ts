import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Cluster, Redis } from 'ioredis';
import { Keys } from '../../src/cluster/redis/keys.js';
import { parsePosition } from '../../src/cluster/redis/script.js';
import type { Cursor } from '../../src/contracts/events.js';
import { DemoProcess } from '../support/demo-process.js';
import { RedisCluster } from '../support/redis/redis-cluster.js';
import { RedisServer } from '../support/redis/redis-server.js';

const LAYOUT = { prefix: 'sse:', database: 0, channel: 'sse:events', partitions: 1 } as const;
const KEYS = new Keys({ ...LAYOUT, pubsub: 'classic', cluster: false });

type Env = Readonly<Record<string, string>>;

/** What the ledger breaks below its nodes. */
export interface LedgerRedis {
  startNode(env: Env): Promise<DemoProcess>;
  /** Ends every subscription connection; resolves to how many there were. */
  killPubSub(): Promise<number>;
  /** What Redis has of a topic, whether it was acknowledged or not; nothing while it does not answer. */
  entries(topic: string): Promise<readonly Cursor[]>;
  /** Trims a topic to its newest entries. */
  trim(topic: string, entries: number): Promise<void>;
  /** Restarts what keeps the log, with everything it has acknowledged, or with nothing. */
  restart(keeping: boolean): Promise<void>;
  stop(): Promise<void>;
}

// What is under way when a Redis is ended is never answered, nor refused.
const PATIENCE_MS = 1_000;
const CLUSTER_NODE = 'test/soak/ledger-node.js';

/** One Redis. */
export async function singleRedis(): Promise<LedgerRedis> {
  const folder = await mkdtemp(join(tmpdir(), 'sse-ledger-'));
  const start = (port: number): Promise<RedisServer> => RedisServer.start({ port, args: ['--dir', folder] });
  let redis = await start(0);
  return {
    startNode: env => DemoProcess.start({ ...env, REDIS_URL: redis.url }),
    killPubSub: () => killAt(redis),
    entries: topic => entriesAt(redis.admin, topic),
    trim: async (topic, entries) => {
      if (redis.admin.status !== 'ready') return;
      await answered(redis.admin.xtrim(KEYS.topic(topic).stream, 'MAXLEN', entries));
    },
    restart: async keeping => {
      const { port } = redis;
      if (keeping) await redis.shutdown();
      else {
        await rm(join(folder, 'dump.rdb'), { force: true });
        await redis.stop();
      }
      redis = await start(port);
    },
    stop: async () => {
      await redis.stop();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Three masters. */
export async function clusterRedis(): Promise<LedgerRedis> {
  const cluster = await RedisCluster.start();
  const ports = cluster.servers.map(({ port }) => port).join(',');
  return {
    startNode: env => DemoProcess.start({ ...env, CLUSTER_PORTS: ports }, CLUSTER_NODE),
    killPubSub: async () => {
      const killed = await Promise.all(cluster.servers.map(killAt));
      return killed.reduce((sum, count) => sum + count, 0);
    },
    entries: topic => entriesAt(cluster.admin, topic),
    trim: async (topic, entries) => {
      await answered(cluster.admin.xtrim(KEYS.topic(topic).stream, 'MAXLEN', entries));
    },
    restart: async keeping => {
      await cluster.restart(await cluster.ownerOf(KEYS.logMeta), keeping);
    },
    stop: () => cluster.stop(),
  };
}

async function entriesAt(admin: Redis | Cluster, topic: string): Promise<readonly Cursor[]> {
  if (admin.status !== 'ready') return [];
  const found = await answered(
    Promise.all([admin.hget(KEYS.logMeta, 'e'), admin.xrange(KEYS.topic(topic).stream, '-', '+')]),
  );
  const [epoch, entries] = found ?? [null, []];
  if (epoch === null) return [];
  return entries.flatMap(([id]) => {
    const position = parsePosition(id);
    return position === undefined ? [] : [{ epoch, ...position }];
  });
}

async function killAt({ admin }: RedisServer): Promise<number> {
  // While Redis is away, no node is subscribed.
  if (admin.status !== 'ready') return 0;
  return Number((await answered(admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub'))) ?? 0);
}

/** The answer, or nothing when there is none. */
async function answered<T>(command: Promise<T>): Promise<T | undefined> {
  const late = new AbortController();
  const patience = delay(PATIENCE_MS, undefined, { signal: late.signal });
  try {
    return await Promise.race([command, patience]);
  } catch {
    return undefined;
  } finally {
    patience.catch(() => undefined);
    late.abort();
  }
}
