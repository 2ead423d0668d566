export { TestClient } from './client.js';
export {
  createTestCluster,
  type TestCluster,
  type TestClusterOptions,
  type TestConnectOptions,
  type TestNode,
} from './cluster.js';
export { clusterCoordinatorContract } from './contracts/cluster-coordinator.js';
export type { ClusterFactory, ContractExtent } from './contracts/coordinator/ground.js';
export { connectionSinkContract, type SinkClient, type SinkPair } from './contracts/connection-sink.js';
export { connectionStoreContract } from './contracts/connection-store.js';
export { resiliencePolicyContract } from './contracts/resilience-policy.js';
export type { TestRunner } from './contracts/runner.js';
