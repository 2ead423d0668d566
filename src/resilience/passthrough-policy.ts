import type {
  CircuitState,
  OperationContext,
  OperationKind,
  ResiliencePolicy,
} from '../contracts/resilience-policy.js';
import { CallContext } from './call-context.js';

/** Runs every operation once, as it is. The right policy where there is nothing to reach, and in tests. */
export class PassthroughPolicy implements ResiliencePolicy {
  async execute<T>(
    _kind: OperationKind,
    operation: (context: OperationContext) => Promise<T>,
    signal?: AbortSignal,
  ): Promise<T> {
    const context = new CallContext(signal);
    context.assertWanted();
    try {
      return await operation(context);
    } finally {
      context.end();
    }
  }

  circuit(): CircuitState {
    return 'closed';
  }
}
