import { randomUUID } from 'node:crypto';
import { IncomingMessage, ServerResponse } from 'node:http';
import { Http2ServerResponse } from 'node:http2';
import type { Context } from 'koa';
import type { SseConnection } from '../contracts/connection.js';
import type { ConnectionOptions, SseService } from '../contracts/service.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { ResponseSink } from './response-sink.js';
import { type RequestSink, SocketSink, type StreamSettings } from './socket-sink.js';

/** Settings of `ctx.sse.connect`. */
export interface ConnectOptions extends ConnectionOptions {
  /** Default: the header `Last-Event-ID`, else the query parameter `lastEventId`. */
  readonly lastEventId?: string;
}

/** What the middleware puts on every context as `ctx.sse`. */
export interface SseContext {
  /**
   * Turns this request into an event stream and resolves once it is open. Koa does not respond then; the handler may
   * return, the stream goes on. The id defaults to a random one.
   * @throws SseError what `SseService.createConnection` throws, `NOT_ACCEPTABLE`, `INVALID_REQUEST`; the middleware
   * answers it.
   */
  connect(connectionId?: string, options?: ConnectOptions): Promise<SseConnection>;
}

declare module 'koa' {
  interface DefaultContext {
    readonly sse: SseContext;
  }
}

/** One request and the stream it may become. */
export class StreamRequest implements SseContext {
  #connecting = false;
  #connection: SseConnection | undefined;

  constructor(
    private readonly ctx: Context,
    private readonly service: SseService,
    private readonly telemetry: ConnectionTelemetry,
    private readonly settings: StreamSettings,
  ) {}

  /** The stream, once it is open. */
  get connection(): SseConnection | undefined {
    return this.#connection;
  }

  /** @throws SseError `NOT_ACCEPTABLE`, `INVALID_REQUEST` when the request cannot become a stream */
  negotiate(connectionId?: string): void {
    this.#recordRefusal(connectionId, () => {
      checkAccept(this.ctx);
      if (this.ctx.req.method === 'HEAD') {
        throw new SseError('INVALID_REQUEST', 'a HEAD request has no body to stream; send GET or POST');
      }
      if (this.#connecting || this.ctx.headerSent) {
        throw new SseError(
          'INVALID_REQUEST',
          'a request becomes one stream, before anything else is written to it; call connect once',
        );
      }
    });
  }

  async connect(connectionId: string = randomUUID(), options: ConnectOptions = {}): Promise<SseConnection> {
    this.negotiate(connectionId);
    const { req, res } = this.ctx;
    const sink = this.#recordRefusal(connectionId, () => sinkFor(req, res, this.settings));
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
      if (this.ctx.headerSent) becomeStream(this.ctx);
    }
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
    const lastEventId = options.lastEventId ?? lastEventIdOf(ctx);
    const complete = lastEventId === undefined ? options : { ...options, lastEventId };
    try {
      return await this.service.createConnection(connectionId, sink, complete);
    } catch (error) {
      // A sink that has opened still reports its end to the connection, which is closing.
      if (!ctx.headerSent) sink.detach();
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

const MEDIA_TYPE = 'text/event-stream';

/** @throws SseError `NOT_ACCEPTABLE` */
function checkAccept(ctx: Context): void {
  const { accept } = ctx.req.headers;
  // Nearly every client sends one of these; they need no parsing.
  if (accept === undefined || accept === MEDIA_TYPE || accept === '*/*') return;
  if (ctx.accepts(MEDIA_TYPE) !== false) return;
  throw new SseError(
    'NOT_ACCEPTABLE',
    `this answers with ${MEDIA_TYPE}, which the Accept header excludes; accept it, or send no Accept header`,
  );
}

/**
 * The client's last id: the header `Last-Event-ID`, else the query parameter `lastEventId`, since a browser cannot set the
 * header on its first request.
 */
function lastEventIdOf(ctx: Context): string | undefined {
  const header = ctx.req.headers['last-event-id'];
  // Clients send UTF-8 (HTML standard, section 9.2.3), which Node reads as Latin-1.
  if (typeof header === 'string' && header !== '') return Buffer.from(header, 'latin1').toString('utf8');
  if (ctx.req.url?.includes('?') !== true) return undefined;
  const { lastEventId } = ctx.query;
  return typeof lastEventId === 'string' ? lastEventId : undefined;
}

/**
 * Keeps the abrupt end of a client from being reported as an error of the application. Koa passes the socket's error to
 * `ctx.onerror`; for a stream that is an ordinary end.
 */
export function ignoreDisconnects(ctx: Context): void {
  const response: object = ctx.res;
  const socket = response instanceof Http2ServerResponse ? response.stream : ctx.req.socket;
  const report = ctx.onerror.bind(ctx);
  ctx.onerror = error => {
    if (error !== socket.errored) report(error);
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

const DEFAULTS: StreamSettings = { detach: 'auto', keepAlive: false };

/**
 * The sink for a request that is to become a stream.
 * @throws SseError `INVALID_REQUEST` for a pipelined request: its response would wait behind one that never ends;
 * `CONNECTION_CLOSED` when the client is gone already.
 */
export function sinkFor(request: object, response: object, settings = DEFAULTS): RequestSink {
  if (response instanceof Http2ServerResponse) return new ResponseSink(response as Http2ServerResponse);
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
