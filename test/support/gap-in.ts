export { gapIn } from '../../src/testing/contracts/coordinator/steps.js';
