import { MemoryBus } from '../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../src/cluster/memory/coordinator.js';
import { clusterCoordinatorContract } from '../../src/testing/contracts/cluster-coordinator.js';
import { MOCHA } from '../support/runner.js';

const bus = new MemoryBus();

clusterCoordinatorContract(MOCHA, 'LocalCoordinator', {
  async node(nodeId) {
    return new LocalCoordinator(nodeId, { takeoverLimit: 5, takeoverWindow: 30_000 }, bus);
  },
  cut: nodeId => {
    bus.cut(nodeId);
  },
  heal: nodeId => {
    bus.heal(nodeId);
  },
});
