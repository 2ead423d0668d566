import type { EventEmitter } from 'node:events';
import type { IncomingMessage, OutgoingHttpHeaders, Server, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import { Socket } from 'node:net';
import type { ConnectionSink, SinkListener } from '../contracts/connection.js';
import type { ConnectionSettings } from '../options/sse-options.js';
import { endHttpServerSpan } from '../telemetry/connections.js';

const CLOSE = { Connection: 'close' } as const;
const SINK = Symbol('distributed-sse/sink');
type SinkSocket = Socket & { [SINK]?: SocketSink | undefined };

/** The sink of a request that may still get an ordinary answer. */
export interface RequestSink extends ConnectionSink {
  /**
   * Undoes {@link attach} for a stream that did not open: the socket may serve further requests, so no listener of this
   * request may stay on it.
   */
  detach(): void;
}

/**
 * HTTP/1.x: the head goes through Node's response, then frames go to the socket as they are. The body has no chunk
 * framing and ends with the connection (RFC 9112, section 6.3). A write then costs one system call instead of a vector of
 * four pieces, and its result says at once whether the operating system took the bytes.
 */
export class SocketSink implements RequestSink {
  #listener: SinkListener | undefined;
  // Set until the head is written.
  #request: IncomingMessage | undefined;
  #response: ServerResponse | undefined;
  // The response whose head waits for the first write.
  #unsent: ServerResponse | undefined;

  /**
   * @param socket the response's socket; a pipelined response has none yet and cannot become a stream
   * @param mode `connection.detach`
   */
  constructor(
    request: IncomingMessage,
    response: ServerResponse,
    private readonly socket: Socket,
    private readonly mode: ConnectionSettings['detach'],
  ) {
    this.#request = request;
    this.#response = response;
  }

  get closed(): boolean {
    return !this.socket.writable;
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
    if (this.closed) return;
    const { socket } = this;
    const request = this.#request;
    const response = this.#response;
    if (request === undefined || response === undefined) return;
    this.#request = undefined;
    this.#response = undefined;
    // Earlier middleware may have set another status, whose text Koa would leave here.
    response.statusMessage = '';
    // Without it the body is not chunked.
    response.removeHeader('Transfer-Encoding');
    writeStreamHead(response, CLOSE);
    this.#unsent = response;
    // A TLS socket that is reset before its first write reports nothing.
    if ('encrypted' in socket) this.#sendHead();
    endHttpServerSpan(response);
    socket.setTimeout(0);
    // An unread body would block the parser, and with it the detection of the client's end.
    request.resume();
    // Later: the request must have ended, and the handler must have run.
    setImmediate(SocketSink.#letGo, this, request, response);
  }

  write(bytes: Buffer): boolean {
    if (this.closed) return true;
    return this.#unsent === undefined ? this.socket.write(bytes) : this.#writeFirst(bytes);
  }

  end(): void {
    if (this.closed) return;
    this.#sendHead();
    this.socket.destroySoon();
  }

  destroy(): void {
    this.socket.destroy();
  }

  /** Sends the head alone. */
  #sendHead(): void {
    this.#unsent?.flushHeaders();
    this.#unsent = undefined;
  }

  /** Writes text, since Node joins only text with the head: one system call and one buffer for both. */
  #writeFirst(bytes: Buffer): boolean {
    const { socket } = this;
    const response = this.#unsent;
    this.#unsent = undefined;
    // A response holds its first write until the next tick, unless its socket is corked already.
    socket.cork();
    const more = response?.write(bytes.toString('latin1'), 'latin1');
    socket.uncork();
    return more !== false;
  }

  // Static: shared by all sockets, so that a connection costs no closure.
  static #letGo(sink: SocketSink, request: IncomingMessage, response: ServerResponse): void {
    sink.#sendHead();
    if (sink.mode !== false) detachSocket(request, response, sink.socket);
  }

  static #onDrain(this: SinkSocket): void {
    const sink = this[SINK];
    if (sink !== undefined) sink.#listener?.onDrain();
  }

  static #onClose(this: SinkSocket): void {
    const sink = this[SINK];
    SocketSink.#release(this);
    if (sink !== undefined) sink.#listener?.onClose();
  }

  static #release(socket: SinkSocket): void {
    socket[SINK] = undefined;
    socket.off('drain', SocketSink.#onDrain);
    socket.off('close', SocketSink.#onClose);
  }
}

/** The response of either protocol. */
type AnyResponse = ServerResponse | Http2ServerResponse;

/** The head of an event stream, beside what the protocol adds. */
export const STREAM_HEADERS = {
  'Content-Type': 'text/event-stream',
  // no-transform keeps compressing middleware and proxies away; nginx buffers without the third header.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/**
 * Writes the head that makes a response an event stream, which proxies and compression leave alone.
 * @param more further headers of the protocol
 */
export function writeStreamHead(response: AnyResponse, more: OutgoingHttpHeaders): void {
  response.removeHeader('Content-Length');
  response.removeHeader('Content-Encoding');
  response.writeHead(200, { ...STREAM_HEADERS, ...more });
}

type Listener = () => void;

/** Private fields that Node's HTTP server sets on a socket. Only this file reads them. */
type HttpSocket = Socket & {
  server?: Server & { httpAllowHalfOpen?: boolean };
  parser?: object | null;
  _httpMessage?: ServerResponse | null;
  _paused?: boolean;
};

/** Releases whose HTTP server this file is tested with. */
const KNOWN_MAJORS: ReadonlySet<number> = new Set([20, 22, 24, 26]);
const KNOWN = KNOWN_MAJORS.has(Number.parseInt(process.versions.node, 10));
// The HTTP server gives each of its sockets methods that look after the parser.
const METHODS = ['on', 'addListener', 'prependListener', 'setEncoding'] as const;

const detachedOf = new WeakMap<Server, Set<Socket>>();

/**
 * Frees what Node's HTTP server holds for a response that has become a stream, several kilobytes per connection: the parser,
 * its listeners, the request and the response. Bytes that the client sends from now on are dropped. The client's end is
 * handled as before, `closeAllConnections` still reaches the socket, and listeners of the response still get `close`.
 *
 * @returns false, and nothing was changed, where this is not the plain HTTP/1 connection of a known release of Node, or
 * its request is still on the way
 */
function detachSocket(request: IncomingMessage, response: ServerResponse, socket: Socket): boolean {
  const http: HttpSocket = socket;
  const { server } = http;
  // A destroyed request was read to its end; the server has no request to abort then.
  if (!KNOWN || !request.complete || !request.destroyed || server === undefined) return false;
  if (Object.getPrototypeOf(socket) !== Socket.prototype || http._httpMessage !== response) return false;
  if (http.parser == null || http._paused === true || socket.destroyed) return false;
  const close = listener(http, 'close', 'bound socketOnClose');
  const closeToo = listener(http, 'close', 'onServerResponseClose');
  const data = listener(http, 'data', 'bound socketOnData');
  const end = listener(http, 'end', 'bound socketOnEnd');
  const drain = listener(http, 'drain', 'bound socketOnDrain');
  const finish = listener(response, 'finish', 'bound resOnFinish');
  if (!close || !closeToo || !data || !end || !drain || !finish) return false;

  socket.on('data', drop);
  // The server's own steps when a connection closes: it frees the parser and removes the socket from its lists. The error
  // of the aborted request has no reader, so the error needs no stack.
  const { stackTraceLimit } = Error;
  Error.stackTraceLimit = 0;
  close();
  Error.stackTraceLimit = stackTraceLimit;
  socket.off('close', close).off('data', data).off('end', end).off('drain', drain);
  if (server.httpAllowHalfOpen !== true) socket.allowHalfOpen = false;
  response.off('finish', finish).on('finish', endSocket);
  // Assigned, since a deleted property would turn the socket into a dictionary.
  for (const name of METHODS) Reflect.set(socket, name, Reflect.get(Socket.prototype, name));
  if (response.listenerCount('close') === 0) {
    http._httpMessage = null;
    socket.off('close', closeToo);
    response.on('newListener', emitCloseToLateListener);
  }
  keep(server, socket);
  return true;
}

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

function emitCloseToLateListener(this: ServerResponse, event: string | symbol): void {
  if (event !== 'close') return;
  this.off('newListener', emitCloseToLateListener);
  this.socket?.once('close', () => this.emit('close'));
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
  socket.on('close', forget);
}

function forget(this: HttpSocket): void {
  if (this.server !== undefined) detachedOf.get(this.server)?.delete(this);
}
