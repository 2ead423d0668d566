import { AsyncResource } from 'node:async_hooks';
import {
  BrokenCircuitError,
  circuitBreaker,
  type CircuitBreakerPolicy,
  CircuitState as BreakerState,
  ConsecutiveBreaker,
  DelegateBackoff,
  handleWhen,
  isBrokenCircuitError,
  retry,
  type RetryPolicy,
} from 'cockatiel';
import type {
  CircuitState,
  OperationContext,
  OperationKind,
  RefusalReason,
  ResilienceObserver,
  ResiliencePolicy,
} from '../contracts/policy.js';
import { SseError } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { LONGEST_MS, withTimeout } from '../time.js';

/** The settings that the policy reads. */
export type CockatielPolicySettings = Pick<ResolvedSseOptions, 'resilience'>;

/**
 * Limits each kind of operation by itself, as `resilience.<kind>` says. A call passes these limits in this order:
 * - at most `concurrency` calls run and `queue` wait, each for at most `timeout` milliseconds;
 * - a call that fails with a retryable error is repeated up to `retries` times, after `retryPause` milliseconds give or
 *   take half;
 * - after `breakerFailures` failures with `UNAVAILABLE` in a row, refusals of a cluster that answers left out, calls fail at once for `breakerCooldown` milliseconds;
 * - each try ends after `timeout` milliseconds. It counts as a failure and is not repeated, since the cluster may carry it
 *   out all the same.
 *
 * Every refusal is an SseError `UNAVAILABLE` that names the limit. A call costs about two microseconds while all is well.
 */
export class CockatielPolicy implements ResiliencePolicy {
  readonly #guards = new Map<OperationKind, OperationGuard>();

  /** @param observer learns of retries, circuit changes and refusals */
  constructor(
    private readonly settings: CockatielPolicySettings,
    private readonly observer: ResilienceObserver = {},
  ) {}

  execute<T>(kind: OperationKind, operation: Operation<T>, signal?: AbortSignal): Promise<T> {
    return this.#guard(kind).execute(operation, signal);
  }

  circuit(kind: OperationKind): CircuitState {
    return this.#guard(kind).circuit;
  }

  #guard(kind: OperationKind): OperationGuard {
    const present = this.#guards.get(kind);
    if (present !== undefined) return present;
    const guard = new OperationGuard(kind, this.settings.resilience[kind], this.observer);
    this.#guards.set(kind, guard);
    return guard;
  }
}

type Operation<T> = (context: OperationContext) => Promise<T>;
type Limits = ResolvedSseOptions['resilience'][OperationKind];

/**
 * The limits of one kind of operation. The retry and the circuit breaker are cockatiel's. The tests named "cockatiel's …"
 * in test/unit/resilience/cockatiel.test.ts show why the other limits are not. The retry calls the breaker directly:
 * cockatiel's `wrap` copies the context for each policy, and makes a call 15 % slower (2.36 instead of 2.06 µs).
 */
class OperationGuard {
  readonly #bulkhead: Bulkhead;
  readonly #breaker: CircuitBreakerPolicy;
  readonly #retry: RetryPolicy;
  /** By the monotonic clock: a wall clock that is set back would hold the circuit open. */
  #openedAt = 0;

  constructor(
    private readonly kind: OperationKind,
    private readonly limits: Limits,
    private readonly observer: ResilienceObserver,
  ) {
    this.#bulkhead = new Bulkhead(limits.concurrency, limits.queue);
    this.#breaker = this.#createBreaker();
    this.#retry = this.#createRetry();
  }

  /** `half-open` as soon as a call may try. */
  get circuit(): CircuitState {
    const state = STATES[this.#breaker.state];
    return state === 'open' && this.#cooledDown ? 'half-open' : state;
  }

  async execute<T>(operation: Operation<T>, signal: AbortSignal | undefined): Promise<T> {
    if (signal?.aborted === true) throw givenUp(signal);
    // Asked before the call waits for its turn, so that an outage does not fill the queue.
    if (!this.#admits) throw this.#refusal('circuit');
    if (this.#bulkhead.enter()) return this.#run(operation, signal);
    const run = (): Promise<T> => this.#run(operation, signal);
    return this.#bulkhead.waitAndRun(run, this.limits.timeout, signal, reason => this.#refusal(reason));
  }

  async #run<T>(operation: Operation<T>, signal: AbortSignal | undefined): Promise<T> {
    const context = new CallContext(signal);
    const attempt = (): Promise<T> => {
      if (signal?.aborted === true) throw givenUp(signal);
      // The breaker would make this call wait for the call that tries, see "cockatiel's circuit breaker".
      if (!this.#admits) throw new BrokenCircuitError();
      return this.#breaker.execute(() => this.#try(operation, context));
    };
    try {
      return await this.#retry.execute(attempt, signal);
    } catch (error) {
      // When the circuit opened before a repetition, the failure of the try before it says more.
      throw isBrokenCircuitError(error) ? (context.failure ?? this.#refusal('circuit')) : error;
    } finally {
      context.end();
      this.#bulkhead.leave();
    }
  }

  /**
   * One try, with a bound on its time. cockatiel's timeout makes an AbortController for each try, which takes 11 µs where
   * a whole call takes 2; and it ends the try when the caller's signal aborts, see "cockatiel's timeout".
   */
  #try<T>(operation: Operation<T>, context: CallContext): Promise<T> {
    const running = operation(context).catch((error: unknown) => {
      context.failure = error;
      throw error;
    });
    return withTimeout(running, this.limits.timeout, () => {
      const error = this.#refusal('timeout');
      context.giveUp(error);
      throw error;
    });
  }

  #createRetry(): RetryPolicy {
    const { kind, limits, observer } = this;
    // Nodes that failed together must not try again together.
    const backoff = new DelegateBackoff(() => Math.min(limits.retryPause * (0.5 + Math.random()), LONGEST_MS));
    const policy = retry(handleWhen(isRetryable), { maxAttempts: limits.retries, backoff });
    policy.onRetry(event => {
      if ('error' in event) observer.onRetry?.(kind, event.attempt, event.error);
    });
    return policy;
  }

  #createBreaker(): CircuitBreakerPolicy {
    const breaker = circuitBreaker(handleWhen(isOutage), {
      // Always over: `#cooledDown` decides, since the breaker reads the wall clock.
      halfOpenAfter: -Infinity,
      breaker: new ConsecutiveBreaker(this.limits.breakerFailures),
    });
    breaker.onBreak(() => {
      this.#openedAt = performance.now();
    });
    breaker.onStateChange(state => this.observer.onCircuit?.(this.kind, STATES[state]));
    return breaker;
  }

  get #admits(): boolean {
    const { state } = this.#breaker;
    return state === BreakerState.Closed || (state === BreakerState.Open && this.#cooledDown);
  }

  get #cooledDown(): boolean {
    return performance.now() - this.#openedAt >= this.limits.breakerCooldown;
  }

  #refusal(reason: RefusalReason): SseError {
    this.observer.onRefused?.(this.kind, reason);
    const failure = reason === 'circuit' ? this.#breaker.lastFailure : undefined;
    const cause = failure !== undefined && 'error' in failure ? failure.error : undefined;
    return new SseError('UNAVAILABLE', this.#messageOf(reason), { cause, retryable: reason !== 'timeout' });
  }

  #messageOf(reason: RefusalReason): string {
    const { kind, limits } = this;
    const setting = (name: keyof Limits): string => `(resilience.${kind}.${name})`;
    const running = `${limits.concurrency} calls of kind ${kind} run ${setting('concurrency')}`;
    const timeout = `within ${limits.timeout} ms ${setting('timeout')}`;
    switch (reason) {
      case 'circuit': {
        const failures = `${limits.breakerFailures} in a row ${setting('breakerFailures')}`;
        const next = `see the cause, and call again after ${limits.breakerCooldown} ms ${setting('breakerCooldown')}`;
        return `calls of kind ${kind} fail at once, since the cluster failed ${failures}; ${next}`;
      }
      case 'queue':
        return `${running} and ${limits.queue} wait ${setting('queue')}; call less at once, or raise these limits`;
      case 'turn':
        return `a call of kind ${kind} must get its turn ${timeout}, and ${running}; call less at once, or raise these limits`;
      case 'timeout':
        return `a call of kind ${kind} must be answered ${timeout}; it may be carried out all the same, so look before you repeat it`;
    }
  }
}

function isRetryable(error: unknown): boolean {
  return SseError.is(error) && error.retryable && !SseError.isRefusal(error);
}

function isOutage(error: unknown): boolean {
  return SseError.is(error, 'UNAVAILABLE') && !SseError.isRefusal(error);
}

const STATES: Readonly<Record<BreakerState, CircuitState>> = {
  [BreakerState.Closed]: 'closed',
  [BreakerState.HalfOpen]: 'half-open',
  [BreakerState.Open]: 'open',
  [BreakerState.Isolated]: 'open',
};

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
   * {@link leave}. Leaves the queue at once when the caller's signal aborts.
   * @param refusal the error when the queue is full (`queue`), or the wait longer than `maxWaitMs` (`turn`)
   * @throws SseError the refusal, or `UNAVAILABLE` when the signal aborts
   */
  waitAndRun<T>(
    run: () => Promise<T>,
    maxWaitMs: number,
    signal: AbortSignal | undefined,
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
      const onAbort = (): void => giveUp(givenUp(signal));
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

/** Runs every operation once and limits nothing. For a process alone, which has no cluster to call, and for tests. */
export class PassthroughPolicy implements ResiliencePolicy {
  execute<T>(_kind: OperationKind, operation: Operation<T>, signal?: AbortSignal): Promise<T> {
    if (signal !== undefined) return this.#until(signal, operation);
    try {
      return operation(new CallContext(undefined));
    } catch (error) {
      // Thrown before there is a promise.
      return (async () => {
        throw error;
      })();
    }
  }

  circuit(): CircuitState {
    return 'closed';
  }

  async #until<T>(signal: AbortSignal, operation: Operation<T>): Promise<T> {
    if (signal.aborted) throw givenUp(signal);
    const context = new CallContext(signal);
    try {
      return await operation(context);
    } finally {
      context.end();
    }
  }
}

/** One call of a policy. The signal of its operation is created when the operation reads it. */
class CallContext implements OperationContext {
  /** The error of the last try. */
  failure: unknown;
  #controller: AbortController | undefined;
  #gaveUp: { readonly reason: unknown } | undefined;
  #ended = false;
  #onAbort: (() => void) | undefined;

  constructor(private readonly caller: AbortSignal | undefined) {}

  get signal(): AbortSignal {
    this.#controller ??= this.#begin();
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#gaveUp !== undefined || this.caller?.aborted === true;
  }

  /** The policy or the caller gives up on the operation: its signal aborts with this reason. */
  giveUp(reason: unknown): void {
    this.#gaveUp ??= { reason };
    this.#controller?.abort(reason);
  }

  /** The call has ended; no listener stays on the caller's signal. */
  end(): void {
    this.#ended = true;
    if (this.#onAbort !== undefined) this.caller?.removeEventListener('abort', this.#onAbort);
  }

  #begin(): AbortController {
    const controller = new AbortController();
    const { caller } = this;
    if (this.#gaveUp !== undefined) controller.abort(this.#gaveUp.reason);
    else if (caller?.aborted === true) controller.abort(caller.reason);
    else if (!this.#ended) {
      this.#onAbort = () => this.giveUp(caller?.reason);
      caller?.addEventListener('abort', this.#onAbort);
    }
    return controller;
  }
}

/** The error of a call whose caller's signal aborted before the call could run. */
function givenUp(caller: AbortSignal | undefined): SseError {
  return new SseError('UNAVAILABLE', 'its caller gave the call up before it could run', { cause: caller?.reason });
}
