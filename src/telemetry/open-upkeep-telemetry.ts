import { context, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { OperationKind } from '../contracts/resilience-policy.js';
import type { CleanupKind, ConsistencySummary, UpkeepTelemetry } from '../contracts/telemetry.js';
import { ATTRIBUTE } from './names.js';
import type { Reporting } from './reporting.js';
import { errorType } from './span-recorder.js';

/** Tells OpenTelemetry of a node's care for itself. */
export class OpenUpkeepTelemetry implements UpkeepTelemetry {
  constructor(private readonly reporting: Reporting) {}

  cleaning<R extends number | Promise<number>>(kind: CleanupKind, work: () => R): R {
    const { spans, figures, meters } = this.reporting;
    // On an idle node nothing else comes by that would notice an SDK that has started.
    meters.look();
    // Timers run in the context of whatever request started them, which is long over.
    const span = spans.begin('sse.cleanup', ROOT_CONTEXT, () => ({
      [ATTRIBUTE.cleanupKind]: kind,
    }));
    const cleaned =
      span === undefined
        ? work()
        : spans.run(span, ROOT_CONTEXT, work, removed => ({
            attributes: { [ATTRIBUTE.removed]: removed },
          }));
    return whenDone(cleaned, removed => {
      if (removed > 0) figures.removed.add(kind, removed);
    });
  }

  checking(work: () => Promise<ConsistencySummary>): Promise<ConsistencySummary> {
    const { spans, figures } = this.reporting;
    const span = spans.begin('sse.consistency', ROOT_CONTEXT, () => ({}));
    const checked =
      span === undefined
        ? work()
        : spans.run(span, ROOT_CONTEXT, work, ({ checked, repairs }) => ({
            attributes: {
              [ATTRIBUTE.checked]: checked,
              [ATTRIBUTE.repairs]: Object.values(repairs).reduce((sum, count) => sum + count, 0),
              [ATTRIBUTE.repairKind]: Object.keys(repairs),
            },
          }));
    return whenDone(checked, ({ repairs }) => {
      for (const [kind, count] of Object.entries(repairs)) figures.repairs.add(kind, count);
    });
  }

  draining(work: () => Promise<void>): Promise<void> {
    const { spans, figures } = this.reporting;
    const parent = context.active();
    const span = spans.begin('sse.drain', parent, () => ({
      [ATTRIBUTE.connections]: figures.gauges?.connections() ?? 0,
    }));
    return span === undefined ? work() : spans.run(span, parent, work, () => ({}));
  }

  leaked(kind: string, count: number): void {
    this.reporting.figures.leaks.add(kind, count);
  }

  retrying(kind: OperationKind, error: unknown): void {
    this.reporting.figures.retries.add(kind);
    const span = trace.getActiveSpan();
    if (span?.isRecording() !== true) return;
    span.addEvent('sse.retry', {
      [ATTRIBUTE.operation]: kind,
      [ATTRIBUTE.errorType]: errorType(error),
    });
  }

  commanded(command: string, ms: number, error?: unknown): void {
    const labels = { [ATTRIBUTE.redisCommand]: command };
    this.reporting.meters.instruments?.record(
      'redisCommandDuration',
      ms / 1000,
      error === undefined ? labels : { ...labels, [ATTRIBUTE.errorType]: errorType(error) },
    );
  }
}

/** Calls `then` with the value of something that may be a promise of it; a failure has no value. */
function whenDone<R>(result: R, then: (value: Awaited<R>) => void): R {
  if (!(result instanceof Promise)) {
    // Not a promise, so it is its own awaited value.
    then(result as Awaited<R>);
    return result;
  }
  // A promise of the same value.
  return result.then((value: Awaited<R>) => {
    then(value);
    return value;
  }) as R;
}
