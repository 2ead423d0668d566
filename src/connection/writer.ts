import type { CloseReason, ConnectionSink, ConnectionState } from '../contracts/connection.js';
import type { Frame, LocalResult } from '../contracts/events.js';
import { ResetFrame } from '../protocol/event-stream.js';
import { BUFFERED, DELIVERED, rejected } from './direct-send.js';
import type { ConnectionEnvironment } from './environment.js';
import { Piece, PIECE_BYTES } from './pages.js';
import type { Batch, Flushable, Watched } from './scheduler.js';
import { type BudgetHolder, SendBuffer } from './send-buffer.js';

const FULL = rejected('SEND_BUFFER_FULL');

/** The connection a writer writes for. Its state says what the writer does with frames. */
interface WriterOwner extends Watched {
  readonly id: string;
  readonly state: ConnectionState;
  cut(reason: CloseReason): void;
  /** The event for a client that does not get a frame; `undefined` when the frame is no entry of the log. */
  resetForDropped(dropped: Frame): ResetFrame | undefined;
}

// An asynchronous sink that has accepted nothing for so long is slow. Long enough for a turn of a busy event loop.
const LATE_MS = 1000;

/**
 * Writes the frames of one connection to its sink, in order and within the bounds of `sendBuffer.*`.
 *
 * While the socket keeps up, frames gather in a {@link Batch} and leave at the end of the tick. Once the socket asks for a
 * pause, frames wait in a {@link SendBuffer}. While the connection is `opening`, frames that are held wait in another one,
 * behind everything that is written meanwhile. While it is `draining`, the waiting frames leave and then the sink ends.
 */
export class FrameWriter implements Flushable, BudgetHolder {
  #batch: Batch;
  #sendBuffer: SendBuffer | undefined;
  // Frames that arrived while the connection opened.
  #held: SendBuffer | undefined;
  // Follows all frames that wait: it stands for later frames, which were rejected.
  #reset: ResetFrame | undefined;
  #scheduled = false;
  #blocked = false;
  #finishing = false;
  #written = 0;
  #accepted = 0;
  // Bytes of the socket's own buffer that are counted in the process budget.
  #charged = 0;
  #progressAt = performance.now();
  #waitingSince: number | undefined;
  // When an asynchronous sink last began to have bytes that wait.
  #startedAt = 0;

  constructor(
    private readonly sink: ConnectionSink,
    private readonly environment: ConnectionEnvironment,
    private readonly owner: WriterOwner,
  ) {
    this.#batch = environment.scheduler.empty;
  }

  /** When the socket last accepted bytes, by the monotonic clock. */
  get progressAt(): number {
    return this.#progressAt;
  }

  /** Bytes of all frames that the socket has not accepted. */
  get pendingBytes(): number {
    return this.#batch.bytes + (this.#sendBuffer?.bytes ?? 0) + (this.#held?.bytes ?? 0) + this.sink.pendingBytes;
  }

  /** Whether the socket asked for a pause. Nothing waits in the send buffer of a connection that is not blocked. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /**
   * Whether the socket keeps up: nothing waits for it, or, where it accepts bytes only after the call, nothing has waited
   * for long.
   */
  get keepsUp(): boolean {
    if (this.sink.pendingBytes === 0) return true;
    if (this.#blocked || this.sink.asynchronous !== true) return false;
    return performance.now() - Math.max(this.#progressAt, this.#startedAt) < LATE_MS;
  }

  /** What became of the latest frame, as its buffers show; `undefined` when there was none. */
  get lastOutcome(): LocalResult['outcome'] | undefined {
    if (this.#reset !== undefined) return 'rejected';
    if (this.#sendBuffer !== undefined || this.#held !== undefined || !this.keepsUp) return 'buffered';
    return this.#written > 0 || this.#batch.bytes > 0 ? 'delivered' : undefined;
  }

  /** Whether bytes can no longer reach the client. */
  get gone(): boolean {
    return this.owner.state.kind === 'closed' || this.sink.closed;
  }

  /** Puts a frame into this tick's batch, or behind the frames that wait for the socket, as far as these may grow. */
  enqueue(frame: Frame): LocalResult {
    if (this.#blocked) return this.#wait(frame, this.#waiting(), this.sink.pendingBytes);
    this.#write(frame);
    return DELIVERED;
  }

  /** Puts a frame behind the frames that were held. Only while the connection opens. */
  hold(frame: Frame): LocalResult {
    this.#held ??= new SendBuffer(this.environment.budget, this);
    return this.#wait(frame, this.#held, 0);
  }

  /** As {@link enqueue}, but whatever its size: the caller waits between two pages of a replay. */
  replay(frame: Frame): void {
    if (frame instanceof Piece) this.writeBatch();
    if (this.#blocked) {
      this.#waiting().push(frame);
      this.environment.budget.enforce();
    } else if (frame instanceof Piece) {
      this.#putBatch(frame.batch, performance.now());
    } else {
      this.#write(frame);
    }
  }

  /** Called at the end of a tick in which a frame was put into the batch. */
  flush(now: number): void {
    this.#scheduled = false;
    this.writeBatch(now);
  }

  /** Writes this tick's batch now. */
  writeBatch(now = performance.now()): void {
    if (this.#batch.bytes === 0) return;
    const batch = this.#batch;
    this.#batch = this.environment.scheduler.empty;
    this.#putBatch(batch, now);
  }

  /** Writes the frames that were held, now that the connection is open. @param due the frame to write for a held one */
  release(due: (frame: Frame) => Frame | undefined): void {
    const held = this.#held;
    this.#held = undefined;
    if (held === undefined) return;
    for (let next = held.dropOldest(); next !== undefined; next = held.dropOldest()) {
      const frame = due(next);
      if (frame !== undefined) this.replay(frame);
    }
  }

  /** Drops the frames that were held. */
  dropHeld(): void {
    this.#held?.clear();
    this.#held = undefined;
  }

  /** The socket can accept more bytes. */
  onDrain(): void {
    this.#blocked = false;
    this.#noteProgress(performance.now());
    this.#charge(this.sink.pendingBytes);
    this.#pump();
  }

  /** Writes all frames that wait and `last`, as fast as the socket accepts them, and then ends the sink. */
  finish(last: Frame): void {
    this.writeBatch();
    if (this.gone) return;
    const sendBuffer = this.#waiting();
    this.#pushReset(sendBuffer);
    sendBuffer.push(last);
    this.#finishing = true;
    this.#pump();
  }

  /** Drops all frames that wait. */
  discard(): void {
    this.#batch = this.environment.scheduler.empty;
    this.#sendBuffer?.clear();
    this.#sendBuffer = undefined;
    this.dropHeld();
    this.#reset = undefined;
    this.#charge(0);
  }

  /** Whether bytes wait, and whether the socket accepted none for `connection.timeout`: then it is stale. */
  stall(now: number): 'idle' | 'waiting' | 'stale' {
    this.#noteProgress(now);
    this.recount();
    if (this.sink.pendingBytes === 0) return 'idle';
    this.#waitingSince ??= now;
    return now - this.#waitingSince < this.environment.watchdog.timeout ? 'waiting' : 'stale';
  }

  recount(): void {
    if (this.#charged > 0) this.#charge(this.sink.pendingBytes);
  }

  /** The process budget is full, and this connection holds most of it. */
  pay(bytes: number): void {
    const sendBuffer = this.#sendBuffer;
    const { policy } = this.environment;
    if (policy === 'disconnect' || this.owner.state.kind !== 'open' || sendBuffer === undefined) {
      this.owner.cut('slow');
      return;
    }
    const goal = sendBuffer.bytes - bytes;
    if (policy === 'drop-oldest') this.#dropOldest(sendBuffer, more => sendBuffer.bytes + more <= goal);
    else this.#dropNewest(sendBuffer, goal);
  }

  /** Puts a frame into this tick's batch. */
  #write(frame: Frame): void {
    this.#batch = this.#batch.append(frame);
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.environment.scheduler.schedule(this);
    }
    if (this.#batch.bytes >= PIECE_BYTES) this.writeBatch();
  }

  /** Puts a frame behind those of a send buffer. @param ahead bytes that count in the bound of the connection as well */
  #wait(frame: Frame, sendBuffer: SendBuffer, ahead: number): LocalResult {
    const { maxBytes, budget } = this.environment;
    const admits = (bytes: number): boolean => sendBuffer.bytes + ahead + bytes <= maxBytes && budget.admits(bytes);
    const size = frame.bytes.length + (this.#reset?.bytes.length ?? 0);
    const fits = sendBuffer.bytes + ahead + size <= maxBytes && budget.makeRoom(size, this);
    // The room may have cost this connection itself.
    if (this.owner.state.kind === 'closed') return FULL;
    if (!fits && !this.#makeRoom(size, sendBuffer, admits)) return this.#reject(frame);
    this.#pushReset(sendBuffer);
    sendBuffer.push(frame);
    return BUFFERED;
  }

  #reject(frame: Frame): LocalResult {
    const opening = this.owner.state.kind === 'opening';
    this.environment.traffic.eventsDropped += 1;
    // The cursor of an opening connection is not known yet, so no reset can stand for an entry of the log.
    const irreplaceable = opening && frame.position !== undefined;
    if (this.environment.policy === 'disconnect' || irreplaceable) this.owner.cut('slow');
    else if (!opening) this.#reset ??= this.#resetFor(frame);
    return FULL;
  }

  /** The reset that stands for a dropped frame: a dropped reset stays, for an entry it is a new one. */
  #resetFor(dropped: Frame): ResetFrame | undefined {
    return dropped instanceof ResetFrame ? dropped : this.owner.resetForDropped(dropped);
  }

  /** Drops the oldest frames if the policy says so. Drops none for a frame that would not fit even then. */
  #makeRoom(size: number, sendBuffer: SendBuffer, admits: (bytes: number) => boolean): boolean {
    if (this.environment.policy !== 'drop-oldest' || this.owner.state.kind === 'opening') return false;
    if (!admits(size - sendBuffer.droppable)) return false;
    return this.#dropOldest(sendBuffer, more => admits(size + more));
  }

  /** Drops the oldest frames until the rest fits with a reset of so many bytes. Returns whether it does. */
  #dropOldest(sendBuffer: SendBuffer, fits: (more: number) => boolean): boolean {
    let reset: ResetFrame | undefined;
    while (!fits(reset?.bytes.length ?? 0)) {
      const dropped = sendBuffer.dropOldest();
      if (dropped === undefined) {
        // Only the reset does not fit: it stands for the new frame as well.
        this.#reset = reset;
        return false;
      }
      if (!(dropped instanceof ResetFrame)) this.environment.traffic.eventsDropped += 1;
      reset ??= this.#resetFor(dropped);
    }
    if (reset !== undefined) sendBuffer.pushFirst(reset);
    return true;
  }

  /** Drops the newest frames until so many bytes are left, if that is possible. One reset stands for them. */
  #dropNewest(sendBuffer: SendBuffer, goal: number): void {
    let first: Frame | undefined;
    while (sendBuffer.bytes > goal) {
      const dropped = sendBuffer.dropNewest();
      if (dropped === undefined) break;
      if (!(dropped instanceof ResetFrame)) this.environment.traffic.eventsDropped += 1;
      if (dropped instanceof ResetFrame || dropped.position !== undefined) first = dropped;
    }
    if (first !== undefined) this.#reset = this.#resetFor(first);
  }

  #pushReset(sendBuffer: SendBuffer): void {
    if (this.#reset === undefined) return;
    sendBuffer.push(this.#reset);
    this.#reset = undefined;
  }

  #waiting(): SendBuffer {
    this.#sendBuffer ??= new SendBuffer(this.environment.budget, this);
    return this.#sendBuffer;
  }

  #pump(): void {
    if (this.#reset !== undefined && !this.#blocked) this.#pushReset(this.#waiting());
    const sendBuffer = this.#sendBuffer;
    if (sendBuffer === undefined) return;
    while (!this.#blocked && !sendBuffer.empty) {
      const piece = sendBuffer.shiftBytes(PIECE_BYTES);
      this.#put(this.sink.encode?.(piece) ?? piece, performance.now());
    }
    if (!sendBuffer.empty) return;
    this.#sendBuffer = undefined;
    if (this.#finishing && this.owner.state.kind === 'draining') this.sink.end();
  }

  #putBatch(batch: Batch, now: number): void {
    if (batch.bytes > PIECE_BYTES) {
      this.#waiting().push({ bytes: batch.join() });
      this.#pump();
    } else {
      const { encode } = this.sink;
      this.#put(encode === undefined ? batch.join() : batch.encode(encode), now);
    }
  }

  #put(bytes: Buffer, now: number): void {
    this.#written += bytes.length;
    this.environment.traffic.bytesWritten += bytes.length;
    if (this.sink.asynchronous === true && this.sink.pendingBytes === 0) this.#startedAt = now;
    const more = this.#writeToSink(bytes);
    const pending = this.sink.pendingBytes;
    this.#noteProgress(now, pending);
    if (more && pending === 0 && this.#charged === 0) return;
    // The write itself may have closed the connection.
    if (this.owner.state.kind === 'closed') return;
    this.#blocked = !more;
    this.#charge(pending);
    if (pending === 0) return;
    this.environment.watchdog.watch(this.owner);
    this.environment.budget.enforce();
  }

  #noteProgress(now: number, pending = this.sink.pendingBytes): void {
    const accepted = this.#written - pending;
    if (accepted <= this.#accepted) return;
    this.#accepted = accepted;
    this.#progressAt = now;
    this.#waitingSince = undefined;
  }

  /** A sink that throws ends its own connection, and no other one. */
  #writeToSink(bytes: Buffer): boolean {
    try {
      return this.sink.write(bytes);
    } catch (error) {
      const { id: connectionId } = this.owner;
      this.environment.logger.error('a sink threw; its connection is cut', { connectionId, error });
      this.owner.cut('failed');
      return false;
    }
  }

  #charge(bytes: number): void {
    this.environment.budget.add(bytes - this.#charged, this);
    this.#charged = bytes;
  }
}
