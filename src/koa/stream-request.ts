import { isUtf8 } from 'node:buffer';
import { randomUUID } from 'node:crypto';
import { type IncomingHttpHeaders, IncomingMessage, ServerResponse } from 'node:http';
import { Http2ServerResponse } from 'node:http2';
import type { Context } from 'koa';
import type { SseConnection } from '../contracts/connection.js';
import type { Logger } from '../contracts/logger.js';
import type { ConnectionOptions, SseService } from '../contracts/service.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { legalLastEventId } from '../protocol/names.js';
import type { RequestLimits } from './guards.js';
import { answerReport, CONFIRM_TYPE } from './reports.js';
import { CompressingSink, ResponseSink } from './sinks.js';
import { type ContentEncoding, type RequestSink, SocketSink, type StreamSettings } from './socket-sink.js';

/** Settings of `ctx.sse.connect`. */
export interface ConnectOptions extends ConnectionOptions {
  /**
   * Default: the header `Last-Event-ID`, else the last of the query parameters `lastEventId`, `last_event_id`,
   * `evs_last_event_id` and `lastEventID`.
   */
  readonly lastEventId?: string | undefined;
  /**
   * Compresses the stream by gzip or brotli when the client accepts it, and flushes with each write. Costs memory and
   * processor time for each connection; see docs/deployment.md. Default false.
   */
  readonly compression?: boolean | undefined;
}

/** What the middleware puts on every context as `ctx.sse`. */
export interface SseContext {
  /**
   * Turns this request into an event stream and resolves once it is open. Koa does not respond then; the handler may
   * return, the stream goes on. The id defaults to a random one. To be called while the request is being handled; the
   * middleware waits for it, and answers a refusal that the route has not answered.
   * @throws SseError what `SseService.createConnection` throws, `NOT_ACCEPTABLE`, `INVALID_REQUEST`, and `FORBIDDEN` for a page of
   * another site (`limits.crossSite`)
   */
  connect(connectionId?: string, options?: ConnectOptions): Promise<SseConnection>;
  /**
   * Answers this request as the report of a client that confirms: for a POST to a route of your own that calls `connect`.
   * Endpoints do so by themselves. @param user who the stream belongs to, as given to `connect`
   * @throws SseError what `SseService.confirm` throws, `FORBIDDEN`, `CONNECTION_CLOSED`
   */
  confirm(user?: string): Promise<void>;
}

declare module 'koa' {
  interface DefaultContext {
    readonly sse: SseContext;
  }
}

/** One request and the stream it may become. */
export class StreamRequest implements SseContext {
  #connecting = false;
  #entered = false;
  #tried = false;
  #connection: SseConnection | undefined;
  #pending: Promise<SseConnection> | undefined;
  #refusal: SseError | undefined;
  #over = false;
  readonly #receivedAt = performance.now();

  constructor(
    private readonly ctx: Context,
    private readonly service: Pick<SseService, 'createConnection' | 'confirm'>,
    private readonly telemetry: Pick<ConnectionTelemetry, 'refused'>,
    private readonly settings: StreamSettings,
    private readonly limits: Pick<RequestLimits, 'enter' | 'addressOf'>,
    private readonly logger: Logger,
  ) {}

  /** The stream, once it is open. */
  get connection(): SseConnection | undefined {
    return this.#connection;
  }

  /** Whether the service was asked for a connection. */
  get tried(): boolean {
    return this.#tried;
  }

  /** Why the latest `connect` of a route opened no stream. */
  get refusal(): SseError | undefined {
    return this.#refusal;
  }

  /** @throws SseError `NOT_ACCEPTABLE`, `INVALID_REQUEST`, `FORBIDDEN` when the request cannot become a stream */
  negotiate(connectionId?: string): void {
    this.#recordRefusal(connectionId, () => {
      if (!this.#entered) this.limits.enter(this.ctx);
      this.#entered = true;
      if (acceptOf(this.ctx.req.headers) === 'excluded') {
        throw new SseError(
          'NOT_ACCEPTABLE',
          `this answers with ${MEDIA_TYPE}, which the Accept header excludes; accept it, or send no Accept header`,
        );
      }
      if (this.#over || this.#connecting || this.ctx.res.headersSent) {
        throw new SseError(
          'INVALID_REQUEST',
          'a request becomes one stream, before anything else is written to it; call connect once, and wait for it; ' +
            'middleware in front must return or await next()',
        );
      }
    });
  }

  connect(connectionId?: string, options?: ConnectOptions): Promise<SseConnection> {
    const first = !this.#connecting;
    const connecting = this.open(connectionId, options);
    if (first) this.#pending = connecting;
    // The route need not wait. Its middleware answers the refusal.
    connecting.catch((error: unknown) => this.#onRefused(error));
    return connecting;
  }

  /** As {@link connect}, for a caller that handles the error. */
  async open(connectionId: string = randomUUID(), settings: ConnectOptions = {}): Promise<SseConnection> {
    const { compression, ...options } = settings;
    this.negotiate(connectionId);
    const { req, res, method } = this.ctx;
    if (method === 'HEAD') {
      throw new SseError('CONNECTION_CLOSED', 'a HEAD request gets the head of a stream, and no connection');
    }
    const encoding = compression === true ? encodingOf(req.headers) : undefined;
    if (compression === true) this.ctx.vary('Accept-Encoding');
    const sink = this.#recordRefusal(connectionId, () =>
      sinkFor(req, res, encoding === undefined ? this.settings : { ...this.settings, encoding }),
    );
    this.#connecting = true;
    try {
      const session = sessionOf(this.ctx);
      if (session !== undefined) await session.manuallyCommit();
      this.#connection = await this.#open(connectionId, sink, options);
      if (this.settings.detach !== false) forgetContext(this.ctx);
      return this.#connection;
    } finally {
      this.#connecting = false;
      // Also after a failure: the stream has begun, so an answer of Koa would be written into it.
      if (this.ctx.res.headersSent) becomeStream(this.ctx);
    }
  }

  async confirm(user?: string): Promise<void> {
    this.limits.enter(this.ctx);
    await answerReport(this.ctx, this.service, user);
  }

  /** Waits for a `connect` that the route has begun. No other can begin afterwards. Never rejects. */
  async finish(): Promise<void> {
    if (this.#pending !== undefined && this.#connection === undefined) {
      await this.#pending.then(undefined, () => undefined);
    }
    this.#over = true;
    this.dropBody();
  }

  #onRefused(error: unknown): void {
    if (SseError.is(error)) this.#refusal = error;
    if (!this.#over) return;
    this.logger.error('a route called connect after it had returned; call connect before, and wait for it', { error });
  }

  /**
   * Drops a body that is not being read. Called when no handler runs any more: a large body that waits to be read would
   * hide the end of the client.
   */
  dropBody(): void {
    const { req } = this.ctx;
    if (this.#connection !== undefined && req.readableFlowing === null) req.resume();
  }

  async #open(connectionId: string, sink: RequestSink, options: ConnectOptions): Promise<SseConnection> {
    const { ctx } = this;
    ignoreDisconnects(ctx);
    const complete: ConnectionOptions = {
      ...options,
      admittedAt: options.admittedAt ?? this.#receivedAt,
      lastEventId: options.lastEventId ?? lastEventIdOf(ctx),
      address: options.address ?? this.limits.addressOf(ctx),
      // Not false: each option that is given is checked.
      confirms: options.confirms === true || ctx.req.headers.accept?.includes(CONFIRM_TYPE) === true || undefined,
    };
    this.#tried = true;
    try {
      return await this.service.createConnection(connectionId, sink, complete);
    } catch (error) {
      // A sink that has opened still reports its end to the connection, which is closing.
      if (!ctx.res.headersSent) sink.detach();
      throw error;
    }
  }

  #recordRefusal<T>(connectionId: string | undefined, step: () => T): T {
    try {
      return step();
    } catch (error) {
      this.telemetry.refused(connectionId, error);
      throw error;
    }
  }
}

/** A session of koa-session. */
interface Session {
  manuallyCommit(): Promise<void>;
}

/**
 * The session of koa-session, to be saved now, since its cookie must be in the head of the stream. The package itself saves
 * it when the other middleware has returned.
 */
function sessionOf(ctx: Context): Session | undefined {
  const session: unknown = ctx['session'];
  if (typeof session !== 'object' || session === null || !('manuallyCommit' in session)) return undefined;
  // The type of the package: other sessions have no such method.
  return session as Session;
}

/** Keeps Koa and other middleware from writing an answer, or headers, into the stream. */
function becomeStream(ctx: Context): void {
  ctx.respond = false;
  // Koa's own methods ignore headers that come too late; the package cookies calls the response, which would throw.
  ctx.res.setHeader = ignoreHeader;
}

function ignoreHeader<T>(this: T): T {
  return this;
}

const DEFAULTS: StreamSettings = { detach: 'auto', keepAlive: false };

/**
 * The sink for a request that is to become a stream.
 * @throws SseError `INVALID_REQUEST` for a pipelined request: its response would wait behind one that never ends;
 * `CONNECTION_CLOSED` when the client is gone already.
 */
export function sinkFor(request: object, response: object, settings = DEFAULTS): RequestSink {
  const sink = plainSinkFor(request, response, settings);
  return settings.encoding === undefined ? sink : new CompressingSink(sink, settings.encoding);
}

function plainSinkFor(request: object, response: object, settings: StreamSettings): RequestSink {
  if (response instanceof Http2ServerResponse)
    return new ResponseSink(response as Http2ServerResponse, settings.encoding);
  if (!(request instanceof IncomingMessage) || !(response instanceof ServerResponse)) {
    throw new SseError(
      'INVALID_REQUEST',
      "a stream needs the request and response of node:http, node:https or node:http2's compatibility layer",
    );
  }
  if (response.socket !== null) return new SocketSink(request, response as ServerResponse, response.socket, settings);
  if (request.socket.destroyed) throw new SseError('CONNECTION_CLOSED', 'the client left before its stream was open');
  throw new SseError(
    'INVALID_REQUEST',
    'a pipelined request cannot become a stream; send it on a connection of its own',
  );
}

/** The media type of event streams (HTML standard, section 9.2.8). */
const MEDIA_TYPE = 'text/event-stream';

/** What an Accept header says about event streams: it names the type, allows it without naming it, or excludes it. */
type Acceptance = 'named' | 'allowed' | 'excluded';

// The most specific range decides (RFC 9110, section 12.5.1).
const RANGES: readonly string[] = [MEDIA_TYPE, 'text/*', '*/*'];

/** Whether a client accepts an event stream. An EventSource names the type. */
export function acceptOf({ accept }: IncomingHttpHeaders): Acceptance {
  // Nearly every client sends one of these; they need no parsing.
  if (accept === MEDIA_TYPE) return 'named';
  if (accept === undefined || accept === '*/*' || accept.trim() === '') return 'allowed';
  const weights = RANGES.map(() => -1);
  // Other parameters, such as a character set, choose no other stream.
  for (const [range, weight] of weighted(accept, 1)) {
    const index = RANGES.indexOf(range);
    if (index >= 0) weights[index] = Math.max(weights[index] ?? -1, weight);
  }
  const index = weights.findIndex(weight => weight >= 0);
  if ((weights[index] ?? 0) === 0) return 'excluded';
  return index === 0 ? 'named' : 'allowed';
}

// In the order of choice where the client has none: brotli compresses events as well and takes more than three times the memory.
const ENCODINGS: readonly ContentEncoding[] = ['gzip', 'br'];

/** The encoding that a client prefers by its header `Accept-Encoding` (RFC 9110, section 12.5.3); `undefined`: none. */
export function encodingOf({ 'accept-encoding': accepted }: IncomingHttpHeaders): ContentEncoding | undefined {
  if (typeof accepted !== 'string') return undefined;
  const weights = new Map(weighted(accepted, 0));
  const weightOf = (name: string): number => weights.get(name) ?? weights.get('*') ?? 0;
  const best = ENCODINGS.toSorted((one, other) => weightOf(other) - weightOf(one))[0];
  return best !== undefined && weightOf(best) > 0 && weightOf(best) >= (weights.get('identity') ?? 0)
    ? best
    : undefined;
}

/** The items of a header with their weights, in lower case. @param broken the weight where `q` is no number */
function* weighted(header: string, broken: number): Iterable<[item: string, weight: number]> {
  for (const part of header.toLowerCase().split(',')) {
    const [item = '', ...parameters] = part.split(';').map(each => each.trim());
    const weight = Number(parameters.find(parameter => parameter.startsWith('q='))?.slice(2) ?? 1);
    yield [item, Number.isNaN(weight) ? broken : weight];
  }
}

// The names that polyfills of EventSource use, which cannot set the header.
const QUERY_NAMES: ReadonlySet<string> = new Set(['lastEventId', 'last_event_id', 'evs_last_event_id', 'lastEventID']);

/**
 * The client's last id if it is a legal one: the header `Last-Event-ID`, else the last query parameter of one of the names,
 * since a browser cannot set the header on its first request.
 */
export function lastEventIdOf({ req }: Context): string | undefined {
  const header = req.headers['last-event-id'];
  if (typeof header === 'string' && header !== '') {
    // Node joins repeated headers by commas, and an id may have one in it.
    const value = header.includes(', ') ? lastHeader(req.rawHeaders) : header;
    // Clients send UTF-8 (HTML standard, section 9.2.3), which Node reads as Latin-1.
    const bytes = Buffer.from(value, 'latin1');
    return isUtf8(bytes) ? legalLastEventId(bytes.toString('utf8')) : undefined;
  }
  const url = req.url ?? '';
  const start = url.indexOf('?');
  return start < 0 ? undefined : lastEventIdInQuery(url.slice(start + 1));
}

function lastHeader(raw: readonly string[]): string {
  const index = raw.findLastIndex((name, at) => at % 2 === 0 && name.toLowerCase() === 'last-event-id');
  return raw[index + 1] ?? '';
}

function lastEventIdInQuery(query: string): string | undefined {
  let last: string | undefined;
  for (const pair of query.split('&')) {
    const [name = '', ...value] = pair.split('=');
    if (QUERY_NAMES.has(name) && value.join('=') !== '') last = value.join('=');
  }
  try {
    return last && legalLastEventId(decodeURIComponent(last.replaceAll('+', ' ')));
  } catch {
    // Broken percent-encoding is no id.
    return undefined;
  }
}

/**
 * Keeps the abrupt end of a client from being reported as an error of the application. Koa passes the socket's error to
 * `ctx.onerror`; for a stream that is an ordinary end.
 */
export function ignoreDisconnects(ctx: Context): void {
  const response: object = ctx.res;
  const socket = response instanceof Http2ServerResponse ? response.stream : ctx.req.socket;
  const report = ctx.onerror.bind(ctx);
  ctx.onerror = (error: Error | null) => {
    // Koa calls it for each response that ends, with null where nothing failed.
    if (error !== null && error !== socket.errored) report(error);
  };
}

/** What the package on-finished keeps on a response. */
interface Awaited {
  __onFinished?: { readonly queue?: readonly unknown[] | null } | null;
}

/**
 * Ends Koa's own wait for the end of the response, which would hold the context as long as the socket lives. When other
 * middleware waits in the same queue, such as an access logger, the queue and the context stay.
 */
function forgetContext({ res }: Context): void {
  const response: Awaited & typeof res = res;
  // Koa was first. Only on-finished listens for `end` on a response: Node never emits it.
  if (response.__onFinished?.queue?.length === 1) response.emit('end');
}
