import { IncomingMessage, ServerResponse } from 'node:http';
import { Http2ServerResponse } from 'node:http2';
import type { Socket } from 'node:net';
import type { SinkListener } from '../contracts/connection.js';
import { SseError } from '../errors.js';
import type { ConnectionSettings } from '../options/sse-options.js';
import { endHttpServerSpan } from '../telemetry/http-span.js';
import { detachSocket } from './detach-socket.js';
import { type RequestSink, ResponseSink, writeStreamHead } from './response-sink.js';

const CLOSE = { Connection: 'close' } as const;
const SINK = Symbol('distributed-sse/sink');
type SinkSocket = Socket & { [SINK]?: SocketSink | undefined };

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
      process.nextTick(() => this.gone());
      return;
    }
    const socket: SinkSocket = this.socket;
    socket[SINK] = this;
    socket.on('drain', onDrain);
    socket.on('close', onSocketClose);
  }

  detach(): void {
    this.#listener = undefined;
    const socket: SinkSocket = this.socket;
    if (socket[SINK] === this) release(socket);
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
    setImmediate(letGo, this, request, response);
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

  /** @internal */
  letGo(request: IncomingMessage, response: ServerResponse): void {
    this.#sendHead();
    if (this.mode !== false) detachSocket(request, response, this.socket);
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

  /** @internal */
  drained(): void {
    this.#listener?.onDrain();
  }

  /** @internal */
  gone(): void {
    this.#listener?.onClose();
  }
}

// Shared by all sockets, so that a connection costs no closure.
function letGo(sink: SocketSink, request: IncomingMessage, response: ServerResponse): void {
  sink.letGo(request, response);
}

function onDrain(this: SinkSocket): void {
  this[SINK]?.drained();
}

function onSocketClose(this: SinkSocket): void {
  const sink = this[SINK];
  release(this);
  sink?.gone();
}

function release(socket: SinkSocket): void {
  socket[SINK] = undefined;
  socket.off('drain', onDrain);
  socket.off('close', onSocketClose);
}

/**
 * The sink for a request that is to become a stream.
 * @param detach `connection.detach`
 * @throws SseError `INVALID_REQUEST` for a pipelined request: its response would wait behind one that never ends;
 * `CONNECTION_CLOSED` when the client is gone already.
 */
export function sinkFor(
  request: object,
  response: object,
  detach: ConnectionSettings['detach'] = 'auto',
): RequestSink {
  if (response instanceof Http2ServerResponse)
    return new ResponseSink(response as Http2ServerResponse);
  if (!(request instanceof IncomingMessage) || !(response instanceof ServerResponse)) {
    throw new SseError(
      'INVALID_REQUEST',
      "a stream needs the request and response of node:http, node:https or node:http2's compatibility layer",
    );
  }
  if (response.socket !== null)
    return new SocketSink(request, response as ServerResponse, response.socket, detach);
  if (request.socket.destroyed) {
    throw new SseError('CONNECTION_CLOSED', 'the client left before its stream was open');
  }
  throw new SseError(
    'INVALID_REQUEST',
    'a pipelined request cannot become a stream; send it on a connection of its own',
  );
}
