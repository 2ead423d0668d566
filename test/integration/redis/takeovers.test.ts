import { expect } from 'chai';
import type { Cluster, Redis } from 'ioredis';
import { Keys } from '../../../src/cluster/redis/keys.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

/** As in a comparison at rest: nothing removes the route of the dead node meanwhile. */
const SELDOM = { heartbeat: 20_000, lease: 60_000 };
const TAKEOVERS = 8;
const DEAD = { gen: '7', lease: `${Date.now() + 600_000}|dead~1` };

/** Where the dead node would hear of a takeover in a Redis Cluster. */
function channelOfDead(prefix: string): string {
  const layout = {
    prefix,
    database: 0,
    channel: 'sse:events',
    partitions: 1,
    pubsub: 'classic',
    cluster: true,
  } as const;
  return `${new Keys(layout).partitionOf('c1').channelPrefix}dead~1`;
}

/** What a node answers to a client that comes back each time the node that it moved to was killed. */
async function answers(nodes: RedisNodes, admin: Redis | Cluster): Promise<string[]> {
  const node = await nodes.node('a');
  await node.start(new RecordingListener());
  await until(() => node.status().reachable, 'the node');
  await nodes.quiet();
  const outcomes: string[] = [];
  for (let n = 0; n <= TAKEOVERS; n += 1) {
    const registration = { connectionId: 'c1', token: `t${n}`, onDuplicate: 'takeover' } as const;
    outcomes.push((await node.routes.register(registration)).outcome);
    // A killed node leaves a lease that runs, a route under it, and no subscriber.
    await admin.hset(`${nodes.prefix}{18}:l`, `g:${DEAD.gen}`, DEAD.lease);
    const route = (await admin.hget(`${nodes.prefix}{18}:r`, 'c1')) ?? '';
    await admin.hset(`${nodes.prefix}{18}:r`, 'c1', route.replace(/^\d+/, DEAD.gen));
  }
  return outcomes;
}

const ALL = Array.from({ length: TAKEOVERS + 1 }, () => 'registered');

describe('a client whose nodes are killed one after the other', () => {
  const made: RedisNodes[] = [];
  afterEach(async () => {
    await Promise.all(made.splice(0).map(nodes => nodes.dispose()));
  });
  const nodesOf = (redis: SseOptions['redis'], settings: SseOptions = {}): RedisNodes => {
    const nodes = new RedisNodes(() => ({ partitions: 1, ...redis }), { node: SELDOM, ...settings });
    made.push(nodes);
    return nodes;
  };
  const PLAIN = { atomicOperation: { redisAtomicEnabled: false } };

  describe('on a single Redis', () => {
    const server = withRedis();

    it('is never refused as a storm', async () => {
      const { url, admin } = server.redis;
      expect(await answers(nodesOf({ url }), admin)).to.deep.equal(ALL);
    });

    it('nor where plain commands register', async () => {
      const { url, admin } = server.redis;
      expect(await answers(nodesOf({ url }, PLAIN), admin)).to.deep.equal(ALL);
    });
  });

  describe('on a Redis Cluster', () => {
    const cluster = withRedisCluster();

    it('is never refused with sharded Pub/Sub', async () => {
      const client = cluster.redis.admin;
      expect(await answers(nodesOf({ client, pubsub: 'sharded' }), client)).to.deep.equal(ALL);
    });

    it('nor where plain commands register', async () => {
      const client = cluster.redis.admin;
      expect(await answers(nodesOf({ client, pubsub: 'sharded' }, PLAIN), client)).to.deep.equal(ALL);
    });

    it('nor with classic Pub/Sub, where no master knows all subscribers', async () => {
      const client = cluster.redis.admin;
      expect(await answers(nodesOf({ client, pubsub: 'classic' }), client)).to.deep.equal(ALL);
    });

    it('is refused with classic Pub/Sub while the former node hears at one of the masters', async () => {
      const client = cluster.redis.admin;
      for (const master of client.nodes('master')) {
        const nodes = nodesOf({ client, pubsub: 'classic' });
        const ear = master.duplicate();
        await ear.subscribe(channelOfDead(nodes.prefix));
        const refused = ALL.map((outcome, n) => (n > 5 ? 'storm' : outcome));
        expect(await answers(nodes, client)).to.deep.equal(refused);
        await ear.quit();
      }
    });
  });
});
