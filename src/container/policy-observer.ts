import type { Logger } from '../contracts/logger.js';
import type { ResilienceObserver } from '../contracts/resilience-observer.js';
import type { OperationKind } from '../contracts/resilience-policy.js';
import type { UpkeepTelemetry } from '../contracts/telemetry.js';

/** Tells the log when calls to the cluster begin to fail at once, and when that is over; and telemetry of each retry and refusal. */
export function policyObserver(
  logger: Logger,
  upkeep: Pick<UpkeepTelemetry, 'retrying' | 'refusing'>,
): ResilienceObserver {
  // In an outage a circuit opens again with every call that tries.
  const open = new Set<OperationKind>();
  return {
    onRetry: (kind, _attempt, error) => upkeep.retrying(kind, error),
    onRefused: (kind, reason) => upkeep.refusing(kind, reason),
    onCircuit: (kind, state) => {
      if (state === 'open' && !open.has(kind)) {
        open.add(kind);
        logger.warn('calls to the cluster fail at once until one succeeds', { kind });
      } else if (state === 'closed' && open.delete(kind)) {
        logger.info('calls to the cluster succeed again', { kind });
      }
    },
  };
}
