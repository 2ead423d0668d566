import type { ConnectionSink, SinkListener } from '../contracts/connection.js';

/** The socket of a client without a network: a sink for the server, a response for the client. */
export class MemorySocket implements ConnectionSink {
  /** Resolves when the server has sent the head. */
  readonly response: Promise<Response>;
  pendingBytes = 0;
  #closed = false;
  #ending = false;
  #slow = false;
  #held: Buffer[] = [];
  #listener: SinkListener | undefined;
  #body: ReadableStreamDefaultController<Uint8Array> | undefined;
  #resolve: (response: Response) => void = () => undefined;

  /** @param signal the client leaves when it aborts */
  constructor(signal: AbortSignal) {
    this.response = new Promise(resolve => (this.#resolve = resolve));
    signal.addEventListener('abort', () => this.#close(() => undefined));
  }

  get closed(): boolean {
    return this.#closed || this.#ending;
  }

  attach(listener: SinkListener): void {
    this.#listener = listener;
    if (this.#closed) queueMicrotask(() => listener.onClose());
  }

  open(): void {
    const body = new ReadableStream<Uint8Array>({ start: controller => (this.#body = controller) });
    this.#resolve(new Response(body, { headers: { 'content-type': 'text/event-stream; charset=utf-8' } }));
  }

  write(bytes: Buffer): boolean {
    if (this.closed) return true;
    if (!this.#slow) {
      this.#body?.enqueue(bytes);
      return true;
    }
    this.#held.push(bytes);
    this.pendingBytes += bytes.length;
    return false;
  }

  end(): void {
    this.#ending = true;
    if (this.#held.length === 0) queueMicrotask(() => this.#close(body => body.close()));
  }

  destroy(): void {
    queueMicrotask(() => this.break());
  }

  /** Whether the client stops reading; what waits is read when it goes on. */
  setSlow(slow: boolean): void {
    this.#slow = slow;
    if (slow) return;
    for (const bytes of this.#held.splice(0)) this.#body?.enqueue(bytes);
    this.pendingBytes = 0;
    if (this.#ending) this.#close(body => body.close());
    else this.#listener?.onDrain();
  }

  /** Breaks the connection, for both ends. */
  break(): void {
    this.#close(body => body.error(new TypeError('the connection broke')));
  }

  #close(finish: (body: ReadableStreamDefaultController<Uint8Array>) => void): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.#body !== undefined) finish(this.#body);
    this.#listener?.onClose();
  }
}
