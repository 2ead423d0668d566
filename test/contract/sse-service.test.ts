import { RedisServices } from '../support/redis/redis-services.js';
import { withRedis } from '../support/redis/with-redis.js';
import { TestCluster } from '../support/test-cluster.js';
import { sseServiceContract } from './sse-service.contract.js';

const cluster = new TestCluster();

sseServiceContract('DistributedSseService', {
  async node(nodeId, options = {}) {
    return (await cluster.started(nodeId, { options })).service;
  },
  cut: nodeId => {
    cluster.bus.cut(nodeId);
  },
  heal: nodeId => {
    cluster.bus.heal(nodeId);
  },
  dispose: () => cluster.close(),
});

describe('over Redis', () => {
  const server = withRedis();
  const services = new RedisServices(() => server.redis.port);
  sseServiceContract('what sseModule makes', {
    node: (nodeId, options) => services.node(nodeId, options),
    cut: nodeId => services.cut(nodeId),
    heal: nodeId => services.heal(nodeId),
    dispose: () => services.dispose(),
  });
});
