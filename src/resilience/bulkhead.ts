import { AsyncResource } from 'node:async_hooks';
import type { OperationContext } from '../contracts/policy.js';
import { SseError } from '../errors.js';

/**
 * Lets so many calls run at once and so many more wait, first come, first served: no call overtakes one that waits.
 *
 * Not cockatiel's bulkhead: a call that arrives while a waiting call gets its turn overtakes the waiting one, which may
 * even be refused then. See `cockatiel's bulkhead` in test/unit/resilience/cockatiel.test.ts.
 */
export class Bulkhead {
  #running = 0;
  /** What lets each waiting call begin. */
  readonly #queue: (() => void)[] = [];

  constructor(
    private readonly concurrency: number,
    private readonly maxWaiting: number,
  ) {}

  get running(): number {
    return this.#running;
  }

  get waiting(): number {
    return this.#queue.length;
  }

  /** Whether a call may run now. If so, it must {@link leave} when it has ended. */
  enter(): boolean {
    if (this.#running >= this.concurrency) return false;
    this.#running += 1;
    return true;
  }

  /**
   * Queues a call that could not enter. `begin` is called once when it may run, and it must {@link leave} when it has ended.
   * Returns what takes the call out of the queue, or `undefined` when the queue is full.
   */
  wait(begin: () => void): (() => void) | undefined {
    if (this.#queue.length >= this.maxWaiting) return undefined;
    this.#queue.push(begin);
    return () => {
      const index = this.#queue.indexOf(begin);
      if (index >= 0) this.#queue.splice(index, 1);
    };
  }

  /**
   * Queues a call that could not enter, and runs it in its turn, in the asynchronous context of its caller. `run` must
   * {@link leave}. Leaves the queue at once when the caller gives up.
   * @param refusal the error when the queue is full (`queue`), or the wait longer than `maxWaitMs` (`turn`)
   * @throws SseError the refusal, or `UNAVAILABLE` when the caller gives up
   */
  waitAndRun<T>(
    run: () => Promise<T>,
    maxWaitMs: number,
    caller: OperationContext | undefined,
    refusal: (reason: 'queue' | 'turn') => SseError,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // The call that ends calls `begin`, in a context of its own.
      const begin = AsyncResource.bind((): void => {
        stopWaiting();
        resolve(run());
      });
      const leaveQueue = this.wait(begin);
      if (leaveQueue === undefined) {
        reject(refusal('queue'));
        return;
      }
      const giveUp = (error: SseError): void => {
        leaveQueue();
        stopWaiting();
        reject(error);
      };
      const timer = setTimeout(() => giveUp(refusal('turn')), maxWaitMs);
      const signal = caller?.signal;
      const onAbort = (): void => giveUp(givenUp(caller));
      signal?.addEventListener('abort', onAbort);
      const stopWaiting = (): void => {
        clearTimeout(timer);
        signal?.removeEventListener('abort', onAbort);
      };
    });
  }

  /** A call has ended. The next call in the queue begins at once. */
  leave(): void {
    const begin = this.#queue.shift();
    if (begin === undefined) this.#running -= 1;
    else begin();
  }
}

/** Whether the caller of a call has given it up, without making a signal for the question. */
export function isGivenUp(caller: OperationContext | undefined): boolean {
  return caller !== undefined && (caller.aborted ?? caller.signal.aborted);
}

/** The error of a call that its caller gave up before it could run. */
export function givenUp(caller: OperationContext | undefined): SseError {
  return new SseError('UNAVAILABLE', 'its caller gave the call up before it could run', {
    cause: caller?.signal.reason,
  });
}
