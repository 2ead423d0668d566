import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { PassthroughPolicy } from '../../../src/resilience/policies.js';

describe('PassthroughPolicy', () => {
  it('tries once, also retryable failures', async () => {
    let tries = 0;
    const failure = new SseError('UNAVAILABLE', 'not now');
    let error: unknown;
    try {
      await new PassthroughPolicy().execute('send', async () => {
        tries += 1;
        throw failure;
      });
    } catch (thrown) {
      error = thrown;
    }
    expect(error).to.equal(failure);
    expect(tries).to.equal(1);
  });

  it('reports why the caller aborted beforehand', async () => {
    const reason = new Error('the caller left');
    let error: unknown;
    try {
      await new PassthroughPolicy().execute('send', async () => 1, { signal: AbortSignal.abort(reason) });
    } catch (thrown) {
      error = thrown;
    }
    expect(SseError.is(error) && error.cause).to.equal(reason);
  });

  it('gives calls without a caller one signal each, so that none gathers listeners', async () => {
    const policy = new PassthroughPolicy();
    const signals = new Set<AbortSignal>();
    for (let call = 0; call < 3; call += 1) {
      await policy.execute('send', async ({ signal }) => signals.add(signal));
    }
    expect(signals.size).to.equal(3);
  });

  it('never opens a circuit', async () => {
    const policy = new PassthroughPolicy();
    for (let call = 0; call < 20; call += 1) {
      await policy.execute('send', async () => Promise.reject(new Error('no'))).catch(() => undefined);
    }
    expect(policy.circuit()).to.equal('closed');
  });
});
