import { TestCluster } from '../support/test-cluster.js';
import { sseServiceContract } from './sse-service.contract.js';

let cluster = new TestCluster();

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
  async dispose() {
    await cluster.close();
    cluster = new TestCluster();
  },
});
