import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import { expect } from 'chai';
import {
  BrokenCircuitError,
  bulkhead,
  BulkheadRejectedError,
  circuitBreaker,
  ConsecutiveBreaker,
  handleAll,
  TaskCancelledError,
  timeout,
  TimeoutStrategy,
} from 'cockatiel';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { turns } from '../../support/turns.js';

// Why CockatielPolicy has a bulkhead, a time limit and a cooldown of its own. When one of these tests fails, cockatiel has
// learned what it lacked, and our own code can go.

/** A promise, and what resolves it. */
function pending(): { readonly promise: Promise<string>; resolve(value: string): void } {
  let resolve: (value: string) => void = () => undefined;
  const promise = new Promise<string>(resolved => {
    resolve = resolved;
  });
  return { promise, resolve };
}

const errorOf = (call: Promise<unknown>): Promise<unknown> =>
  call.then(
    () => undefined,
    (error: unknown) => error,
  );

describe("cockatiel's bulkhead", () => {
  it('lets a call that arrives as another one ends overtake a call that waits', async () => {
    const policy = bulkhead(1, 2);
    const begun: string[] = [];
    const answer = pending();
    const call = (name: string) =>
      policy.execute(() => {
        begun.push(name);
      });
    const running = policy.execute(() => answer.promise);
    const waiting = call('waiting');
    const newcomer = answer.promise.then(() => call('newcomer'));
    answer.resolve('done');
    await Promise.all([running, waiting, newcomer]);
    expect(begun).to.deep.equal(['newcomer', 'waiting']);
  });

  it('refuses a call that waited when newcomers fill the queue as its turn comes', async () => {
    const policy = bulkhead(1, 1);
    const answer = pending();
    const running = policy.execute(() => answer.promise);
    const waiting = errorOf(policy.execute(() => 'never runs'));
    const newcomers = answer.promise.then(() => Promise.all([policy.execute(() => 1), policy.execute(() => 2)]));
    answer.resolve('done');
    expect(await running).to.equal('done');
    expect(await newcomers).to.deep.equal([1, 2]);
    expect(await waiting).to.be.instanceOf(BulkheadRejectedError);
  });

  it('keeps a call whose caller gave up in the queue until its turn comes', async () => {
    const policy = bulkhead(1, 1);
    const answer = pending();
    const running = policy.execute(() => answer.promise);
    const caller = new AbortController();
    let settled = false;
    const waiting = errorOf(policy.execute(() => 'never runs', caller.signal)).finally(() => {
      settled = true;
    });
    caller.abort();
    await turnOfTheLoop();
    expect(settled).to.equal(false);
    expect(policy.queueSlots).to.equal(0);
    expect(await errorOf(policy.execute(() => 'has no room'))).to.be.instanceOf(BulkheadRejectedError);
    answer.resolve('done');
    await Promise.all([running, waiting]);
  });
});

describe("cockatiel's circuit breaker", () => {
  let clock: SinonFakeTimers;

  beforeEach(() => {
    clock = useFakeTimers({ toFake: ['Date'] });
  });
  afterEach(() => clock.restore());

  const opened = async () => {
    const policy = circuitBreaker(handleAll, {
      halfOpenAfter: 1000,
      breaker: new ConsecutiveBreaker(1),
    });
    await errorOf(policy.execute(() => Promise.reject(new Error('away'))));
    return policy;
  };

  it('makes calls wait for the one that tries after the cooldown', async () => {
    const policy = await opened();
    clock.tick(1000);
    const answer = pending();
    const trying = policy.execute(() => answer.promise);
    let settled = false;
    const other = policy
      .execute(() => 'after it')
      .finally(() => {
        settled = true;
      });
    await turnOfTheLoop();
    expect(settled).to.equal(false);
    answer.resolve('done');
    expect(await Promise.all([trying, other])).to.deep.equal(['done', 'after it']);
  });

  it('stays open for as long as the wall clock is set back', async () => {
    const policy = await opened();
    clock.setSystemTime(Date.now() - 3_600_000);
    clock.tick(1000);
    expect(await errorOf(policy.execute(() => 'well'))).to.be.instanceOf(BrokenCircuitError);
  });
});

describe("cockatiel's timeout", () => {
  for (const strategy of [TimeoutStrategy.Aggressive, TimeoutStrategy.Cooperative]) {
    it(`makes a signal for each call, also when the operation never reads it (${strategy})`, async () => {
      const Original = globalThis.AbortController;
      let created = 0;
      globalThis.AbortController = class extends Original {
        constructor() {
          super();
          created += 1;
        }
      };
      try {
        const policy = timeout(1000, strategy);
        await Promise.all([policy.execute(() => 1), policy.execute(() => 2)]);
      } finally {
        globalThis.AbortController = Original;
      }
      expect(created).to.equal(2);
    });
  }

  it('ends a call when its caller gives up, whatever its operation answers', async () => {
    const caller = new AbortController();
    const answer = pending();
    const call = errorOf(timeout(1000, TimeoutStrategy.Aggressive).execute(() => answer.promise, caller.signal));
    caller.abort();
    await turns();
    answer.resolve('done');
    expect(await call).to.be.instanceOf(TaskCancelledError);
  });

  it('goes on without end when the operation does not heed its signal (optimistic)', async () => {
    const clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const answer = pending();
      const call = timeout(1000, TimeoutStrategy.Cooperative).execute(() => answer.promise);
      await clock.tickAsync(60_000);
      answer.resolve('a minute later');
      expect(await call).to.equal('a minute later');
    } finally {
      clock.restore();
    }
  });
});
