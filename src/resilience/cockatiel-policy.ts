import type { ResilienceObserver } from '../contracts/resilience-observer.js';
import type {
  CircuitState,
  OperationContext,
  OperationKind,
  ResiliencePolicy,
} from '../contracts/resilience-policy.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { OperationGuard, type Retries } from './operation-guard.js';

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
