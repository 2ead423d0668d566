import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { SinkListener } from '../contracts/connection-sink.js';
import { endHttpServerSpan } from '../telemetry/http-server-span.js';
import type { RequestSink } from './request-sink.js';
import { setStreamHeaders } from './stream-headers.js';

const SINK = Symbol('distributed-sse/sink');
type SinkSocket = Socket & { [SINK]?: SocketSink | undefined };

/**
 * HTTP/1.x: the head goes through Node's response, then frames go to the socket as they are. The body has no chunk
 * framing and ends with the connection (RFC 9112, section 6.3), which costs one system call per write instead of a vector
 * of four pieces, and tells at once whether the operating system took the bytes.
 */
export class SocketSink implements RequestSink {
  #listener: SinkListener | undefined;

  /** @param socket the response's socket; a pipelined response has none yet and cannot become a stream */
  constructor(
    private readonly request: IncomingMessage,
    private readonly response: ServerResponse,
    private readonly socket: Socket,
  ) {}

  get closed(): boolean {
    return this.socket.destroyed || this.socket.writableEnded;
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
    socket.once('close', onSocketClose);
  }

  detach(): void {
    this.#listener = undefined;
    const socket: SinkSocket = this.socket;
    if (socket[SINK] === this) release(socket);
  }

  open(): void {
    if (this.closed) return;
    const { request, response, socket } = this;
    setStreamHeaders(response);
    // Earlier middleware may have set another status, whose text Koa would leave here.
    response.statusMessage = '';
    response.setHeader('Connection', 'close');
    // Without it the body is not chunked.
    response.removeHeader('Transfer-Encoding');
    response.flushHeaders();
    endHttpServerSpan(response);
    socket.setTimeout(0);
    // A body nobody reads would keep the parser, and with it the news of the client's end, waiting.
    request.resume();
  }

  write(bytes: Buffer): boolean {
    return this.closed || this.socket.write(bytes);
  }

  end(): void {
    if (!this.closed) this.socket.destroySoon();
  }

  destroy(): void {
    this.socket.destroy();
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
