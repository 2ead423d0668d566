export { codeOf, failureOf } from '../../src/testing/contracts/expect.js';
