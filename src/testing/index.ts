export { TestClient } from './client.js';
export {
  createTestCluster,
  type TestCluster,
  type TestClusterOptions,
  type TestConnectOptions,
  type TestNode,
} from './cluster.js';
