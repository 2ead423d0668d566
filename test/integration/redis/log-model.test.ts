import fc from 'fast-check';
import { useFakeTimers } from 'sinon';
import { amount } from '../../support/extent.js';
import { LogComparison, type LogStep } from '../../support/log/log-comparison.js';
import { RealLog } from '../../support/log/real-log.js';
import { META_MS } from '../../support/log/model-log.js';
import { withRedis } from '../../support/redis/with-redis.js';

// For a long run, as in MODEL_RUNS=4000.
const RUNS = Number(process.env['MODEL_RUNS'] ?? amount(60, 300));

const TOPICS = ['a', 'b', 'c'];

const is = <const T extends string>(name: T): fc.Arbitrary<T> => fc.constant(name);
const step = <T extends LogStep>(weight: number, arbitrary: fc.Arbitrary<T>) => ({
  weight,
  arbitrary: arbitrary as fc.Arbitrary<LogStep>,
});
const topic = fc.constantFrom(...TOPICS);
const run = fc.constantFrom('', 'run-0', 'run-1');
const near = fc.constantFrom(0, 0, 0, -1, 1);
const many = (length: number): string[] => Array.from({ length }, (_, n) => `t${n}`);

const steps = fc.oneof(
  step(
    10,
    fc.record({
      is: is('publish'),
      topic,
      keep: fc.constantFrom(100, 100, 1, 2, 3),
      key: fc.option(fc.constantFrom('k1', 'k2', 'k3'), { nil: undefined, freq: 3 }),
    }),
  ),
  step(
    8,
    fc.record({
      is: is('read'),
      // The last one has no entries.
      topics: fc.oneof(
        { weight: 12, arbitrary: fc.shuffledSubarray([...TOPICS, 'd'], { minLength: 1 }) },
        { weight: 1, arbitrary: fc.constantFrom(many(32), many(33)) },
      ),
      from: fc.oneof(
        { weight: 8, arbitrary: fc.record({ seen: fc.nat(40), ms: near, sequence: near }) },
        { weight: 1, arbitrary: fc.constantFrom('nowhere' as const, 'elsewhere' as const) },
      ),
      limit: fc.constantFrom(1, 2, 3, 5, 100),
      bytes: fc.constantFrom(1, 30, 100, 100_000),
    }),
  ),
  step(1, fc.record({ is: is('trim'), topic, keep: fc.nat(3) })),
  step(2, fc.record({ is: is('tick'), ms: fc.constantFrom(-5_000, 1, 1_000, META_MS / 2) })),
  step(1, fc.record({ is: is('master'), run })),
  step(1, fc.record({ is: is('remember') })),
  step(1, fc.record({ is: is('lose'), run })),
  step(1, fc.record({ is: is('flush') })),
);

describe('scripts of the log, against the model that its feed is tested with', function () {
  this.timeout(Math.max(240_000, RUNS * 100));
  const server = withRedis(['--stream-node-max-entries', '1']);

  it(`answer as it does in ${RUNS} random runs`, async () => {
    let answers = 0;
    const sequences = fc.array(steps, { minLength: 10, maxLength: 60, size: 'max' });
    await fc.assert(
      fc.asyncProperty(sequences, async sequence => {
        const clock = useFakeTimers({ now: 1_800_000_000_000, toFake: ['Date'] });
        const comparison = new LogComparison(await RealLog.in(server.redis.admin), clock);
        try {
          await comparison.start();
          for (const one of sequence) await comparison.do(one);
          await comparison.end(TOPICS);
        } finally {
          clock.restore();
        }
        answers += comparison.answers;
      }),
      { numRuns: RUNS },
    );
    console.log(`        ${answers} answers`);
  });
});
