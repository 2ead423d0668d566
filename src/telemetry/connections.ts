import { type IncomingHttpHeaders, ServerResponse } from 'node:http';
import {
  context,
  type Context,
  createContextKey,
  INVALID_SPAN_CONTEXT,
  isSpanContextValid,
  propagation,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  trace,
  TraceFlags,
} from '@opentelemetry/api';
import type { CloseReason, SseConnection } from '../contracts/connection.js';
import type { ResetReason } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import type { Command, ConnectionTelemetry, OpeningSubject, ReplaySummary } from '../contracts/telemetry.js';
import { countedReason, errorType } from './figures.js';
import { ATTRIBUTE } from './names.js';
import { commandEnd, linksTo, refusedEnd, type Reporting, type SpanEnd } from './spans.js';
import type { TraceCarrier } from './trace-carrier.js';

/** Records clients that come and go in OpenTelemetry. */
export class OpenConnectionTelemetry implements ConnectionTelemetry {
  constructor(
    private readonly reporting: Reporting,
    private readonly carrier: TraceCarrier,
  ) {}

  receiving<T>(headers: IncomingHttpHeaders, work: () => T): T {
    if (!this.reporting.spans.on) return work();
    const active = context.active();
    if (trace.getSpan(active) !== undefined) return work();
    const named = propagation.extract(active, headers);
    return named === active ? work() : context.with(named, work);
  }

  opening<C extends LocalConnection>(
    { connectionId, topics, source }: OpeningSubject,
    work: () => Promise<C>,
  ): Promise<C> {
    const { spans, meters } = this.reporting;
    meters.look();
    const facts = () => ({
      ...spans.connection(connectionId),
      [ATTRIBUTE.topics]: [...topics],
      ...(source === undefined ? {} : { [ATTRIBUTE.sourceKey]: source }),
    });
    return spans.around('sse.connect', context.active(), facts, work).catch((error: unknown) => {
      this.#countRefusal(connectionId, error);
      throw error;
    });
  }

  refused(connectionId: string | undefined, error: unknown): void {
    const { spans } = this.reporting;
    this.#countRefusal(connectionId, error);
    const span = spans.begin('sse.connect', context.active(), () => spans.connection(connectionId));
    if (span !== undefined) spans.end(span, () => refusedEnd(error));
  }

  #countRefusal(connectionId: string | undefined, error: unknown): void {
    const { figures, watcher } = this.reporting;
    const type = errorType(error);
    figures.refused.add(type);
    watcher?.onRefused(connectionId, type);
  }

  admitted(connection: LocalConnection, degraded = false): void {
    this.reporting.figures.opened += 1;
    this.reporting.watcher?.onOpened(connection, degraded);
    const span = this.reporting.spans.on ? trace.getSpan(context.active()) : undefined;
    if (degraded) span?.setAttribute(ATTRIBUTE.degraded, true);
    connection.origin = span?.spanContext() ?? INVALID_SPAN_CONTEXT;
  }

  replaying(connectionId: string, work: () => Promise<ReplaySummary>): Promise<ReplaySummary> {
    const { spans, figures } = this.reporting;
    const parent = context.active();
    const describe = ({ entries, resets }: ReplaySummary): SpanEnd => {
      const reasons = resets.length === 0 ? {} : { [ATTRIBUTE.resetReason]: [...resets] };
      const attributes = { [ATTRIBUTE.entries]: entries, ...reasons };
      trace.getSpan(parent)?.setAttributes(attributes);
      return { attributes };
    };
    const replay = spans.around('sse.replay', parent, () => spans.connection(connectionId), work, describe);
    return replay.then(summary => {
      figures.replayed += summary.entries;
      for (const reason of summary.resets) this.reset(reason, connectionId);
      this.reporting.watcher?.onReplayed(summary.entries);
      return summary;
    });
  }

  reset(reason: ResetReason, connectionId?: string): void {
    this.reporting.figures.resets.add(reason);
    this.reporting.watcher?.onReset(reason, connectionId);
  }

  handling<T>(connection: SseConnection, work: () => T): T {
    // Every connection is a local one; the type that applications see has fewer members.
    const { origin } = connection as LocalConnection;
    const active = context.active();
    const opening = continued(active, origin);
    return opening === active ? work() : context.with(opening, work);
  }

  commanding<R>(command: Command, connectionId: string | undefined, work: () => Promise<R>): Promise<R> {
    const { spans } = this.reporting;
    const facts = () => ({ ...spans.connection(connectionId), [ATTRIBUTE.command]: command });
    return spans.around('sse.command', context.active(), facts, work, commandEnd);
  }

  cause(): string | undefined {
    if (!this.reporting.spans.on || presentCause() === undefined) return undefined;
    return this.carrier.write(context.active(), Date.now());
  }

  closing(text: string | undefined, work: () => number): number {
    const cause = text === undefined || !this.reporting.spans.on ? undefined : this.carrier.read(text)?.context;
    return cause === undefined ? work() : context.with(cause, work);
  }

  stopped(connection: LocalConnection, reason: CloseReason): void {
    // A connection that ends earlier is recorded as an opening that failed.
    if (connection.origin === undefined) return;
    const { spans, figures, meters } = this.reporting;
    const counted = countedReason(reason);
    const age = (performance.now() - connection.openedAt) / 1000;
    figures.closed.add(counted);
    this.reporting.watcher?.onStopped(connection, reason);
    if (reason === 'superseded') figures.takeovers += 1;
    meters.instruments?.record('sse.connection.duration', age, counted);
    const facts = () => ({ ...spans.connection(connection.id), [ATTRIBUTE.closeReason]: reason, [ATTRIBUTE.age]: age });
    if (!spans.on) return;
    // A child of the opening, which ended hours ago, would stretch its trace: the links lead to it and to the cause.
    const links = linksTo(connection.origin);
    const cause = reason === 'client' ? undefined : presentCause();
    if (cause !== undefined) links.push({ context: cause });
    const span = spans.begin('sse.close', ROOT_CONTEXT, facts, { links });
    if (span !== undefined) spans.end(span, () => ({}));
  }

  draining(work: () => Promise<void>): Promise<void> {
    const { spans, figures } = this.reporting;
    const facts = () => ({ [ATTRIBUTE.connections]: figures.gauges?.connections() ?? 0 });
    this.reporting.watcher?.onDraining();
    return spans.around('sse.drain', context.active(), facts, work);
  }
}

/** A context that continues the trace of the opening, if there was one. */
function continued(base: Context, origin: unknown): Context {
  // Only `admitted` sets the origin.
  const opening = origin as SpanContext | undefined;
  if (opening === undefined || trace.getSpanContext(base) === opening || !isSpanContextValid(opening)) return base;
  return trace.setSpanContext(base, opening);
}

/** The span that is going on, here or on the node from which a close comes; not one that ended while its context lived on. */
function presentCause(): SpanContext | undefined {
  const span = trace.getSpan(context.active());
  if (span === undefined) return undefined;
  const spanContext = span.spanContext();
  if ((spanContext.traceFlags & TraceFlags.SAMPLED) === 0) return undefined;
  return span.isRecording() || spanContext.isRemote === true ? spanContext : undefined;
}

type CloseListener = (...args: unknown[]) => void;

/** State that the hook keeps on a response until its head is written. */
interface Watched {
  readonly span: Span;
  /** How the instrumentation hears of the response's end; set as soon as it listens. */
  onClose: CloseListener | undefined;
  /** Whether the span must not show the path. */
  hides: boolean;
}

const WATCHED = Symbol.for('distributed-sse/http-server-span');
type WatchedResponse = ServerResponse & { [WATCHED]?: Watched | undefined };

// Where HTTP instrumentations look for the route (getRPCMetadata of @opentelemetry/core); keys of equal names are equal.
const RPC_METADATA = createContextKey('OpenTelemetry SDK Context Key RPC_METADATA');

/**
 * For `new HttpInstrumentation({ responseHook: sseResponseHook })` of `@opentelemetry/instrumentation-http`, before it any
 * hook of your own. A request that becomes a stream then has its server span ended when the head is out, and is not
 * counted in `http.server.request.duration`, where its hours would distort the figures of other requests. Refused requests
 * and all others are recorded as usual. With `telemetry.hideConnectionIds` the route stands in place of the path, in each
 * request that reaches the middleware.
 */
export function sseResponseHook(span: Span, response: object): void {
  if (!(response instanceof ServerResponse)) return;
  const watched: Watched = { span, onClose: undefined, hides: false };
  (response as WatchedResponse)[WATCHED] = watched;
  // The instrumentation adds its listener right after its hooks, before other code gets the response.
  const note = (event: string | symbol, listener: CloseListener): void => {
    if (event !== 'close') return;
    watched.onClose = listener;
    response.off('newListener', note);
  };
  response.on('newListener', note);
}

/** Ends the server span of a stream. Called when its head is written. */
export function endHttpServerSpan(response: ServerResponse): void {
  const target = response as WatchedResponse;
  const watched = target[WATCHED];
  if (watched === undefined) return;
  target[WATCHED] = undefined;
  if (watched.onClose !== undefined) response.off('close', watched.onClose);
  const { span, hides } = watched;
  const route = rpcMetadata()?.route;
  if (hides) hidePath(span, response, route);
  span.setAttribute('http.response.status_code', response.statusCode);
  if (route !== undefined) {
    span.setAttribute('http.route', route);
    span.updateName(`${response.req.method ?? 'GET'} ${route}`);
  }
  span.end();
}

/** Has the server span of a request show its route in place of its path, which may have a connection id. */
export function hideHttpPath(response: ServerResponse): void {
  const watched = (response as WatchedResponse)[WATCHED];
  if (watched?.span.isRecording() !== true) return;
  watched.hides = true;
  // The route is noted in it when it is known; the context is another one at the end.
  const metadata = rpcMetadata();
  // Before the listener of the instrumentation, which ends the span.
  response.prependOnceListener('close', () => {
    hidePath(watched.span, response, metadata?.route);
  });
}

function hidePath(span: Span, { req: { url } }: ServerResponse, route: string | undefined): void {
  if (!span.isRecording()) return;
  span.setAttribute('url.path', route ?? '*');
  if (url?.includes('?') === true) span.setAttribute('url.query', '');
}

/** Gives the matched path pattern to the HTTP instrumentation, if there is one. */
export function noteHttpRoute(path: string): void {
  const metadata = rpcMetadata();
  if (metadata !== undefined) metadata.route = path;
}

function rpcMetadata(): { route?: string } | undefined {
  // The key is theirs, and so is the type.
  return context.active().getValue(RPC_METADATA) as { route?: string } | undefined;
}
