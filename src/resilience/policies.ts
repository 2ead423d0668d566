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
import { Bulkhead, givenUp, isGivenUp } from './bulkhead.js';

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
 * Every refusal is an SseError `UNAVAILABLE` that names the limit. A call costs about a microsecond while all is well.
 */
export class CockatielPolicy implements ResiliencePolicy {
  readonly #guards = new Map<OperationKind, OperationGuard>();

  /** @param observer learns of retries, circuit changes and refusals */
  constructor(
    private readonly settings: CockatielPolicySettings,
    private readonly observer: ResilienceObserver = {},
  ) {}

  execute<T>(kind: OperationKind, operation: Operation<T>, caller?: OperationContext): Promise<T> {
    return this.#guard(kind).execute(operation, caller);
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
  /** Counts the failures in a row for the breaker. */
  readonly #failures: ConsecutiveBreaker;
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
    this.#failures = new ConsecutiveBreaker(limits.breakerFailures);
    this.#breaker = this.#createBreaker();
    this.#retry = this.#createRetry();
  }

  /** `half-open` as soon as a call may try. */
  get circuit(): CircuitState {
    const state = STATES[this.#breaker.state];
    return state === 'open' && this.#cooledDown ? 'half-open' : state;
  }

  execute<T>(operation: Operation<T>, caller: OperationContext | undefined): Promise<T> {
    if (isGivenUp(caller)) return Promise.reject(givenUp(caller));
    // Asked before the call waits for its turn, so that an outage does not fill the queue.
    if (!this.#admits) return Promise.reject(this.#refusal('circuit'));
    if (this.#bulkhead.enter()) return this.#run(operation, caller);
    const run = (): Promise<T> => this.#run(operation, caller);
    return this.#bulkhead.waitAndRun(run, this.limits.timeout, caller, reason => this.#refusal(reason));
  }

  async #run<T>(operation: Operation<T>, caller: OperationContext | undefined): Promise<T> {
    const context = new CallContext(caller);
    try {
      if (this.#breaker.state !== BreakerState.Closed) return await this.#guarded(operation, context);
      const first = await this.#first(operation, context);
      return 'value' in first ? first.value : await this.#guarded(operation, context, first);
    } finally {
      context.end();
      this.#bulkhead.leave();
    }
  }

  /**
   * The first try of a call while the circuit is closed. cockatiel learns of it only when it fails: its promises would cost
   * more than all the rest of a call that succeeds.
   */
  async #first<T>(operation: Operation<T>, context: CallContext): Promise<{ readonly value: T } | Failed> {
    try {
      const value = await this.#try(operation, context);
      this.#failures.success();
      return { value };
    } catch (error) {
      return { error };
    }
  }

  /** A call as cockatiel guards it. @param failed its first try, where that was made */
  async #guarded<T>(operation: Operation<T>, context: CallContext, failed?: Failed): Promise<T> {
    const { caller } = context;
    let known = failed;
    let failure = failed;
    const next = async (): Promise<T> => {
      try {
        return await this.#try(operation, context);
      } catch (error) {
        failure = { error };
        throw error;
      }
    };
    const attempt = (): Promise<T> => {
      if (known !== undefined) {
        const { error } = known;
        known = undefined;
        return this.#fail(error);
      }
      if (isGivenUp(caller)) throw givenUp(caller);
      // The breaker would make this call wait for the call that tries, see "cockatiel's circuit breaker".
      if (!this.#admits) throw new BrokenCircuitError();
      return this.#breaker.execute(next);
    };
    try {
      return await this.#retry.execute(attempt, context.signal);
    } catch (error) {
      if (!isBrokenCircuitError(error)) throw error;
      // When the circuit opened before a repetition, the failure of the try before it says more.
      throw failure === undefined ? this.#refusal('circuit') : failure.error;
    }
  }

  /** Rejects with the failure of a try, and lets the breaker count it, unless the circuit opened during that try. */
  async #fail(error: unknown): Promise<never> {
    if (this.#breaker.state !== BreakerState.Closed) throw error;
    return this.#breaker.execute<never>(() => {
      throw error;
    });
  }

  /**
   * One try, with a bound on its time. cockatiel's timeout makes an AbortController for each try, which takes 11 µs where
   * a whole call takes 2; and it ends the try when the caller's signal aborts, see "cockatiel's timeout".
   */
  #try<T>(operation: Operation<T>, context: CallContext): Promise<T> {
    return withTimeout(operation(context), this.limits.timeout, () => {
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
      breaker: this.#failures,
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

/** A try that failed. */
interface Failed {
  readonly error: unknown;
}

/** Runs every operation once and limits nothing. For a process alone, which has no cluster to call, and for tests. */
export class PassthroughPolicy implements ResiliencePolicy {
  execute<T>(_kind: OperationKind, operation: Operation<T>, caller?: OperationContext): Promise<T> {
    if (isGivenUp(caller)) return Promise.reject(givenUp(caller));
    try {
      return operation(caller ?? new CallContext(undefined));
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
}

/** One call of a policy. The signal of its operation is created when the operation reads it. */
class CallContext implements OperationContext {
  #controller: AbortController | undefined;
  #gaveUp: { readonly reason: unknown } | undefined;
  #ended = false;
  #onAbort: (() => void) | undefined;

  constructor(readonly caller: OperationContext | undefined) {}

  get signal(): AbortSignal {
    this.#controller ??= this.#begin();
    return this.#controller.signal;
  }

  get aborted(): boolean {
    return this.#gaveUp !== undefined || isGivenUp(this.caller);
  }

  /** The policy or the caller gives up on the operation: its signal aborts with this reason. */
  giveUp(reason: unknown): void {
    this.#gaveUp ??= { reason };
    this.#controller?.abort(reason);
  }

  /** The call has ended; no listener stays on the caller's signal. */
  end(): void {
    this.#ended = true;
    if (this.#onAbort !== undefined) this.caller?.signal.removeEventListener('abort', this.#onAbort);
  }

  #begin(): AbortController {
    const controller = new AbortController();
    if (this.#gaveUp !== undefined) {
      controller.abort(this.#gaveUp.reason);
      return controller;
    }
    const signal = this.caller?.signal;
    if (signal?.aborted === true) controller.abort(signal.reason);
    else if (!this.#ended) {
      this.#onAbort = () => this.giveUp(signal?.reason);
      signal?.addEventListener('abort', this.#onAbort);
    }
    return controller;
  }
}
