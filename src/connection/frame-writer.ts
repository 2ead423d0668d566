import type { ConnectionSink } from '../contracts/connection-sink.js';
import type { Frame } from '../contracts/frame.js';
import type { Batch } from './batch.js';
import type { ConnectionEnvironment } from './connection-environment.js';
import { Outbox } from './outbox.js';
import type { Watched } from './watchdog.js';
import type { Flushable } from './write-scheduler.js';

/** What became of a frame: it leaves with this tick, waits, was refused, or does not fit and ends the connection. */
export type Acceptance = 'batched' | 'waiting' | 'refused' | 'overflow';

// Large writes go out in pieces, so that a slow socket's progress shows between them.
const PIECE_BYTES = 64 * 1024;

/**
 * Writes one connection's frames to its sink, in order and within the bounds of `outbox.*`.
 *
 * While the socket keeps up, frames gather in a {@link Batch} and leave at the end of the tick. Once it asks for a pause,
 * they wait in an {@link Outbox}. While holding, everything waits except what {@link writeThrough} is given.
 */
export class FrameWriter implements Flushable {
  #batch: Batch;
  #outbox: Outbox | undefined;
  #holding = true;
  #blocked = false;
  #written = 0;
  #taken = 0;
  // Bytes of the socket's own buffer that are counted in the process budget.
  #charged = 0;
  #takenAt = Date.now();
  #waitingSince: number | undefined;

  constructor(
    private readonly sink: ConnectionSink,
    private readonly environment: ConnectionEnvironment,
    private readonly owner: Watched,
  ) {
    this.#batch = environment.scheduler.empty;
  }

  /** Milliseconds of `Date.now()` when the socket last took bytes. */
  get takenAt(): number {
    return this.#takenAt;
  }

  /** Bytes accepted that the socket has not taken. */
  get pendingBytes(): number {
    return this.#batch.bytes + (this.#outbox?.bytes ?? 0) + this.sink.pendingBytes;
  }

  /** Whether the socket asked to wait. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Takes a frame: into this tick's batch, or behind what waits. */
  take(frame: Frame): Acceptance {
    if (this.#holding || this.#blocked) return this.#wait(frame);
    this.writeThrough(frame);
    return 'batched';
  }

  /** Puts a frame into this tick's batch even while holding; for the head of a stream and its replay. */
  writeThrough(frame: Frame): void {
    const scheduled = this.#batch.bytes > 0;
    this.#batch = this.#batch.append(frame);
    if (this.#batch.bytes >= PIECE_BYTES) this.flush();
    else if (!scheduled) this.environment.scheduler.schedule(this);
  }

  /** Writes this tick's batch. */
  flush(): void {
    if (this.#batch.bytes === 0) return;
    const bytes = this.#batch.join();
    this.#batch = this.environment.scheduler.empty;
    if (bytes.length > PIECE_BYTES && !this.#holding) {
      this.#waiting().push({ bytes });
      this.#pump();
    } else {
      this.#put(bytes);
    }
  }

  /** Ends the holding: what was held and is wanted goes first. */
  release(wanted: (frame: Frame) => boolean): void {
    this.#holding = false;
    const held = this.#outbox;
    this.#outbox = undefined;
    if (held === undefined) return;
    for (let frame = held.shift(); frame !== undefined; frame = held.shift()) {
      if (!wanted(frame)) continue;
      if (this.#blocked) this.#waiting().push(frame);
      else this.writeThrough(frame);
    }
  }

  /** The socket can take more. */
  onDrain(): void {
    this.#blocked = false;
    this.#takenAt = Date.now();
    this.#charge(0);
    if (!this.#holding) this.#pump();
  }

  /** Writes everything that waits and `last`, then ends the stream. Held frames are not written: what precedes them may be missing. */
  finish(last: Frame): void {
    this.flush();
    const outbox = this.#outbox;
    if (outbox !== undefined && !this.#holding && !outbox.empty)
      this.#put(outbox.take(outbox.bytes));
    this.#put(last.bytes);
    this.sink.end();
  }

  /** Lets go of everything that waits. */
  discard(): void {
    this.#batch = this.environment.scheduler.empty;
    this.#outbox?.clear();
    this.#outbox = undefined;
    this.#charge(0);
  }

  /** Whether bytes wait, and, when the socket took none for `connection.timeout`, that it is stale. */
  stall(now: number): 'idle' | 'waiting' | 'stale' {
    const pending = this.sink.pendingBytes;
    if (pending === 0) {
      this.#waitingSince = undefined;
      return 'idle';
    }
    const taken = this.#written - pending;
    if (taken > this.#taken) {
      this.#taken = taken;
      this.#takenAt = now;
      this.#waitingSince = now;
    }
    this.#waitingSince ??= now;
    return now - this.#waitingSince < this.environment.watchdog.timeout ? 'waiting' : 'stale';
  }

  #wait(frame: Frame): Acceptance {
    const outbox = this.#waiting();
    while (!this.#fits(frame, outbox)) {
      if (this.environment.policy === 'disconnect') return 'overflow';
      if (this.environment.policy === 'drop-newest' || !outbox.dropOldest()) return 'refused';
    }
    outbox.push(frame);
    return 'waiting';
  }

  #fits(frame: Frame, outbox: Outbox): boolean {
    const { maxBytes, budget } = this.environment;
    const size = frame.bytes.length;
    return outbox.bytes + this.sink.pendingBytes + size <= maxBytes && budget.admits(size);
  }

  #waiting(): Outbox {
    this.#outbox ??= new Outbox(this.environment.budget);
    return this.#outbox;
  }

  #pump(): void {
    const outbox = this.#outbox;
    if (outbox === undefined) return;
    while (!this.#blocked && !outbox.empty) this.#put(outbox.take(PIECE_BYTES));
    if (outbox.empty) this.#outbox = undefined;
  }

  #put(bytes: Buffer): void {
    if (this.sink.closed) return;
    this.#written += bytes.length;
    if (!this.sink.write(bytes)) {
      this.#blocked = true;
      this.#charge(this.sink.pendingBytes);
    }
    if (this.sink.pendingBytes > 0) this.environment.watchdog.watch(this.owner);
    else this.#takenAt = Date.now();
  }

  #charge(bytes: number): void {
    this.environment.budget.add(bytes - this.#charged);
    this.#charged = bytes;
  }
}
