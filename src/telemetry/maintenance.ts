import { context, createContextKey, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { Logger } from '../contracts/logger.js';
import type { OperationKind, RefusalReason, ResilienceObserver } from '../contracts/policy.js';
import type { CleanupKind, ConsistencySummary, MaintenanceTelemetry } from '../contracts/telemetry.js';
import { ATTRIBUTE } from './names.js';
import { errorType, type Reporting, type SpanEnd, whenDone } from './spans.js';

// Where SDKs look whether to record (suppressTracing of @opentelemetry/core); keys of equal names are equal.
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING');

/** Records the maintenance of a node in OpenTelemetry. */
export class OpenMaintenanceTelemetry implements MaintenanceTelemetry {
  constructor(private readonly reporting: Reporting) {}

  expiring<R extends number | Promise<number>>(kind: CleanupKind, work: () => R): R {
    const { spans, figures, meters } = this.reporting;
    // On an idle node no other call would notice an SDK that has started.
    meters.look();
    const startTime = Date.now();
    // Recorded afterwards: most runs find nothing, and their spans would hide the others.
    const record = (end: SpanEnd): void => {
      const facts = { [ATTRIBUTE.cleanupKind]: kind };
      const span = spans.begin('sse.cleanup', ROOT_CONTEXT, () => facts, { startTime });
      if (span !== undefined) spans.end(span, () => end);
    };
    return whenDone(
      // Timers run in the context of the request that started them, which is over.
      () => (spans.on ? context.with(ROOT_CONTEXT, work) : work()),
      removed => {
        if (removed === 0) return;
        figures.removed.add(kind, removed);
        record({ attributes: { [ATTRIBUTE.removed]: removed } });
      },
      error => record({ failure: error }),
    );
  }

  reconciling<S extends ConsistencySummary>(work: () => Promise<S>): Promise<S> {
    const { spans, figures } = this.reporting;
    const run = (): Promise<S> => spans.around('sse.consistency', ROOT_CONTEXT, () => ({}), work, reconcileEnd);
    return whenDone(run, ({ repairs }) => {
      for (const [kind, count] of Object.entries(repairs)) figures.repairs.add(kind, count);
      this.reporting.watcher?.onRepaired(repairs);
    });
  }

  draining(work: () => Promise<void>): Promise<void> {
    const { spans, figures } = this.reporting;
    const facts = () => ({ [ATTRIBUTE.connections]: figures.gauges?.connections() ?? 0 });
    this.reporting.watcher?.onDraining();
    return spans.around('sse.drain', context.active(), facts, work);
  }

  leaked(kind: string, count: number): void {
    this.reporting.figures.leaks.add(kind, count);
  }

  retrying(kind: OperationKind, error: unknown): void {
    this.reporting.figures.retries.add(kind);
    const span = trace.getActiveSpan();
    if (span?.isRecording() !== true) return;
    span.addEvent('sse.retry', { [ATTRIBUTE.operation]: kind, [ATTRIBUTE.errorType]: errorType(error) });
  }

  refusing(kind: OperationKind, reason: RefusalReason): void {
    this.reporting.figures.refuse(kind, reason);
  }

  quietly<R>(work: () => R): R {
    if (!this.reporting.spans.on) return work();
    return context.with(context.active().setValue(SUPPRESS_TRACING, true), work);
  }

  commanded(command: string, ms: number, error?: unknown): void {
    const { instruments } = this.reporting.meters;
    if (error === undefined) instruments?.record('sse.redis.command.duration', ms / 1000, command);
    else instruments?.recordFailure('sse.redis.command.duration', ms / 1000, command, errorType(error));
  }
}

/** The end of a comparison's span. A comparison without a result has failed, even if it repaired something. */
function reconcileEnd({ checked, found, repairs, unknown }: ConsistencySummary): SpanEnd {
  const attributes = {
    [ATTRIBUTE.checked]: checked,
    [ATTRIBUTE.found]: sumOf(found),
    [ATTRIBUTE.repairs]: sumOf(repairs),
    [ATTRIBUTE.repairKind]: Object.keys(repairs),
  };
  return unknown === undefined ? { attributes } : { attributes, failure: 'unknown' };
}

function sumOf(counts: ConsistencySummary['found']): number {
  return Object.values(counts).reduce((sum, count) => sum + count, 0);
}

/**
 * Logs when calls of a kind begin to fail at once and when they succeed again, once per outage. Records each retry and
 * refusal in telemetry.
 */
export function policyObserver(
  logger: Logger,
  maintenance: Pick<MaintenanceTelemetry, 'retrying' | 'refusing'>,
): ResilienceObserver {
  // In an outage a circuit opens again after every call that tries.
  const open = new Set<OperationKind>();
  return {
    onRetry: (kind, _attempt, error) => maintenance.retrying(kind, error),
    onRefused: (kind, reason) => maintenance.refusing(kind, reason),
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
