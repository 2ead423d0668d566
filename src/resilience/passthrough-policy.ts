import type {
  CircuitState,
  OperationKind,
  ResiliencePolicy,
} from '../contracts/resilience-policy.js';
import { SseError } from '../errors/sse-error.js';

/** Runs every operation once, as it is. The right policy where there is nothing to reach, and in tests. */
export class PassthroughPolicy implements ResiliencePolicy {
  async execute<T>(
    _kind: OperationKind,
    operation: (signal: AbortSignal) => Promise<T>,
    signal: AbortSignal = new AbortController().signal,
  ): Promise<T> {
    if (signal.aborted) {
      throw new SseError('UNAVAILABLE', 'the operation was given up before it began', {
        cause: signal.reason,
      });
    }
    return operation(signal);
  }

  circuit(): CircuitState {
    return 'closed';
  }
}
