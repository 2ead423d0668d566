import type { ConnectionSink, SinkListener } from '../../src/contracts/connection.js';

/** What was called on a sink that matters to its order. */
export type SinkCall = 'open' | 'write' | 'end' | 'destroy';

/**
 * A sink in memory. Its socket takes everything at once until {@link block} is called; then it takes what
 * {@link progress} and {@link drain} say. Like a real socket it reports its end asynchronously, after an `end` once
 * everything has left.
 */
export class FakeSink implements ConnectionSink {
  /** Calls that came while it was not closed, in order. */
  readonly calls: SinkCall[] = [];
  /** Each write that was accepted. */
  readonly writes: Buffer[] = [];
  pendingBytes = 0;
  #listener: SinkListener | undefined;
  #blocked = false;
  #highWaterMark = 0;
  #closed = false;
  #ended = false;
  #reported = false;
  #failure: Error | undefined;
  #onWrite: (() => void) | undefined;

  get closed(): boolean {
    return this.#closed;
  }

  get opened(): boolean {
    return this.calls.includes('open');
  }

  /** `end` was called, and every accepted byte is written. */
  get ended(): boolean {
    return this.#ended && this.pendingBytes === 0;
  }

  get destroyed(): boolean {
    return this.calls.includes('destroy');
  }

  /** All bytes it accepted. */
  get bytes(): Buffer {
    return Buffer.concat(this.writes);
  }

  get text(): string {
    return this.bytes.toString();
  }

  /** The bytes that left it. */
  get writtenText(): string {
    const { bytes } = this;
    return bytes.subarray(0, bytes.length - this.pendingBytes).toString();
  }

  attach(listener: SinkListener): void {
    this.#listener = listener;
    if (this.#closed) this.#reportLater();
  }

  open(): void {
    if (!this.#closed) this.calls.push('open');
  }

  write(bytes: Buffer): boolean {
    this.#onWrite?.();
    if (this.#closed) return true;
    if (this.#failure !== undefined) throw this.#failure;
    this.calls.push('write');
    this.writes.push(bytes);
    if (!this.#blocked) return true;
    this.pendingBytes += bytes.length;
    return this.pendingBytes < this.#highWaterMark;
  }

  end(): void {
    if (this.#closed) return;
    this.calls.push('end');
    this.#ended = true;
    this.#closed = true;
    if (this.pendingBytes === 0) this.#reportLater();
  }

  destroy(): void {
    if (!this.calls.includes('destroy')) this.calls.push('destroy');
    this.#closed = true;
    this.#reportLater();
  }

  /** From now on the socket takes nothing; it asks to wait once this many bytes are pending. */
  block(highWaterMark = 0): void {
    this.#blocked = true;
    this.#highWaterMark = highWaterMark;
  }

  /** The socket takes some of what is pending, but not enough to go on. */
  progress(bytes: number): void {
    this.pendingBytes -= Math.min(bytes, this.pendingBytes);
  }

  /** The socket writes everything pending, and reports the drain; it goes on writing, unless `blocked`. */
  drain(blocked = false): void {
    this.#blocked = blocked;
    this.pendingBytes = 0;
    this.#listener?.onDrain();
    if (this.#ended) this.#reportLater();
  }

  /** The client goes away, now. */
  leave(): void {
    this.#closed = true;
    this.#report();
  }

  /** The socket breaks; the news comes later. */
  break(): void {
    this.#closed = true;
    this.#reportLater();
  }

  /** The next write calls this first. */
  onNextWrite(action: () => void): void {
    this.#onWrite = () => {
      this.#onWrite = undefined;
      action();
    };
  }

  /** From now on every write throws. */
  failWith(failure: Error): void {
    this.#failure = failure;
  }

  #reportLater(): void {
    process.nextTick(() => this.#report());
  }

  #report(): void {
    if (this.#reported || this.#listener === undefined) return;
    this.#reported = true;
    this.#listener.onClose();
  }
}
