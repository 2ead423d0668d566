type Body = () => void | Promise<void>;

/**
 * The functions of a test runner that the contract suites use. Those of mocha and `node:test` fit as they are. Vitest names two of
 * them otherwise: `{ describe, it, beforeEach, afterEach, before: beforeAll, after: afterAll }`.
 */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => unknown;
  readonly it: (name: string, body: Body) => unknown;
  readonly before: (body: Body) => unknown;
  readonly after: (body: Body) => unknown;
  readonly beforeEach: (body: Body) => unknown;
  readonly afterEach: (body: Body) => unknown;
}
