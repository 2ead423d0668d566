import { context, createContextKey, isSpanContextValid, ROOT_CONTEXT, trace } from '@opentelemetry/api';
import type { Cursor } from '../contracts/events.js';
import type { LogFields, Logger } from '../contracts/logger.js';
import type { OperationKind, RefusalReason, ResilienceObserver } from '../contracts/policy.js';
import type {
  CleanupKind,
  ConnectionTelemetry,
  ConsistencySummary,
  EventTelemetry,
  MaintenanceTelemetry,
  NodeGauges,
  Telemetry,
  TelemetryWatcher,
  TrafficCounts,
} from '../contracts/telemetry.js';
import { OpenConnectionTelemetry } from './connections.js';
import { OpenEventTelemetry } from './events.js';
import { errorType, MeterWatch, NodeFigures } from './figures.js';
import { ATTRIBUTE } from './names.js';
import { type Reporting, type ServerAddress, type SpanEnd, SpanRecorder, whenDone } from './spans.js';
import { TraceCarrier } from './trace-carrier.js';

/** Settings of {@link OpenTelemetry}. */
interface OpenTelemetrySettings {
  readonly nodeId: string;
  /** Keeps connection ids out of spans. */
  readonly hideConnectionIds: boolean;
  /** The events that are counted by name. */
  readonly eventNames: readonly string[];
  /** The id of an entry of the log, as receipts and clients have it. */
  readonly formatId: (position: Cursor) => string;
  /** Takes baggage from node to node. */
  readonly baggage: boolean;
  /** Names the spans of publications and their deliveries after their topics. */
  readonly topicsInSpanNames: boolean;
  /** Address of the server through which nodes meet, where there is one. */
  readonly server?: ServerAddress | undefined;
}

// An exported sum stays at its last value: a node that has stopped therefore reports zero last.
const STOPPED: NodeGauges = {
  connections: () => 0,
  sendBufferBytes: () => 0,
  pendingSends: () => 0,
  circuit: () => 'closed',
};

/**
 * Records in OpenTelemetry through its API alone: the application brings the SDK, at any time. Without an SDK a call costs
 * the read of a global and a few additions.
 */
export class OpenTelemetry implements Telemetry {
  readonly connections: OpenConnectionTelemetry;
  readonly events: OpenEventTelemetry;
  readonly maintenance: OpenMaintenanceTelemetry;
  readonly #figures: NodeFigures;
  readonly #meters: MeterWatch;
  readonly #reporting: Reporting;

  constructor(settings: OpenTelemetrySettings) {
    const { nodeId, hideConnectionIds, server } = settings;
    this.#figures = new NodeFigures(settings.eventNames);
    this.#meters = new MeterWatch(this.#figures, nodeId);
    const reporting: Reporting = {
      figures: this.#figures,
      meters: this.#meters,
      spans: new SpanRecorder(nodeId, hideConnectionIds, server),
      watcher: undefined,
    };
    this.#reporting = reporting;
    const carrier = new TraceCarrier(settings.baggage);
    this.connections = new OpenConnectionTelemetry(reporting, carrier);
    this.events = new OpenEventTelemetry(reporting, carrier, settings);
    this.maintenance = new OpenMaintenanceTelemetry(reporting);
  }

  get traffic(): TrafficCounts {
    return this.#figures.traffic;
  }

  observe(gauges: NodeGauges): () => void {
    this.#figures.gauges = gauges;
    // Also while nothing happens an SDK that has started is to see the node.
    this.#meters.look();
    return () => {
      this.#figures.gauges = STOPPED;
      this.#meters.close();
    };
  }

  watch(watcher: TelemetryWatcher | undefined): boolean {
    this.#reporting.watcher = watcher;
    return true;
  }
}

/** Records nothing: `telemetry.enabled: false`. */
export class SilentTelemetry implements Telemetry {
  readonly traffic = { bytesWritten: 0, eventsDropped: 0 };

  readonly connections: ConnectionTelemetry = {
    receiving: (_headers, work) => work(),
    opening: (_subject, work) => work(),
    refused: nothing,
    admitted: nothing,
    replaying: (_connectionId, work) => work(),
    reset: nothing,
    handling: (_connection, work) => work(),
    commanding: (_command, _connectionId, work) => work(),
    cause: () => undefined,
    closing: (_trace, work) => work(),
    stopped: nothing,
    draining: work => work(),
  };

  readonly events: EventTelemetry = {
    sending: (_subject, work) => work(),
    routing: (_subject, work) => work(undefined),
    broadcasting: (_event, work) => work(),
    publishing: (_to, _event, work) => work(undefined),
    appending: (_event, work) => work(undefined),
    sent: nothing,
    delivering: (_message, work) => work(),
    fanningOut: (_publication, work) => work(),
  };

  readonly maintenance: MaintenanceTelemetry = {
    expiring: (_kind, work) => work(),
    reconciling: work => work(),
    leaked: nothing,
    retrying: nothing,
    refusing: nothing,
    quietly: work => work(),
    commanded: nothing,
  };

  observe(): () => void {
    return nothing;
  }

  watch(): boolean {
    return false;
  }
}

function nothing(): void {
  // Telemetry is off.
}

// Where SDKs look whether to record (suppressTracing of @opentelemetry/core); keys of equal names are equal.
const SUPPRESS_TRACING = createContextKey('OpenTelemetry SDK Context Key SUPPRESS_TRACING');
const QUIET = ROOT_CONTEXT.setValue(SUPPRESS_TRACING, true);

/** Records the maintenance of a node in OpenTelemetry. */
class OpenMaintenanceTelemetry implements MaintenanceTelemetry {
  readonly commanded: MaintenanceTelemetry['commanded'];

  constructor(private readonly reporting: Reporting) {
    this.commanded = reporting.meters.commanded;
  }

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
    return context.with(QUIET, work);
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

/** The least severe level that is printed. */
export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

/** The levels of a log, which are the methods of a `Logger`, the least important first. */
export const LEVELS: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

/**
 * Writes lines to the console, by default warnings and errors. A line that is written inside a span carries its ids, as
 * `trace_id` and `span_id`.
 */
export class ConsoleLogger implements Logger {
  constructor(private readonly level: LogLevel = 'warn') {}

  debug(message: string, fields?: LogFields): void {
    this.#write('debug', message, fields);
  }

  info(message: string, fields?: LogFields): void {
    this.#write('info', message, fields);
  }

  warn(message: string, fields?: LogFields): void {
    this.#write('warn', message, fields);
  }

  error(message: string, fields?: LogFields): void {
    this.#write('error', message, fields);
  }

  #write(level: LogLevel, message: string, fields: LogFields | undefined): void {
    if (LEVELS.indexOf(level) < LEVELS.indexOf(this.level)) return;
    const all = { ...fields, ...spanIds() };
    if (Object.keys(all).length === 0) console[level](`[distributed-sse] ${message}`);
    else console[level](`[distributed-sse] ${message}`, all);
  }
}

function spanIds(): LogFields {
  const spanContext = trace.getActiveSpan()?.spanContext();
  if (spanContext === undefined || !isSpanContextValid(spanContext)) return {};
  return { trace_id: spanContext.traceId, span_id: spanContext.spanId };
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
