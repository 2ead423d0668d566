import { MemoryBus } from '../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../src/cluster/memory/coordinator.js';
import { clusterCoordinatorContract } from './cluster-coordinator.contract.js';

let bus = new MemoryBus();
let nodes: LocalCoordinator[] = [];

clusterCoordinatorContract('LocalCoordinator', {
  async node(nodeId) {
    const limit = { takeoverLimit: 5, takeoverWindow: 30_000 };
    const node = new LocalCoordinator(nodeId, limit, bus);
    nodes.push(node);
    return node;
  },
  cut: nodeId => {
    bus.cut(nodeId);
  },
  heal: nodeId => {
    bus.heal(nodeId);
  },
  async dispose() {
    await Promise.all(nodes.map(node => node.close()));
    nodes = [];
    bus = new MemoryBus();
  },
});
