import type { TestRunner } from '../../src/testing/contracts/runner.js';

/** Mocha, for the contract suites. */
export const MOCHA: TestRunner = { describe, it, before, after, beforeEach, afterEach };
