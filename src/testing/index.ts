export { TestClient } from './client.js';
export {
  createTestCluster,
  type TestCluster,
  type TestClusterOptions,
  type TestConnectOptions,
  type TestNode,
} from './cluster.js';
export {
  type ClusterFactory,
  clusterCoordinatorContract,
  type ContractExtent,
} from './contracts/cluster-coordinator.js';
export { connectionSinkContract, type SinkClient, type SinkPair } from './contracts/connection-sink.js';
export { connectionStoreContract } from './contracts/connection-store.js';
export { resiliencePolicyContract } from './contracts/resilience-policy.js';
export type { TestRunner } from './contracts/runner.js';
