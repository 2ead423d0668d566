import type { CircuitState, OperationKind } from './resilience-policy.js';

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
