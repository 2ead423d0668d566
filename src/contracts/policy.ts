import type { ServiceIdentifier } from 'inversify';

/**
 * What a call to the cluster is for. Each kind has its own limits (`resilience.<kind>`), so that trouble in one kind does
 * not starve the others.
 */
export type OperationKind = 'register' | 'replay' | 'send' | 'publish' | 'command' | 'maintenance';

/** State of one kind's circuit. `open`: calls fail at once. `half-open`: one call may try, further ones fail at once. */
export type CircuitState = 'closed' | 'half-open' | 'open';

/** Whether a call is still wanted. An `AbortController` is one. */
export interface OperationContext {
  /** Aborts when the call is given up. The first read may create it, and who does not read it pays nothing for it. */
  readonly signal: AbortSignal;
  /** Whether that signal has aborted; reading it creates no signal. Default: what the signal says. */
  readonly aborted?: boolean;
}

/**
 * Wraps every call of the service to the cluster.
 *
 * An implementation may delay, retry, time out or refuse a call; it never turns a failure into a success and passes the
 * result of `operation` through unchanged. It retries only errors whose `retryable` is true. It never runs `operation`
 * after `execute` has settled, nor once its caller gave the call up. When the caller does so while `operation` runs, the
 * operation's own signal aborts, and `execute` still settles as the operation does.
 *
 * Operations begin in the order of the calls of their kind. An operation that need not wait begins before `execute`
 * returns: the order of sends depends on it.
 */
export interface ResiliencePolicy {
  /**
   * Runs `operation`, whose context says whether the policy or the caller gave up.
   * @param caller whether its caller still wants the result
   * @throws the operation's error; or SseError `UNAVAILABLE` when the policy refuses or gives up.
   */
  execute<T>(
    kind: OperationKind,
    operation: (context: OperationContext) => Promise<T>,
    caller?: OperationContext,
  ): Promise<T>;
  /** Present state of a kind's circuit. */
  circuit(kind: OperationKind): CircuitState;
}

export const ResiliencePolicy: ServiceIdentifier<ResiliencePolicy> = Symbol.for('distributed-sse/ResiliencePolicy');

/**
 * Why a policy did not let an operation finish.
 *
 * | reason | meaning |
 * |---|---|
 * | `circuit` | the circuit is open, or half-open and another call tries it |
 * | `queue` | the queue of the kind is full |
 * | `turn` | the call waited too long for its turn; the operation never ran |
 * | `timeout` | the operation ran for too long; the cluster may carry it out all the same |
 */
export type RefusalReason = 'circuit' | 'queue' | 'turn' | 'timeout';

/** Observes what a resilience policy does to calls. No method may throw or wait. */
export interface ResilienceObserver {
  /** A call failed and is about to be repeated after a pause. @param attempt number of the repetition, from 1 */
  onRetry?(kind: OperationKind, attempt: number, error: unknown): void;
  /** A circuit changed. It becomes `half-open` when a call tries it. */
  onCircuit?(kind: OperationKind, state: CircuitState): void;
  /** A call was refused or given up. */
  onRefused?(kind: OperationKind, reason: RefusalReason): void;
}
