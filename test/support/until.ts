export { reached, until } from '../../src/testing/contracts/until.js';
