import { createParser, type EventSourceMessage } from 'eventsource-parser';
import type { ConnectionSink, SinkListener } from '../../src/contracts/connection.js';

/** A client's socket in memory: remembers what was written, and is slow, stuck or gone when a test says so. */
export class RecordingSink implements ConnectionSink {
  opened = false;
  /** The server ended the stream. */
  ended = false;
  /** The server cut the socket. */
  destroyed = false;
  pendingBytes = 0;
  /** Most bytes that ever waited here. */
  maxPendingBytes = 0;
  text = '';
  #listener: SinkListener | undefined;
  #blocked = false;
  #gone = false;

  /** @param stuck never takes its last bytes, so that an end does not close it */
  constructor(private readonly stuck = false) {}

  get closed(): boolean {
    return this.#gone || this.ended || this.destroyed;
  }

  /** Whether the socket is closed, by either end. */
  get gone(): boolean {
    return this.#gone;
  }

  get attached(): boolean {
    return this.#listener !== undefined;
  }

  attach(listener: SinkListener): void {
    this.#listener = listener;
    if (this.#gone) queueMicrotask(() => listener.onClose());
  }

  open(): void {
    this.opened = true;
  }

  write(bytes: Buffer): boolean {
    if (this.closed) return true;
    this.text += bytes.toString();
    if (!this.#blocked) return true;
    this.pendingBytes += bytes.length;
    this.maxPendingBytes = Math.max(this.maxPendingBytes, this.pendingBytes);
    return false;
  }

  end(): void {
    if (this.closed) return;
    this.ended = true;
    if (!this.#blocked && !this.stuck) queueMicrotask(() => this.#close());
  }

  destroy(): void {
    if (this.#gone || this.destroyed) return;
    this.destroyed = true;
    queueMicrotask(() => this.#close());
  }

  /** The client stops reading. */
  block(): void {
    this.#blocked = true;
  }

  /** The client reads everything that waits. */
  unblock(): void {
    this.#blocked = false;
    this.pendingBytes = 0;
    if (this.ended) this.#close();
    else this.#listener?.onDrain();
  }

  /** The client reads what waits and stops again. */
  gulp(): void {
    this.pendingBytes = 0;
    this.#listener?.onDrain();
  }

  /** The client goes away. */
  leave(): void {
    this.#close();
  }

  /** What an independent parser makes of everything written. */
  get events(): EventSourceMessage[] {
    const events: EventSourceMessage[] = [];
    const parser = createParser({ onEvent: event => events.push(event) });
    parser.feed(this.text);
    return events;
  }

  /** The reconnection times the server asked for. */
  get retries(): number[] {
    const retries: number[] = [];
    const parser = createParser({ onRetry: retry => retries.push(retry) });
    parser.feed(this.text);
    return retries;
  }

  /** Data of the events with that name; `message` is the default one. */
  data(name: string): string[] {
    return this.events.filter(({ event = 'message' }) => event === name).map(({ data }) => data);
  }

  /** Names of all events in order. */
  get names(): string[] {
    return this.events.map(({ event = 'message' }) => event);
  }

  get lastEvent(): EventSourceMessage | undefined {
    return this.events.at(-1);
  }

  /** The id that the client's `Last-Event-ID` has now. */
  get lastId(): string | undefined {
    return this.events.findLast(({ id }) => id !== undefined)?.id;
  }

  #close(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#listener?.onClose();
  }
}
