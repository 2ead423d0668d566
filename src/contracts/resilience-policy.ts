import type { ServiceIdentifier } from 'inversify';

/** What a cluster call is for; each kind has its own limits, so that trouble in one does not starve the others. */
export type OperationKind = 'register' | 'send' | 'publish' | 'maintenance';

/** State of one kind's circuit: `open` means calls fail at once. */
export type CircuitState = 'closed' | 'half-open' | 'open';

/**
 * Wraps every call of the service to the cluster.
 *
 * An implementation may delay, retry, time out or refuse a call; it never turns a failure into a success and passes the
 * result of `operation` through unchanged. It retries only errors whose `retryable` is true. It never runs `operation`
 * after `execute` has settled, nor when the given signal was aborted beforehand.
 */
export interface ResiliencePolicy {
  /**
   * Runs `operation`. Its signal aborts when the policy gives up on it or the caller's signal aborts.
   * @throws the operation's error; or SseError `UNAVAILABLE` when the policy refuses or gives up.
   */
  execute<T>(
    kind: OperationKind,
    operation: (signal: AbortSignal) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T>;
  /** Present state of a kind's circuit. */
  circuit(kind: OperationKind): CircuitState;
}

export const ResiliencePolicy: ServiceIdentifier<ResiliencePolicy> = Symbol.for(
  'distributed-sse/ResiliencePolicy',
);
