import { expect } from 'chai';
import { SseError } from '../../../src/errors/sse-error.js';
import { withRetry } from '../../../src/redis/retry.js';

const alive = new AbortController().signal;
const away = () => new SseError('UNAVAILABLE', 'away');

describe('withRetry', () => {
  const failing = (failures: number, error: () => Error = away) => {
    const calls = { made: 0 };
    const call = async () => {
      calls.made += 1;
      if (calls.made <= failures) throw error();
      return 'done';
    };
    return { calls, call };
  };
  const codeOf = async (promise: Promise<unknown>) =>
    promise.then(
      () => 'none',
      (error: unknown) => (SseError.is(error) ? error.code : 'other'),
    );

  it('repeats until it succeeds', async () => {
    const { calls, call } = failing(3);
    expect(await withRetry({ count: 3, interval: 1 }, call, alive)).to.equal('done');
    expect(calls.made).to.equal(4);
  });

  it('gives up after so many further tries', async () => {
    const { calls, call } = failing(9);
    expect(await codeOf(withRetry({ count: 2, interval: 1 }, call, alive))).to.equal('UNAVAILABLE');
    expect(calls.made).to.equal(3);
  });

  it('does not repeat what a repetition cannot cure', async () => {
    for (const error of [() => new SseError('INTERNAL', 'no'), () => new Error('no')]) {
      const { calls, call } = failing(9, error);
      await codeOf(withRetry({ count: 2, interval: 1 }, call, alive));
      expect(calls.made).to.equal(1);
    }
  });

  it('makes the first try before it returns', () => {
    const { calls, call } = failing(0);
    void withRetry({ count: 2, interval: 1 }, call, alive);
    expect(calls.made).to.equal(1);
  });

  it('ends the waiting when aborted', async () => {
    const abort = new AbortController();
    const { calls, call } = failing(9);
    const result = codeOf(withRetry({ count: 9, interval: 600_000 }, call, abort.signal));
    await Promise.resolve();
    abort.abort();
    expect(await result).to.equal('UNAVAILABLE');
    expect(calls.made).to.equal(1);
  });
});
