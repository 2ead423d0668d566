import type { ServiceIdentifier } from 'inversify';

/** What a cluster call is for; each kind has its own limits, so that trouble in one does not starve the others. */
export type OperationKind = 'register' | 'send' | 'publish' | 'maintenance';

/** State of one kind's circuit. `open`: calls fail at once. `half-open`: one call may try, further ones fail at once. */
export type CircuitState = 'closed' | 'half-open' | 'open';

/** What an operation can learn of the call it is part of. */
export interface OperationContext {
  /**
   * Aborts when the policy gives up on the operation or the caller's signal aborts. Made when it is first asked for, so
   * that operations which do not ask pay nothing for it.
   */
  readonly signal: AbortSignal;
}

/**
 * Wraps every call of the service to the cluster.
 *
 * An implementation may delay, retry, time out or refuse a call; it never turns a failure into a success and passes the
 * result of `operation` through unchanged. It retries only errors whose `retryable` is true. It never runs `operation`
 * after `execute` has settled, nor once the given signal has aborted. An abort while `operation` runs is told to it, and
 * its answer is the answer.
 *
 * Operations begin in the order of the calls of their kind. One that need not wait begins before `execute` returns: the
 * order of sends depends on it.
 */
export interface ResiliencePolicy {
  /**
   * Runs `operation`.
   * @throws the operation's error; or SseError `UNAVAILABLE` when the policy refuses or gives up.
   */
  execute<T>(
    kind: OperationKind,
    operation: (context: OperationContext) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T>;
  /** Present state of a kind's circuit. */
  circuit(kind: OperationKind): CircuitState;
}

export const ResiliencePolicy: ServiceIdentifier<ResiliencePolicy> = Symbol.for(
  'distributed-sse/ResiliencePolicy',
);

/**
 * Why a policy did not let an operation finish.
 *
 * | reason | meaning |
 * |---|---|
 * | `circuit` | the circuit is open, or half-open and another call tries it |
 * | `queue` | as many calls wait already as may |
 * | `turn` | it waited too long for its turn; it never ran |
 * | `timeout` | it ran for too long; it may be carried out all the same |
 */
export type RefusalReason = 'circuit' | 'queue' | 'turn' | 'timeout';

/** Is told what a resilience policy does to calls. No method may throw or wait. */
export interface ResilienceObserver {
  /** A call failed and is about to be repeated after a pause. @param attempt number of the repetition, from 1 */
  onRetry?(kind: OperationKind, attempt: number, error: unknown): void;
  /** A circuit changed. It becomes `half-open` with the call that tries it. */
  onCircuit?(kind: OperationKind, state: CircuitState): void;
  /** A call was refused or given up. */
  onRefused?(kind: OperationKind, reason: RefusalReason): void;
}
