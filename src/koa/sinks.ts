import { constants as http2, type Http2ServerResponse, type Http2Session } from 'node:http2';
import { type BrotliCompress, constants as zlib, createBrotliCompress, createGzip, type Gzip } from 'node:zlib';
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
    session.goaway(http2.NGHTTP2_NO_ERROR);
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

/**
 * Compresses what a connection writes, and gives it to the sink of the request. The bytes of each write leave at once, so
 * no event waits for the next one. Each connection has a compressor of its own, which remembers what it sent before.
 */
export class CompressingSink implements RequestSink {
  readonly asynchronous = true;
  #listener: SinkListener | undefined;
  // Created with the head: a refused request needs none.
  #compressor: Gzip | BrotliCompress | undefined;
  #ended = false;

  constructor(
    private readonly sink: RequestSink,
    private readonly encoding: ContentEncoding,
  ) {}

  get closed(): boolean {
    return this.#ended || this.sink.closed;
  }

  get pendingBytes(): number {
    return (this.#compressor?.writableLength ?? 0) + this.sink.pendingBytes;
  }

  attach(listener: SinkListener): void {
    this.#listener = listener;
    this.sink.attach({
      onDrain: () => this.#compressor?.resume(),
      onClose: () => {
        this.#compressor?.destroy();
        listener.onClose();
      },
    });
  }

  detach(): void {
    this.#listener = undefined;
    this.sink.detach();
  }

  open(): void {
    if (this.closed || this.#compressor !== undefined) return;
    this.sink.open();
    const compressor = compressorOf(this.encoding);
    this.#compressor = compressor;
    compressor.on('data', (bytes: Buffer) => {
      if (!this.sink.write(this.sink.encode?.(bytes) ?? bytes)) compressor.pause();
    });
    compressor.on('drain', () => this.#listener?.onDrain());
    compressor.on('end', () => {
      this.sink.end();
    });
    compressor.on('error', () => {
      this.sink.destroy();
    });
  }

  write(bytes: Buffer): boolean {
    return this.closed || this.#compressor === undefined || this.#compressor.write(bytes);
  }

  goAway(): void {
    this.sink.goAway?.();
  }

  end(): void {
    if (this.closed) return;
    this.#ended = true;
    this.#compressor?.end();
  }

  destroy(): void {
    this.#compressor?.destroy();
    this.sink.destroy();
  }
}

// A window of 16 KB: 210 KB of memory for gzip, 740 KB for brotli, and events as small as with larger windows.
function compressorOf(encoding: ContentEncoding): Gzip | BrotliCompress {
  if (encoding === 'gzip') {
    return createGzip({ flush: zlib.Z_SYNC_FLUSH, windowBits: 14, memLevel: 6, chunkSize: 4096 });
  }
  return createBrotliCompress({
    flush: zlib.BROTLI_OPERATION_FLUSH,
    chunkSize: 4096,
    params: {
      [zlib.BROTLI_PARAM_QUALITY]: 4,
      [zlib.BROTLI_PARAM_LGWIN]: 14,
      [zlib.BROTLI_PARAM_MODE]: zlib.BROTLI_MODE_TEXT,
    },
  });
}
