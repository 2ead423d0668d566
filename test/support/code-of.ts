export { codeOf, failureOf } from '../../src/testing/contracts/code-of.js';
