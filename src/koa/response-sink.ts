import { constants, type Http2ServerResponse, type Http2Session } from 'node:http2';
import type { SinkListener } from '../contracts/connection.js';
import { type ContentEncoding, type RequestSink, STREAM_HEADERS, writeStreamHead } from './socket-sink.js';

// Sessions whose clients were asked to go.
const leaving = new WeakSet<Http2Session>();

/** HTTP/2 through Node's compatibility layer: one stream of a shared session. */
export class ResponseSink implements RequestSink {
  readonly asynchronous = true;
  #listener: SinkListener | undefined;
  #ended = false;

  constructor(
    private readonly response: Http2ServerResponse,
    private readonly encoding: ContentEncoding | undefined,
  ) {}

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
    writeStreamHead(this.response, STREAM_HEADERS, this.encoding);
  }

  write(bytes: Buffer): boolean {
    return this.closed || this.response.write(bytes);
  }

  goAway(): void {
    const { session } = this.response.stream;
    if (session === undefined || session.destroyed || leaving.has(session)) return;
    leaving.add(session);
    // It names the last request that was accepted; clients repeat later ones elsewhere (RFC 9113, section 6.8).
    session.goaway(constants.NGHTTP2_NO_ERROR);
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
