/**
 * How much of each test's work is done. `npm test` and `npm run test:e2e` do what shows that a rule holds; `npm run test:all` does all of it: more
 * runs of the models, more connections, every topology.
 */
export const WHOLE = process.env['TEST_EXTENT'] === 'whole';

/** An amount of work: the first usually, the second in `npm run test:all`. */
export function amount(usual: number, whole: number): number {
  return WHOLE ? whole : usual;
}
