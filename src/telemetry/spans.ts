import {
  type Attributes,
  context,
  type Context,
  INVALID_TRACEID,
  isSpanContextValid,
  type Link,
  type Span,
  type SpanContext,
  SpanKind,
  type SpanOptions,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
  type TracerProvider,
} from '@opentelemetry/api';
import type {
  BroadcastReceipt,
  FanOut,
  LocalResult,
  Outcome,
  PublishReceipt,
  SendResult,
} from '../contracts/events.js';
import type { TelemetryWatcher } from '../contracts/telemetry.js';
import { SseError, type SseErrorCode, statusOf } from '../errors.js';
import { errorType, type MeterWatch, type NodeFigures } from './figures.js';
import { ATTRIBUTE, SCOPE, type SpanName } from './names.js';

/** The parts that all telemetry of one node uses. */
export interface Reporting {
  readonly figures: NodeFigures;
  readonly spans: SpanRecorder;
  readonly meters: MeterWatch;
  /** Set while somebody looks at the node. */
  watcher: TelemetryWatcher | undefined;
}

/** Options for the begin of a span that few spans need. */
interface BeginOptions {
  /** What the span is called in place of its name. */
  readonly title?: string | undefined;
  readonly links?: Link[];
  /** Milliseconds of `Date.now()` at the begin, for a span that is recorded afterwards. */
  readonly startTime?: number;
}

/** Attributes and failure that a span gets at its end. */
export interface SpanEnd {
  readonly attributes?: Attributes;
  /** Marks the span as failed: a thrown value, or a word for a failure without one. */
  readonly failure?: unknown;
}

const KINDS: Readonly<Partial<Record<SpanName, SpanKind>>> = {
  'sse.send': SpanKind.PRODUCER,
  'sse.broadcast': SpanKind.PRODUCER,
  'sse.publish': SpanKind.PRODUCER,
  'sse.route': SpanKind.CLIENT,
  'sse.deliver': SpanKind.CONSUMER,
  'sse.command': SpanKind.CLIENT,
};

/** Address of a server, as the semantic conventions name it. */
export interface ServerAddress {
  readonly address: string;
  readonly port: number;
}

/** The one place where spans begin and end: their kinds, their status, the errors in them, and when there are none. */
export class SpanRecorder {
  #provider: TracerProvider | undefined;
  #tracer: Tracer | undefined;

  constructor(
    private readonly nodeId: string,
    private readonly hideConnectionIds: boolean,
    private readonly server?: ServerAddress,
  ) {}

  /** Whether an SDK has registered. Cheap enough for every call. */
  get on(): boolean {
    return this.#current() !== undefined;
  }

  /**
   * A span, or `undefined` when no SDK has registered or `parent` is a span of this process that is not recorded.
   * @param facts attributes from the begin; called only when the span is recorded
   */
  begin(
    name: SpanName,
    parent: Context,
    facts: () => Attributes,
    { title = name, links, startTime }: BeginOptions = {},
  ): Span | undefined {
    const tracer = this.#current();
    if (tracer === undefined) return undefined;
    const around = trace.getSpan(parent);
    if (around !== undefined && isDropped(around)) return undefined;
    const kind = name === 'sse.connect' ? connectKind(around) : (KINDS[name] ?? SpanKind.INTERNAL);
    const options: SpanOptions = { kind };
    if (links !== undefined && links.length > 0) options.links = links;
    if (startTime !== undefined) options.startTime = startTime;
    const span = tracer.startSpan(title, options, parent);
    if (!span.isRecording()) return span;
    span.setAttributes({ [ATTRIBUTE.nodeId]: this.nodeId, ...facts() });
    if (kind === SpanKind.CLIENT && this.server !== undefined) {
      span
        .setAttribute(ATTRIBUTE.serverAddress, this.server.address)
        .setAttribute(ATTRIBUTE.serverPort, this.server.port);
    }
    return span;
  }

  /** Runs `work` in a span that begins as {@link begin} says, or without one. */
  around<R>(
    name: SpanName,
    parent: Context,
    facts: () => Attributes,
    work: (within: Context) => R,
    describe: (result: Awaited<R>) => SpanEnd = () => ({}),
    options?: BeginOptions,
  ): R {
    const span = this.begin(name, parent, facts, options);
    if (span === undefined) return work(parent);
    if (span.isRecording())
      return this.run(span, parent, work, describe, name === 'sse.connect' ? refusedEnd : failedEnd);
    // Of all work only an opening runs code that may begin spans; a context costs more than the rest of this function.
    if (name !== 'sse.connect') return work(parent);
    const within = trace.setSpan(parent, span);
    return context.with(within, work, undefined, within);
  }

  /** Runs `work` in the span's context and ends the span with the description of the result. */
  run<R>(
    span: Span,
    parent: Context,
    work: (within: Context) => R,
    describe: (result: Awaited<R>) => SpanEnd,
    describeError: (error: unknown) => SpanEnd = failedEnd,
  ): R {
    const within = trace.setSpan(parent, span);
    return whenDone(
      () => context.with(within, work, undefined, within),
      result => this.end(span, () => describe(result)),
      error => this.end(span, () => describeError(error)),
    );
  }

  /** Ends a span; `describe` is asked only when the span is recorded. */
  end(span: Span, describe: () => SpanEnd): void {
    if (span.isRecording()) {
      const { attributes, failure } = describe();
      if (attributes !== undefined) span.setAttributes(attributes);
      if (failure !== undefined) this.#fail(span, failure);
    }
    span.end();
  }

  /** The id as an attribute, unless ids are hidden. */
  connection(connectionId: string | undefined): Attributes {
    if (this.hideConnectionIds || connectionId === undefined) return {};
    return { [ATTRIBUTE.connectionId]: connectionId };
  }

  #fail(span: Span, failure: unknown): void {
    const type = errorType(failure);
    span.setAttribute(ATTRIBUTE.errorType, type);
    // A client that leaves is no failure.
    if (type === 'CONNECTION_CLOSED') return;
    if (typeof failure === 'string') {
      span.setStatus({ code: SpanStatusCode.ERROR, message: failure });
      return;
    }
    const error = failure instanceof Error ? failure : new Error(String(failure));
    // The message of an error may name a connection.
    const message = this.hideConnectionIds ? type : error.message;
    span.recordException(this.hideConnectionIds ? { name: error.name, code: type } : error);
    span.setStatus({ code: SpanStatusCode.ERROR, message });
  }

  #current(): Tracer | undefined {
    const provider = trace.getTracerProvider();
    if (this.#tracer === undefined || this.#provider !== provider) {
      this.#provider = provider;
      this.#tracer = registeredTracer(provider);
    }
    return this.#tracer;
  }
}

/** The id of the trace in which a span is recorded, also when the span has ended. */
export function recordedTrace(span: Span | undefined): string | undefined {
  if (span === undefined) return undefined;
  const { traceId, traceFlags } = span.spanContext();
  return (traceFlags & TraceFlags.SAMPLED) === 0 ? undefined : traceId;
}

/** The API returns a proxy provider until an SDK has registered; the proxy delegates to the SDK's provider afterwards. */
function registeredTracer(provider: TracerProvider | StandIn): Tracer | undefined {
  return 'getDelegateTracer' in provider
    ? provider.getDelegateTracer(SCOPE.name, SCOPE.version)
    : provider.getTracer(SCOPE.name, SCOPE.version);
}

interface StandIn {
  getDelegateTracer(name: string, version: string): Tracer | undefined;
}

/** Whether a sampler of this process has dropped the span, and with it the spans inside. */
function isDropped(span: Span): boolean {
  if (span.isRecording()) return false;
  const { traceId, traceFlags, isRemote } = span.spanContext();
  // An SDK makes valid ids, or the invalid one when it is suppressed; a check of each digit would cost more than this function.
  return (traceFlags & TraceFlags.SAMPLED) === 0 && isRemote !== true && traceId !== INVALID_TRACEID;
}

/** A link to the opening of a connection; none when it was not sampled, or there was no SDK. */
export function linksTo(origin: unknown): Link[] {
  if (origin === undefined) return [];
  // Only the telemetry of connections sets it.
  const opening = origin as SpanContext;
  const sampled = (opening.traceFlags & TraceFlags.SAMPLED) !== 0;
  return sampled && isSpanContextValid(opening) ? [{ context: opening }] : [];
}

/** An instrumentation of the HTTP server has made the server's span already. */
function connectKind(around: Span | undefined): SpanKind {
  return around === undefined || around.spanContext().isRemote === true ? SpanKind.SERVER : SpanKind.INTERNAL;
}

function failedEnd(error: unknown): SpanEnd {
  return { failure: error };
}

/** Codes with a status from 500 on with which a node that works sends a client elsewhere. */
const ELSEWHERE: ReadonlySet<SseErrorCode> = new Set<SseErrorCode>(['DRAINING', 'CLOSED', 'CONNECTION_LIMIT']);

/**
 * The end of the span of an opening that failed. A request that is refused, or sent to another node, gets the type of the
 * error alone; errors of the server mark the span as failed.
 */
export function refusedEnd(error: unknown): SpanEnd {
  const { code, status } = SseError.is(error) ? error : { code: undefined, status: statusOf(error) };
  if (status >= 500 && (code === undefined || !ELSEWHERE.has(code))) return failedEnd(error);
  return { attributes: { [ATTRIBUTE.errorType]: errorType(error) } };
}

// `not-connected` is an answer; these are failures to deliver.
const FAILURES: ReadonlySet<Outcome> = new Set<Outcome>(['rejected', 'unknown', 'unavailable']);

/** The end of the span of a send, or of its delivery to one connection. */
export function sendEnd(result: SendResult | LocalResult): SpanEnd {
  const owner = 'nodeId' in result ? result.nodeId : undefined;
  return outcomeEnd(
    result.outcome,
    'code' in result ? result.code : result.outcome,
    owner === undefined ? {} : { [ATTRIBUTE.ownerNodeId]: owner },
  );
}

/** The end of the span of a message that arrived at its owner. */
export function deliveryEnd(result: LocalResult): SpanEnd {
  return isDuplicate(result)
    ? outcomeEnd(result.outcome, result.outcome, { [ATTRIBUTE.duplicate]: true })
    : sendEnd(result);
}

/** Whether the connection had the message already. */
export function isDuplicate(result: LocalResult): boolean {
  return 'duplicate' in result;
}

/** The end of a fan-out's span. A slow client, or one that was cut, is no failure of the fan-out. */
export function fanOutEnd(fanOut: FanOut): SpanEnd {
  const { delivered, buffered, rejected } = fanOut;
  return {
    attributes: {
      [ATTRIBUTE.outcome]: fanOutOutcome(fanOut),
      [ATTRIBUTE.fanOutDelivered]: delivered,
      [ATTRIBUTE.fanOutBuffered]: buffered,
      [ATTRIBUTE.fanOutRejected]: rejected,
    },
  };
}

/** The end of a publication's span. */
export function publicationEnd(receipt: BroadcastReceipt | PublishReceipt): SpanEnd {
  const { outcome } = receipt;
  const nodes = 'nodes' in receipt ? receipt.nodes : null;
  return outcomeEnd(outcome, 'code' in receipt ? receipt.code : outcome, {
    ...(nodes === null ? {} : { [ATTRIBUTE.nodes]: nodes }),
    ...('id' in receipt ? { [ATTRIBUTE.messagingMessageId]: receipt.id } : {}),
  });
}

/** The end of the span of a command. A command that some nodes did not answer is uncertain. */
export function commandEnd(answer: unknown): SpanEnd {
  if (typeof answer !== 'object' || answer === null) return {};
  // Receipts and routes; each key has one type in all of them.
  const { outcome, code, unavailable, missing, nodeId } = answer as Partial<CommandAnswer>;
  if (unavailable !== undefined) return outcomeEnd('unavailable', unavailable);
  if (outcome !== undefined) return outcomeEnd(outcome, code ?? outcome);
  if (missing !== undefined && missing.length > 0) {
    return outcomeEnd('unknown', 'unknown', { [ATTRIBUTE.missingNodes]: missing.length });
  }
  return nodeId === undefined ? {} : { attributes: { [ATTRIBUTE.ownerNodeId]: nodeId } };
}

interface CommandAnswer {
  readonly outcome: Outcome;
  readonly code: string;
  readonly unavailable: string;
  readonly missing: readonly string[];
  readonly nodeId: string;
}

/** The outcome of a fan-out as a whole: the best one that any connection had. */
export function fanOutOutcome({ delivered, buffered, rejected }: FanOut): Outcome {
  if (delivered > 0) return 'delivered';
  if (buffered > 0) return 'buffered';
  return rejected > 0 ? 'rejected' : 'not-connected';
}

function outcomeEnd(outcome: Outcome, failure: string, attributes: Attributes = {}): SpanEnd {
  const all = { [ATTRIBUTE.outcome]: outcome, ...attributes };
  return FAILURES.has(outcome) ? { attributes: all, failure } : { attributes: all };
}

/**
 * Runs synchronous or asynchronous work and calls back with its result before the caller gets it. Returns and throws as the
 * work does.
 */
export function whenDone<R>(
  work: () => R,
  onValue: (value: Awaited<R>) => void,
  onError: (error: unknown) => void = () => undefined,
): R {
  const fail = (error: unknown): never => {
    onError(error);
    throw error;
  };
  const pass = (value: Awaited<R>): Awaited<R> => {
    onValue(value);
    return value;
  };
  let result: R;
  try {
    result = work();
  } catch (error) {
    return fail(error);
  }
  // A value that is no promise is its own awaited value; a promise of the same value has the same type.
  return (result instanceof Promise ? result.then(pass, fail) : pass(result as Awaited<R>)) as R;
}
