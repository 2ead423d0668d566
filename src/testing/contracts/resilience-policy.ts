import { AsyncLocalStorage } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import type { OperationContext, OperationKind, ResiliencePolicy } from '../../contracts/policy.js';
import { SseError } from '../../errors.js';
import { expect } from './expect.js';
import type { TestRunner } from './runner.js';

const KINDS: readonly OperationKind[] = ['register', 'send', 'publish', 'command', 'maintenance'];

/** What every implementation of `ResiliencePolicy` does. A policy that retries must be made to do so quickly. */
export function resiliencePolicyContract(runner: TestRunner, name: string, create: () => ResiliencePolicy): void {
  const { describe, it, beforeEach } = runner;
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

    it('passes an error on as a result when it is one', async () => {
      const result = new SseError('UNAVAILABLE', 'no failure, but a value');
      expect(await policy.execute('send', async () => result)).to.equal(result);
    });

    describe('a failure', () => {
      const untouched: Readonly<Record<string, unknown>> = {
        'that is not worth another try': new SseError('CLOSED', 'closed'),
        'that says of itself that it must not be repeated': new SseError('UNAVAILABLE', 'sent', { retryable: false }),
        'that is no SseError': new TypeError('no SseError'),
        'that only looks retryable': Object.assign(new Error('not ours'), { retryable: true }),
        'that is no error': 'text',
        'that is nothing': undefined,
      };

      for (const [what, failure] of Object.entries(untouched)) {
        it(`${what} is passed on as it is, after one try`, async () => {
          let tries = 0;
          const operation = async (): Promise<never> => {
            tries += 1;
            throw failure;
          };
          expect(await rejectionOf(policy.execute('send', operation))).to.equal(failure);
          expect(tries).to.equal(1);
        });
      }

      it('thrown before there is a promise is passed on as well', async () => {
        const failure = new SseError('INTERNAL', 'thrown');
        const operation = (): Promise<never> => {
          throw failure;
        };
        expect(await rejectionOf(policy.execute('send', operation))).to.equal(failure);
      });

      it('that stays never becomes a success', async () => {
        const operation = async (): Promise<never> => {
          throw new SseError('UNAVAILABLE', 'still not');
        };
        const error = await rejectionOf(policy.execute('publish', operation));
        expect(SseError.is(error, 'UNAVAILABLE')).to.equal(true);
      });

      it('of one call does not affect calls that run at the same time', async () => {
        const calls = Array.from({ length: 20 }, (_, n) =>
          policy.execute(KINDS[n % 4] ?? 'send', async () => {
            await Promise.resolve();
            if (n % 5 === 0) throw new SseError('CLOSED', `${n}`);
            return n;
          }),
        );
        const results = await Promise.allSettled(calls);
        expect(results.map(result => (result.status === 'fulfilled' ? result.value : -1))).to.deep.equal(
          Array.from({ length: 20 }, (_, n) => (n % 5 === 0 ? -1 : n)),
        );
      });
    });

    describe('the order', () => {
      it('is that of the calls, and each operation begins before execute returns', async () => {
        const begun: number[] = [];
        const calls = Array.from({ length: 10 }, (_, n) => {
          const call = policy.execute('send', async () => {
            begun.push(n);
            await Promise.resolve();
          });
          expect(begun).to.have.length(n + 1);
          return call;
        });
        await Promise.all(calls);
        expect(begun).to.deep.equal(Array.from({ length: 10 }, (_, n) => n));
      });

      it('is that of the calls after others have failed', async () => {
        const begun: string[] = [];
        const fail = policy.execute('send', async () => {
          begun.push('fails');
          throw new SseError('CLOSED', 'closed');
        });
        const works = policy.execute('send', async () => {
          begun.push('works');
        });
        await Promise.allSettled([fail, works]);
        expect(begun).to.deep.equal(['fails', 'works']);
      });
    });

    describe('a caller', () => {
      it('that aborted beforehand runs nothing, and gets the reason', async () => {
        let ran = false;
        const operation = async (): Promise<void> => {
          ran = true;
        };
        const reason = new Error('left');
        const error = await rejectionOf(policy.execute('send', operation, { signal: AbortSignal.abort(reason) }));
        expect(SseError.is(error, 'UNAVAILABLE') && error.cause).to.equal(reason);
        expect(ran).to.equal(false);
      });

      it('that gives up meanwhile aborts the signal of the operation, whose result is the result of the call', async () => {
        const caller = new AbortController();
        const reason = new Error('left');
        const answer = await policy.execute(
          'send',
          ({ signal }) =>
            new Promise<unknown>(resolve => {
              signal.addEventListener('abort', () => resolve(signal.reason));
              caller.abort(reason);
            }),
          caller,
        );
        expect(answer).to.equal(reason);
      });

      it('that gives up during a try has no further one', async () => {
        const caller = new AbortController();
        let tries = 0;
        const failure = new SseError('UNAVAILABLE', 'not now');
        const operation = async (): Promise<never> => {
          tries += 1;
          caller.abort();
          throw failure;
        };
        expect(await rejectionOf(policy.execute('send', operation, caller))).to.equal(failure);
        expect(tries).to.equal(1);
      });

      it('keeps nothing of a call that is over', async () => {
        const caller = new AbortController();
        const asking = async (context: OperationContext): Promise<boolean> => context.signal.aborted;
        await policy.execute('send', asking, caller);
        await rejectionOf(
          policy.execute(
            'send',
            async context => {
              await asking(context);
              throw new SseError('CLOSED', 'closed');
            },
            caller,
          ),
        );
        expect(getEventListeners(caller.signal, 'abort')).to.deep.equal([]);
      });
    });

    it('runs each operation in the asynchronous context of its caller', async () => {
      const storage = new AsyncLocalStorage<number>();
      const seen = await Promise.all(
        [1, 2, 3].map(n =>
          storage.run(n, () =>
            policy.execute('send', async () => {
              await Promise.resolve();
              return storage.getStore();
            }),
          ),
        ),
      );
      expect(seen).to.deep.equal([1, 2, 3]);
    });

    describe("an operation's signal", () => {
      it('read when the call has ended keeps no listener on the signal of the caller', async () => {
        const caller = new AbortController();
        const context = await policy.execute('send', async given => given, caller);
        expect(context.signal.aborted).to.equal(false);
        expect(getEventListeners(caller.signal, 'abort')).to.deep.equal([]);
      });

      it('does not abort while all is well', async () => {
        expect(await policy.execute('send', async ({ signal }) => signal.aborted)).to.equal(false);
      });

      it('is one, however often it is asked for', async () => {
        const same = async (context: OperationContext): Promise<boolean> => context.signal === context.signal;
        expect(await policy.execute('send', same)).to.equal(true);
      });

      it('stays as it was after a success', async () => {
        const signal = await policy.execute('send', async context => context.signal);
        expect(signal.aborted).to.equal(false);
      });

      it('read after the caller gave up is aborted', async () => {
        const caller = new AbortController();
        const aborted = await policy.execute(
          'send',
          async context => {
            caller.abort();
            return context.signal.aborted;
          },
          caller,
        );
        expect(aborted).to.equal(true);
      });
    });
  });
}

async function rejectionOf(promise: Promise<unknown>): Promise<unknown> {
  let error: unknown;
  const rejected = await promise.then(
    () => false,
    (reason: unknown) => {
      error = reason;
      return true;
    },
  );
  if (!rejected) throw new Error('it resolved');
  return error;
}
