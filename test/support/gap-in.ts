export { gapIn } from '../../src/testing/contracts/cluster-coordinator.js';
