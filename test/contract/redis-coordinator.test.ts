import { amount, WHOLE } from '../support/extent.js';
import { withRedis, withRedisCluster } from '../support/redis/with-redis.js';
import { CuttableRedisNodes, RedisNodes } from '../support/redis/redis-nodes.js';
import { clusterCoordinatorContract } from '../../src/testing/contracts/cluster-coordinator.js';
import type { ContractExtent } from '../../src/testing/contracts/coordinator/ground.js';
import { MOCHA } from '../support/runner.js';

// The main topology runs every test.
const CORE: ContractExtent = WHOLE ? {} : { only: 'core' };

describe('RedisCoordinator', () => {
  describe('on a single Redis', () => {
    const server = withRedis();
    const nodes = new CuttableRedisNodes(() => server.redis.port);
    clusterCoordinatorContract(MOCHA, 'behind a URL', {
      node: id => nodes.node(id),
      cut: id => nodes.cut(id),
      heal: id => nodes.heal(id),
      quiet: () => nodes.quiet(),
      dispose: () => nodes.dispose(),
    });
    clusterCoordinatorContract(
      MOCHA,
      'with sixteen partitions, signed frames and a client of the application',
      new RedisNodes(() => ({ client: server.redis.admin, partitions: 16 }), {
        control: { secret: 'a secret of at least sixteen' },
        // Each renewal sends the text of its script: sixteen per node and heartbeat.
        node: { heartbeat: 1_000 },
        script: { scriptCacheEnabled: false },
      }),
      CORE,
    );
    clusterCoordinatorContract(
      MOCHA,
      'with plain commands for the registry',
      new RedisNodes(() => ({ url: server.redis.url }), {
        atomicOperation: { redisAtomicEnabled: false },
      }),
      CORE,
    );
  });

  describe('on a Redis Cluster', () => {
    const cluster = withRedisCluster();
    // Two on each master; a node subscribes to channels of each.
    const partitions = amount(6, 16);
    clusterCoordinatorContract(
      MOCHA,
      'with classic Pub/Sub',
      new RedisNodes(() => ({ client: cluster.redis.admin, partitions })),
      CORE,
    );
    clusterCoordinatorContract(
      MOCHA,
      'with sharded Pub/Sub',
      new RedisNodes(() => ({ client: cluster.redis.admin, partitions, pubsub: 'sharded' })),
      CORE,
    );
  });
});
