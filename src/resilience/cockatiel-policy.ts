import { AsyncResource } from 'node:async_hooks';
import {
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
import type { OperationLimits } from '../options/sse-options.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { Bulkhead } from './bulkhead.js';
import { Circuit } from './circuit.js';
import { CallContext } from './passthrough-policy.js';

/** The groups of settings it works by. */
export type CockatielPolicySettings = Pick<
  ResolvedSseOptions,
  'resilience' | 'script' | 'atomicOperation' | 'reliability'
>;

/**
 * Bounds each kind of operation by itself, as `resilience.<kind>` says, and in this order: so many calls run at once and
 * so many wait for their turn; a call that fails with a retryable error is repeated after a pause; each try is timed;
 * and after so many failures in a row (`UNAVAILABLE`, and tries that took too long) calls fail at once for a while.
 *
 * Repeated as often, and after such pauses, as these settings say: `register` `atomicOperation.luaScriptRetry*`, `send`
 * and `publish` `script.retry*`, `maintenance` `reliability.cleanupRetry*` unless `reliability.enabled` is off. A try
 * that took too long is not repeated, since it may be carried out all the same.
 *
 * Every refusal is an SseError `UNAVAILABLE` that names the limit. Needs a few microseconds per call while all is well.
 */
export class CockatielPolicy implements ResiliencePolicy {
  readonly #guards: Readonly<Record<OperationKind, OperationGuard>>;

  /** @param observer is told of retries, circuits and refusals */
  constructor(settings: CockatielPolicySettings, observer: ResilienceObserver = {}) {
    const guard = (kind: OperationKind, retries: Retries): OperationGuard =>
      new OperationGuard(kind, settings.resilience[kind], retries, observer);
    const { script, atomicOperation, reliability } = settings;
    const scripts = { count: script.retryCount, interval: script.retryInterval };
    this.#guards = {
      register: guard('register', {
        count: atomicOperation.luaScriptRetryCount,
        interval: atomicOperation.luaScriptRetryInterval,
      }),
      send: guard('send', scripts),
      publish: guard('publish', scripts),
      maintenance: guard('maintenance', {
        count: reliability.enabled ? reliability.cleanupRetryCount : 0,
        interval: reliability.cleanupRetryInterval,
      }),
    };
  }

  execute<T>(
    kind: OperationKind,
    operation: (context: OperationContext) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    return this.#guards[kind].execute(operation, signal);
  }

  circuit(kind: OperationKind): CircuitState {
    return this.#guards[kind].circuit;
  }
}

/** Further tries of a call that failed. */
interface Retries {
  /** 0: none. */
  readonly count: number;
  /** Milliseconds before each, give or take half. */
  readonly interval: number;
}

type Operation<T> = (context: OperationContext) => Promise<T>;

/**
 * Guards the operations of one kind: a call waits for its turn, is tried, timed and repeated, and all of them together
 * are stopped for a while when the cluster cannot be reached.
 */
class OperationGuard {
  readonly #bulkhead: Bulkhead;
  readonly #circuit: Circuit;
  readonly #retry: RetryPolicy;

  constructor(
    private readonly kind: OperationKind,
    private readonly limits: OperationLimits,
    { count, interval }: Retries,
    private readonly observer: ResilienceObserver,
  ) {
    this.#bulkhead = new Bulkhead(limits.concurrency, limits.queue);
    this.#circuit = new Circuit(limits, state => observer.onCircuit?.(kind, state));
    // Nodes that failed together must not try again together.
    const pause = new DelegateBackoff(() => interval * (0.5 + Math.random()));
    this.#retry = retry(handleWhen(isRetryable), { maxAttempts: count, backoff: pause });
    this.#retry.onRetry(event => {
      if ('error' in event) observer.onRetry?.(kind, event.attempt, event.error);
    });
  }

  get circuit(): CircuitState {
    return this.#circuit.state;
  }

  async execute<T>(operation: Operation<T>, signal: AbortSignal | undefined): Promise<T> {
    const context = new CallContext(signal);
    context.assertWanted();
    // Before it lines up, so that an outage does not fill the line.
    if (!this.#circuit.admits) throw this.#refusal('circuit');
    return this.#bulkhead.enter()
      ? this.#run(operation, context)
      : this.#lineUp(operation, context);
  }

  #lineUp<T>(operation: Operation<T>, context: CallContext): Promise<T> {
    const { caller } = context;
    return new Promise<T>((resolve, reject) => {
      // Whoever leaves begins it, but it belongs to the trace of its own caller.
      const begin = AsyncResource.bind((): void => {
        stopWaiting();
        resolve(this.#run(operation, context));
      });
      const leave = this.#bulkhead.lineUp({ begin });
      if (leave === undefined) {
        reject(this.#refusal('queue'));
        return;
      }
      const giveUp = (error: SseError): void => {
        leave();
        stopWaiting();
        reject(error);
      };
      const timer = setTimeout(() => giveUp(this.#refusal('turn')), this.limits.timeout);
      const onAbort = (): void => giveUp(context.unwanted());
      caller?.addEventListener('abort', onAbort);
      const stopWaiting = (): void => {
        clearTimeout(timer);
        caller?.removeEventListener('abort', onAbort);
      };
    });
  }

  async #run<T>(operation: Operation<T>, context: CallContext): Promise<T> {
    const attempt = (): Promise<T> => {
      context.assertWanted();
      return this.#circuit.execute(() => this.#timed(operation, context));
    };
    try {
      return await this.#retry.execute(attempt, context.caller);
    } catch (error) {
      // Of a call that met an open circuit with its second try, the first says more.
      throw isBrokenCircuitError(error) ? (context.failure ?? this.#refusal('circuit')) : error;
    } finally {
      context.end();
      this.#bulkhead.leave();
    }
  }

  /** One try. It is not repeated after its time is over, since it may be carried out all the same. */
  #timed<T>(operation: Operation<T>, context: CallContext): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      // Passed on as it is, Error or not.
      const fail: (reason: unknown) => void = reject;
      const running = operation(context);
      const timer = setTimeout(() => {
        const error = this.#refusal('timeout');
        context.giveUp(error);
        reject(error);
      }, this.limits.timeout);
      running.then(
        value => {
          clearTimeout(timer);
          resolve(value);
        },
        (error: unknown) => {
          clearTimeout(timer);
          context.failure = error;
          fail(error);
        },
      );
    });
  }

  #refusal(reason: RefusalReason): SseError {
    this.observer.onRefused?.(this.kind, reason);
    const { kind, limits } = this;
    const setting = (name: keyof OperationLimits): string => `resilience.${kind}.${name}`;
    switch (reason) {
      case 'circuit':
        return new SseError(
          'UNAVAILABLE',
          `calls of kind ${kind} fail at once, since the cluster failed ${limits.breakerFailures} in a row ` +
            `(${setting('breakerFailures')}); see the cause, and call again after ${limits.breakerCooldown} ms ` +
            `(${setting('breakerCooldown')})`,
          { cause: this.#circuit.lastFailure },
        );
      case 'queue':
        return new SseError(
          'UNAVAILABLE',
          `${limits.concurrency} calls of kind ${kind} run (${setting('concurrency')}) and ${limits.queue} wait ` +
            `(${setting('queue')}); call less at once, or raise these limits`,
        );
      case 'turn':
        return new SseError(
          'UNAVAILABLE',
          `a call of kind ${kind} must get its turn within ${limits.timeout} ms (${setting('timeout')}), and ` +
            `${limits.concurrency} others run (${setting('concurrency')}); call less at once, or raise these limits`,
        );
      case 'timeout':
        return new SseError(
          'UNAVAILABLE',
          `a call of kind ${kind} must be answered within ${limits.timeout} ms (${setting('timeout')}); it may be ` +
            'carried out all the same, so look before you repeat it',
          { retryable: false },
        );
    }
  }
}

function isRetryable(error: unknown): boolean {
  return SseError.is(error) && error.retryable;
}
