import { channel } from 'node:diagnostics_channel';
import type { EventEmitter } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { Socket } from 'node:net';
import type { ConnectionSink, SinkListener } from '../contracts/connection.js';
import { SseError } from '../errors.js';
import type { ConnectionSettings } from '../options/sse-options.js';
import { endHttpServerSpan } from '../telemetry/connections.js';

const SINK = Symbol('distributed-sse/sink');
type SinkSocket = HttpSocket & { [SINK]?: SocketSink | undefined };

/** The sink of a request that may still get an ordinary answer. */
export interface RequestSink extends ConnectionSink {
  /**
   * Undoes {@link attach} for a stream that did not open: the socket may serve further requests, so no listener of this
   * request may stay on it.
   */
  detach(): void;
}

/**
 * HTTP/1.x: the head goes through Node's response, then frames go to the socket. On HTTP/1.1 each write is one chunk, so
 * that a stream that breaks is an error for its reader (RFC 9112, section 8); on HTTP/1.0 the body ends with the connection.
 * A write is one buffer and one system call, and its result says at once whether the operating system accepted the bytes.
 *
 * For the rest of the process the response is like any other: it ends, finishes and closes with the stream.
 */
export class SocketSink implements RequestSink {
  encode: ((bytes: Buffer) => Buffer) | undefined;
  readonly asynchronous: boolean;
  #listener: SinkListener | undefined;
  // Set until the head is written.
  #request: IncomingMessage | undefined;
  // Of an open stream: a weak reference once the stream is detached.
  #response: ServerResponse | WeakRef<ServerResponse>;
  // Whether the head waits for the first write.
  #unsent = false;
  #ended = false;

  /**
   * @param socket the response's socket; a pipelined response has none yet and cannot become a stream
   * @param settings `connection.detach` and `connection.keepAlive`
   */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    private readonly socket: Socket,
    private readonly settings: StreamSettings,
  ) {
    this.#request = request;
    this.#response = response;
    this.asynchronous = 'encrypted' in socket;
  }

  get closed(): boolean {
    return this.#ended || !this.socket.writable;
  }

  get pendingBytes(): number {
    return this.socket.writableLength;
  }

  attach(listener: SinkListener): void {
    this.#listener = listener;
    if (this.closed) {
      process.nextTick(() => this.#listener?.onClose());
      return;
    }
    const socket: SinkSocket = this.socket;
    socket[SINK] = this;
    socket.on('drain', SocketSink.#onDrain);
    socket.on('close', SocketSink.#onClose);
  }

  detach(): void {
    this.#listener = undefined;
    const socket: SinkSocket = this.socket;
    if (socket[SINK] === this) SocketSink.#release(socket);
  }

  open(): void {
    const request = this.#request;
    const response = this.#response;
    if (this.closed || request === undefined || response instanceof WeakRef) return;
    this.#request = undefined;
    // Earlier middleware may have set another status, whose text Koa would leave here.
    response.statusMessage = '';
    if (request.httpVersion === '1.0') response.removeHeader('Transfer-Encoding');
    else this.encode = chunk;
    writeStreamHead(response, this.encode === undefined ? CLOSE : CHUNKED, this.settings.encoding);
    this.#unsent = true;
    // A TLS socket that is reset before its first write reports nothing.
    if (this.asynchronous) this.#sendHead();
    endHttpServerSpan(response);
    const { socket, settings } = this;
    socket.setTimeout(0);
    if (settings.keepAlive !== false) socket.setKeepAlive(true, settings.keepAlive);
    // A request without a body is over; a body stays for the handler, which may read it later.
    if (!mayHaveBody(request)) request.resume();
    // Later: the request must have ended, and the handler must have run.
    setImmediate(SocketSink.#letGo, this, request, response);
  }

  write(bytes: Buffer): boolean {
    if (this.closed) return true;
    return this.#unsent ? this.#writeFirst(bytes) : this.socket.write(bytes);
  }

  end(): void {
    if (this.closed) return;
    this.#ended = true;
    const response = this.#reattached();
    if (response !== undefined) {
      response.end();
      return;
    }
    if (this.encode !== undefined) this.socket.write(LAST_CHUNK, 'latin1');
    this.socket.destroySoon();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** The response, if anything still refers to it, as the one that the socket serves. */
  #reattached(): ServerResponse | undefined {
    const response = this.#response;
    if (!(response instanceof WeakRef)) return response;
    const alive = response.deref();
    if (alive !== undefined) reattach(alive);
    return alive;
  }

  /** Sends the head alone. */
  #sendHead(): void {
    if (this.#unsent && !(this.#response instanceof WeakRef)) this.#response.flushHeaders();
    this.#unsent = false;
  }

  /** Writes head and bytes as one text: one system call and one buffer for both. */
  #writeFirst(bytes: Buffer): boolean {
    this.#unsent = false;
    // The types have no private method. It is no weak reference yet, since the head is unsent.
    const response = this.#response as PrivateResponse;
    return response._send(bytes.toString('latin1'), 'latin1');
  }

  // Static: shared by all sockets, so that a connection costs no closure.
  static #letGo(sink: SocketSink, request: IncomingMessage, response: ServerResponse): void {
    sink.#sendHead();
    if (sink.settings.detach === false || sink.#ended) return;
    if (detachSocket(request, response, sink.socket)) sink.#response = new WeakRef(response);
  }

  static #onDrain(this: SinkSocket): void {
    const sink = this[SINK];
    if (sink !== undefined) sink.#listener?.onDrain();
  }

  static #onClose(this: SinkSocket): void {
    const sink = this[SINK];
    SocketSink.#release(this);
    if (sink === undefined) return;
    if (this.server !== undefined) detachedOf.get(this.server)?.delete(this);
    // Node's own listener came too late for this event.
    if (this._httpMessage === DETACHED && sink.#reattached())
      listener(this, 'close', 'onServerResponseClose')?.call(this);
    sink.#listener?.onClose();
  }

  static #release(socket: SinkSocket): void {
    socket[SINK] = undefined;
    socket.off('drain', SocketSink.#onDrain);
    socket.off('close', SocketSink.#onClose);
  }
}

/** How the body of a stream is compressed. */
export type ContentEncoding = 'gzip' | 'br';

/** What the sink of a request needs of the settings. */
export interface StreamSettings extends Pick<ConnectionSettings, 'detach' | 'keepAlive'> {
  /** Names in the head how the body is compressed. Default: not at all. */
  readonly encoding?: ContentEncoding | undefined;
}

const LAST_CHUNK = '0\r\n\r\n';

/** One chunk of HTTP/1.1 (RFC 9112, section 7.1). */
function chunk(bytes: Buffer): Buffer {
  const size = `${bytes.length.toString(16)}\r\n`;
  const framed = Buffer.allocUnsafe(size.length + bytes.length + 2);
  framed.write(size, 'latin1');
  framed.set(bytes, size.length);
  framed.write('\r\n', framed.length - 2, 'latin1');
  return framed;
}

function mayHaveBody({ method, headers }: IncomingMessage): boolean {
  return method !== 'GET' || headers['content-length'] !== undefined || headers['transfer-encoding'] !== undefined;
}

/** The response of either protocol. */
type AnyResponse = ServerResponse | Http2ServerResponse;

/** The head of an event stream, beside what the protocol adds. */
export const STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  // A stream may be for one user alone. no-transform keeps compressing middleware and proxies away; nginx buffers without the third header.
  'Cache-Control': 'no-store, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

const CLOSE = { ...STREAM_HEADERS, Connection: 'close' } as const;
const CHUNKED = { ...CLOSE, 'Transfer-Encoding': 'chunked' } as const;

/**
 * Writes the head that makes a response an event stream, which proxies and compression leave alone.
 * @param headers those of {@link STREAM_HEADERS}, and more of the protocol
 * @throws SseError `INVALID_REQUEST` where a handler has answered the request itself
 */
export function writeStreamHead(
  response: AnyResponse,
  headers: OutgoingHttpHeaders,
  encoding: ContentEncoding | undefined,
): void {
  if (response.headersSent) {
    throw new SseError(
      'INVALID_REQUEST',
      'a stream must write the head of its response itself, got one that is out; call connection.send instead of ctx.res.write',
    );
  }
  response.removeHeader('Content-Length');
  if (encoding === undefined) response.removeHeader('Content-Encoding');
  else response.setHeader('Content-Encoding', encoding);
  response.writeHead(200, headers);
}

type Listener = (this: unknown) => void;

/** A private method of Node's responses, the same in all releases. Only this file calls it. */
type PrivateResponse = ServerResponse & {
  readonly _eventsCount?: number;
  _send(text: string, encoding: 'latin1'): boolean;
};

/** Private fields that Node's HTTP server sets on a socket. Only this file reads them. */
type HttpSocket = Socket & {
  server?: Server & { httpAllowHalfOpen?: boolean };
  parser?: { readonly incoming?: IncomingMessage | null } | null;
  _httpMessage?: ServerResponse | typeof DETACHED | null;
  _paused?: boolean;
};

/**
 * Stands on a socket for the response that it serves and that nothing refers to. Libraries that end a server look there for a
 * response that is under way, and so does Node.
 */
const DETACHED = { headersSent: true, _headerSent: true, finished: false, emit: (): boolean => false } as const;

/** Releases whose HTTP server this file is tested with. */
const KNOWN_MAJORS: ReadonlySet<number> = new Set([20, 22, 24, 26]);
const KNOWN = KNOWN_MAJORS.has(Number.parseInt(process.versions.node, 10));
// The HTTP server gives each of its sockets methods that look after the parser. These are the plain ones.
const { prototype: PLAIN } = Socket;

const detachedOf = new WeakMap<Server, Set<Socket>>();
const finished = channel('http.server.response.finish');

/**
 * Frees what Node's HTTP server holds for a response that has become a stream, several kilobytes per connection: the parser,
 * its listeners, the request and the response. Bytes that the client sends from now on are dropped. The client's end is
 * handled as before, and `closeAllConnections` still reaches the socket. A response that the application refers to is
 * reattached by {@link reattach} when it is used or its stream ends.
 *
 * @returns false, and nothing was changed, where this is not the plain HTTP/1 connection of a known release of Node, its
 * request is still on the way, another request follows it, or something waits for an event of the response
 */
function detachSocket(request: IncomingMessage, response: ServerResponse, socket: Socket): boolean {
  const http: HttpSocket = socket;
  const { server, parser } = http;
  // A destroyed request was read to its end; the server has no request to abort then.
  if (!KNOWN || !request.complete || !request.destroyed || server === undefined) return false;
  if (Object.getPrototypeOf(socket) !== Socket.prototype || http._httpMessage !== response) return false;
  if (parser?.incoming !== request || http._paused === true || socket.destroyed) return false;
  if (finished.hasSubscribers || isAwaited(response)) return false;
  const close = listener(http, 'close', 'bound socketOnClose');
  const data = listener(http, 'data', 'bound socketOnData');
  const end = listener(http, 'end', 'bound socketOnEnd');
  const drain = listener(http, 'drain', 'bound socketOnDrain');
  const finish = listener(response, 'finish', 'bound resOnFinish');
  if (!close || !data || !end || !drain || !finish) return false;

  socket.on('data', drop);
  // The server's own steps when a connection closes: it frees the parser and removes the socket from its lists. The error
  // of the aborted request has no reader, so the error needs no stack.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  close();
  Error.stackTraceLimit = stackTraceLimit;
  socket.off('close', close).off('data', data).off('end', end).off('drain', drain);
  if (server.httpAllowHalfOpen !== true) socket.allowHalfOpen = false;
  // Assigned, since a deleted property would turn the socket into a dictionary.
  /* eslint-disable @typescript-eslint/unbound-method -- they become methods of the socket */
  socket.on = PLAIN.on;
  socket.addListener = PLAIN.addListener;
  socket.prependListener = PLAIN.prependListener;
  socket.setEncoding = PLAIN.setEncoding;
  /* eslint-enable @typescript-eslint/unbound-method */
  response.detachSocket(socket);
  http._httpMessage = DETACHED;
  Reflect.set(response, 'socket', socket);
  response.off('finish', finish).on('newListener', reattachThis);
  Object.assign(response, USES);
  keep(server, socket);
  return true;
}

/** Whether anything but the server waits for an event of the response. */
function isAwaited(response: Pick<PrivateResponse, '_eventsCount' | 'listenerCount'>): boolean {
  return response.listenerCount('finish') > 1 || response._eventsCount !== 1;
}

/** Makes the response of a detached stream the one that its socket serves again. */
function reattach(response: ServerResponse): void {
  const socket: HttpSocket | null = response.socket;
  if (socket?._httpMessage !== DETACHED) return;
  response.off('newListener', reattachThis).on('finish', endSocket);
  for (const name of Object.keys(USES)) Reflect.deleteProperty(response, name);
  socket._httpMessage = null;
  response.assignSocket(socket);
}

function reattachThis(this: ServerResponse): void {
  reattach(this);
}

/** The calls by which an application uses a response whose head is sent. */
const USES = {
  write(this: ServerResponse, ...args: Parameters<ServerResponse['write']>): boolean {
    reattach(this);
    return this.write(...args);
  },
  end(this: ServerResponse, ...args: Parameters<ServerResponse['end']>): ServerResponse {
    reattach(this);
    return this.end(...args);
  },
};

/** One of the server's own listeners. */
function listener(emitter: EventEmitter, event: string, name: string): Listener | undefined {
  // Node types them as functions of anything; these are called with nothing here.
  const all = emitter.rawListeners(event) as Listener[];
  return all.find(each => each.name === name);
}

// Shared by all sockets, so that a connection costs no closure.
function drop(): void {
  // A client sends nothing in an event stream.
}

function endSocket(this: ServerResponse): void {
  this.socket?.destroySoon();
}

/** The server knows its connections by their parsers. This set keeps the sockets without one. */
function keep(server: Server, socket: Socket): void {
  let detached = detachedOf.get(server);
  if (detached === undefined) {
    const sockets = new Set<Socket>();
    detached = sockets;
    detachedOf.set(server, sockets);
    const closeOthers = server.closeAllConnections.bind(server);
    server.closeAllConnections = () => {
      closeOthers();
      for (const one of sockets) one.destroy();
    };
  }
  detached.add(socket);
}
