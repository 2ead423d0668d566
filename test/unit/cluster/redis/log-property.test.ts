import fc from 'fast-check';
import { fake, useFakeTimers } from 'sinon';
import { amount } from '../../../support/extent.js';
import { LogRun, TOPICS, type Step } from '../../../support/log/log-run.js';

const RUNS = Number(process.env['LOG_RUNS'] ?? amount(80, 300));

const nat = (max: number) => fc.nat({ max });
const step = <T extends Step>(weight: number, arbitrary: fc.Arbitrary<T>) => ({
  weight,
  arbitrary: arbitrary as fc.Arbitrary<Step>,
});
const is = <const T extends string>(name: T): fc.Arbitrary<T> => fc.constant(name);

/** Anything that can happen, as often as it takes for the rare things to meet. */
const steps = fc.oneof(
  step(8, fc.record({ is: is('publish'), topic: nat(TOPICS.length - 1) })),
  step(5, fc.record({ is: is('join'), client: nat(3), node: nat(1), id: nat(12) })),
  step(2, fc.record({ is: is('leave'), client: nat(3) })),
  step(2, fc.record({ is: is('break'), node: nat(1) })),
  step(1, fc.record({ is: is('trim'), topic: nat(TOPICS.length - 1), keep: nat(3) })),
  step(1, fc.record({ is: is('flush') })),
  step(1, fc.record({ is: is('lose'), writes: nat(4) })),
  step(5, fc.record({ is: is('carry out'), node: nat(1) })),
  step(5, fc.record({ is: is('deliver'), node: nat(1), count: fc.integer({ min: 1, max: 4 }) })),
  step(5, fc.record({ is: is('execute'), call: nat(3) })),
  step(5, fc.record({ is: is('answer'), call: nat(3), fail: fc.boolean() })),
  step(2, fc.record({ is: is('tick'), ms: fc.constantFrom(1, 60, 500, 5_000, 30_000) })),
  step(2, fc.record({ is: is('settle') })),
);
const topics = fc.subarray([...TOPICS], { minLength: 1 });

describe('feed and client', () => {
  it(`miss nothing silently and get nothing twice, whatever happens in which order (${RUNS} runs)`, async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(topics, { minLength: 2, maxLength: 4 }),
        fc.boolean(),
        fc.array(steps, { minLength: 20, maxLength: 120, size: 'max' }),
        async (clients, runIds, happenings) => {
          const clock = useFakeTimers({
            now: 1_800_000_000_000,
            toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
          });
          const { random } = Math;
          Math.random = fake.returns(0.5);
          const run = new LogRun(clients, clock, runIds);
          try {
            await run.start();
            for (const happening of happenings) await run.do(happening);
            const fault = await run.fault();
            if (fault !== undefined) throw new Error(fault);
          } finally {
            run.stop();
            Math.random = random;
            clock.restore();
          }
        },
      ),
      { numRuns: RUNS, endOnFailure: process.env['LOG_SHRINK'] === '0' },
    );
  }).timeout(90_000);
});
