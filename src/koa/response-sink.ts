import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';
import type { ConnectionSink, SinkListener } from '../contracts/connection.js';

/** The sink of a request that may still get an ordinary answer. */
export interface RequestSink extends ConnectionSink {
  /**
   * Undoes {@link attach} for a stream that did not open: the socket may serve further requests, so no listener of this
   * request may stay on it.
   */
  detach(): void;
}

/** HTTP/2 through Node's compatibility layer: one stream of a shared session. */
export class ResponseSink implements RequestSink {
  #listener: SinkListener | undefined;
  #ended = false;

  constructor(private readonly response: Http2ServerResponse) {}

  get closed(): boolean {
    return this.#ended || this.response.stream.destroyed || this.response.stream.closed;
  }

  get pendingBytes(): number {
    return this.response.writableLength;
  }

  attach(listener: SinkListener): void {
    this.#listener = listener;
    if (this.closed) {
      process.nextTick(() => this.#listener?.onClose());
      return;
    }
    this.response.stream.on('drain', () => this.#listener?.onDrain());
    this.response.stream.once('close', () => this.#listener?.onClose());
  }

  detach(): void {
    // The stream's listeners may stay: it serves this request alone.
    this.#listener = undefined;
  }

  open(): void {
    if (this.closed) return;
    writeStreamHead(this.response, {});
  }

  write(bytes: Buffer): boolean {
    return this.closed || this.response.write(bytes);
  }

  end(): void {
    if (this.closed) return;
    this.#ended = true;
    this.response.end();
  }

  destroy(): void {
    this.response.stream.destroy();
  }
}

/** The response of either protocol. */
type AnyResponse = ServerResponse | Http2ServerResponse;

const HEADERS = {
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
  response.writeHead(200, { ...HEADERS, ...more });
}
