import { expect } from 'chai';
import type { OperationKind, ResiliencePolicy } from '../../src/contracts/resilience-policy.js';
import { SseError } from '../../src/errors/sse-error.js';

const KINDS: readonly OperationKind[] = ['register', 'send', 'publish', 'maintenance'];

/** What every implementation of `ResiliencePolicy` does. A policy that retries must be made to do so quickly. */
export function resiliencePolicyContract(name: string, create: () => ResiliencePolicy): void {
  describe(`${name} as a ResiliencePolicy`, () => {
    let policy: ResiliencePolicy;

    beforeEach(() => {
      policy = create();
    });

    for (const kind of KINDS) {
      it(`passes the result of a ${kind} on as it is`, async () => {
        const result = { some: 'result' };
        expect(await policy.execute(kind, async () => result)).to.equal(result);
        expect(await policy.execute(kind, async () => null)).to.equal(null);
      });

      it(`has a closed circuit for ${kind} at first`, () => {
        expect(policy.circuit(kind)).to.equal('closed');
      });
    }

    it('passes a failure that is not worth another try on, after one try', async () => {
      for (const failure of [new SseError('CLOSED', 'closed'), new TypeError('no SseError')]) {
        let tries = 0;
        const operation = async (): Promise<never> => {
          tries += 1;
          throw failure;
        };
        expect(await rejectionOf(policy.execute('send', operation))).to.equal(failure);
        expect(tries).to.equal(1);
      }
    });

    it('rejects when the operation throws before it returns a promise', async () => {
      const failure = new SseError('INTERNAL', 'thrown');
      const operation = (): Promise<never> => {
        throw failure;
      };
      expect(await rejectionOf(policy.execute('send', operation))).to.equal(failure);
    });

    it('never makes a success of a failure that stays', async () => {
      const operation = async (): Promise<never> => {
        throw new SseError('UNAVAILABLE', 'still not');
      };
      const error = await rejectionOf(policy.execute('publish', operation));
      expect(SseError.is(error, 'UNAVAILABLE')).to.equal(true);
    });

    it('does not run an operation that was given up beforehand', async () => {
      let ran = false;
      const operation = async (): Promise<void> => {
        ran = true;
      };
      const error = await rejectionOf(policy.execute('send', operation, AbortSignal.abort('why')));
      expect(SseError.is(error, 'UNAVAILABLE')).to.equal(true);
      expect(ran).to.equal(false);
    });

    it('gives each operation a signal that nobody has aborted', async () => {
      const aborted = await policy.execute('send', async signal => signal.aborted);
      expect(aborted).to.equal(false);
    });

    it("aborts the operation's signal when the caller gives up", async () => {
      const caller = new AbortController();
      const execution = policy.execute(
        'send',
        signal =>
          new Promise<string>(resolve => {
            signal.addEventListener('abort', () => resolve('told'));
            caller.abort();
          }),
        caller.signal,
      );
      // It may pass the answer on or give up at once; it does not hang.
      const outcome = await execution.catch((error: unknown) => error);
      expect(outcome === 'told' || SseError.is(outcome, 'UNAVAILABLE')).to.equal(true);
    });

    it('keeps calls apart that run at once', async () => {
      const calls = Array.from({ length: 20 }, (_, n) =>
        policy.execute(KINDS[n % 4] ?? 'send', async () => {
          await Promise.resolve();
          if (n % 5 === 0) throw new SseError('CLOSED', `${n}`);
          return n;
        }),
      );
      const results = await Promise.allSettled(calls);
      expect(
        results.map(result => (result.status === 'fulfilled' ? result.value : -1)),
      ).to.deep.equal(Array.from({ length: 20 }, (_, n) => (n % 5 === 0 ? -1 : n)));
    });
  });
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('it resolved');
}
