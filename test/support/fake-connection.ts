export { FakeConnection } from '../../src/testing/contracts/fake-connection.js';
