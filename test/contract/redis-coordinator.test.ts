import { amount } from '../support/extent.js';
import { withRedis, withRedisCluster } from '../support/redis/with-redis.js';
import { CuttableRedisNodes, RedisNodes } from '../support/redis/redis-nodes.js';
import { clusterCoordinatorContract } from './cluster-coordinator.contract.js';

describe('RedisCoordinator', () => {
  describe('on a single Redis', () => {
    const server = withRedis();
    const nodes = new CuttableRedisNodes(() => server.redis.port);
    clusterCoordinatorContract('behind a URL', {
      node: id => nodes.node(id),
      cut: id => nodes.cut(id),
      heal: id => nodes.heal(id),
      quiet: () => nodes.quiet(),
      dispose: () => nodes.dispose(),
    });
    clusterCoordinatorContract(
      'with sixteen partitions, signed frames and a client of the application',
      new RedisNodes(() => ({ client: server.redis.admin, partitions: 16 }), {
        control: { secret: 'a secret of at least sixteen' },
        script: { scriptCacheEnabled: false },
      }),
      { only: 'core' },
    );
    clusterCoordinatorContract(
      'with plain commands for the registry',
      new RedisNodes(() => ({ url: server.redis.url }), {
        atomicOperation: { redisAtomicEnabled: false },
      }),
      { only: 'core' },
    );
  });

  describe('on a Redis Cluster', () => {
    const cluster = withRedisCluster();
    // Two on each master; a node subscribes to channels of each.
    const partitions = amount(6, 16);
    clusterCoordinatorContract(
      'with classic Pub/Sub',
      new RedisNodes(() => ({ client: cluster.redis.admin, partitions })),
      { only: 'core' },
    );
    clusterCoordinatorContract(
      'with sharded Pub/Sub',
      new RedisNodes(() => ({ client: cluster.redis.admin, partitions, pubsub: 'sharded' })),
      { only: 'core' },
    );
  });
});
