import type { CloseReason, ConnectionSink } from '../contracts/connection.js';
import type { Frame, LocalResult } from '../contracts/events.js';
import { NoticeFrame } from '../protocol/gap.js';
import { BUFFERED, DELIVERED, rejected } from './direct-send.js';
import type { ConnectionEnvironment } from './environment.js';
import type { Batch, Flushable } from './scheduler.js';
import { SendBuffer } from './send-buffer.js';
import type { Watched } from './timers.js';

const FULL = rejected('SEND_BUFFER_FULL');

/** The connection a writer writes for. */
interface WriterOwner extends Watched {
  readonly id: string;
  cut(reason: CloseReason): void;
  /** What tells the client of a frame that it does not get; `undefined` when nobody expects that one to be told. */
  noticeOf(dropped: Frame): NoticeFrame | undefined;
}

/**
 * What is done with frames: all wait but those written through; they go to the socket as it takes them; what waits still
 * goes, and then the stream ends; nothing is written any more.
 */
type Phase = 'holding' | 'live' | 'ending' | 'over';

// Large writes go out in pieces, so that a slow socket's progress shows between them.
const PIECE_BYTES = 64 * 1024;

/**
 * Writes one connection's frames to its sink, in order and within the bounds of `sendBuffer.*`.
 *
 * While the socket keeps up, frames gather in a {@link Batch} and leave at the end of the tick. Once it asks for a pause,
 * they wait in an {@link SendBuffer}. While holding, everything waits except what {@link writeThrough} is given.
 */
export class FrameWriter implements Flushable {
  #batch: Batch;
  #sendBuffer: SendBuffer | undefined;
  // What is to be told behind all that waits: frames that came later were not taken.
  #notice: NoticeFrame | undefined;
  #phase: Phase = 'holding';
  #scheduled = false;
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
    private readonly owner: WriterOwner,
  ) {
    this.#batch = environment.scheduler.empty;
  }

  /** Milliseconds of `Date.now()` when the socket last took bytes. */
  get takenAt(): number {
    return this.#takenAt;
  }

  /** Bytes accepted that the socket has not taken. */
  get pendingBytes(): number {
    return this.#batch.bytes + (this.#sendBuffer?.bytes ?? 0) + this.sink.pendingBytes;
  }

  /** Whether what is written goes nowhere. */
  get gone(): boolean {
    return this.#phase === 'over' || this.sink.closed;
  }

  /** Whether the socket asked to wait. */
  get blocked(): boolean {
    return this.#blocked;
  }

  /** Takes a frame: into this tick's batch, or behind the frames that wait. */
  take(frame: Frame): LocalResult {
    if (this.#phase === 'holding' || this.#blocked) return this.#wait(frame);
    this.writeThrough(frame);
    return DELIVERED;
  }

  /** Puts a frame into this tick's batch even while holding; for the head of a stream and its replay. */
  writeThrough(frame: Frame): void {
    this.#batch = this.#batch.append(frame);
    if (!this.#scheduled) {
      this.#scheduled = true;
      this.environment.scheduler.schedule(this);
    }
    if (this.#batch.bytes >= PIECE_BYTES) this.writeBatch();
  }

  /** Called at the end of a tick in which frames were taken. */
  flush(now: number): void {
    this.#scheduled = false;
    this.writeBatch(now);
  }

  /** Writes this tick's batch now. */
  writeBatch(now = Date.now()): void {
    if (this.#batch.bytes === 0) return;
    const bytes = this.#batch.join();
    this.#batch = this.environment.scheduler.empty;
    if (bytes.length > PIECE_BYTES && this.#phase === 'live') {
      this.#waiting().push({ bytes });
      this.#pump();
    } else {
      this.#put(bytes, now);
    }
  }

  /** Ends the holding: what becomes of what was held goes first. */
  release(due: (frame: Frame) => Frame | undefined): void {
    this.#phase = 'live';
    const held = this.#sendBuffer;
    this.#sendBuffer = undefined;
    if (held === undefined) return;
    for (let next = held.shift(); next !== undefined; next = held.shift()) {
      const frame = due(next);
      if (frame === undefined) continue;
      if (this.#blocked) this.#waiting().push(frame);
      else this.writeThrough(frame);
    }
  }

  /** The socket can take more. */
  onDrain(): void {
    this.#blocked = false;
    this.#noteProgress(Date.now());
    this.#charge(0);
    if (this.#phase !== 'holding') this.#pump();
  }

  /**
   * Writes everything that waits and `last`, as fast as the socket takes it, then ends the stream. Held frames are not
   * written: what precedes them may be missing.
   */
  finish(last: Frame): void {
    if (this.#phase === 'holding') this.#sendBuffer?.clear();
    this.#phase = 'ending';
    this.writeBatch();
    if (this.gone) return;
    this.#pushNotice(this.#waiting());
    this.#waiting().push(last);
    this.#pump();
  }

  /** Lets go of everything that waits. */
  discard(): void {
    this.#phase = 'over';
    this.#batch = this.environment.scheduler.empty;
    this.#sendBuffer?.clear();
    this.#sendBuffer = undefined;
    this.#notice = undefined;
    this.#charge(0);
  }

  /** Whether bytes wait, and, when the socket took none for `connection.timeout`, that it is stale. */
  stall(now: number): 'idle' | 'waiting' | 'stale' {
    this.#noteProgress(now);
    if (this.sink.pendingBytes === 0) return 'idle';
    this.#waitingSince ??= now;
    return now - this.#waitingSince < this.environment.watchdog.timeout ? 'waiting' : 'stale';
  }

  #wait(frame: Frame): LocalResult {
    const sendBuffer = this.#waiting();
    const size = frame.bytes.length + (this.#notice?.bytes.length ?? 0);
    if (!this.#admits(size, sendBuffer) && !this.#makeRoom(size, sendBuffer))
      return this.#refuse(frame);
    this.#pushNotice(sendBuffer);
    sendBuffer.push(frame);
    return BUFFERED;
  }

  #refuse(frame: Frame): LocalResult {
    this.environment.traffic.eventsDropped += 1;
    // While the connection opens, its cursor is unknown, and so is the gap that a lost entry leaves.
    const gapUnknown = this.#phase === 'holding' && frame.position !== undefined;
    if (this.environment.policy === 'disconnect' || gapUnknown) this.owner.cut('slow');
    else if (this.#phase !== 'holding') this.#notice ??= this.#noticeOf(frame);
    return FULL;
  }

  /** A notice that is dropped is told all the same. */
  #noticeOf(dropped: Frame): NoticeFrame | undefined {
    return dropped instanceof NoticeFrame ? dropped : this.owner.noticeOf(dropped);
  }

  /** Drops the oldest frames if the policy says so; nothing for a frame that would not fit even then. */
  #makeRoom(size: number, sendBuffer: SendBuffer): boolean {
    const { policy } = this.environment;
    if (policy !== 'drop-oldest' || this.#phase === 'holding') return false;
    if (!this.#admits(size - sendBuffer.droppable, sendBuffer)) return false;
    let notice: NoticeFrame | undefined;
    while (!this.#admits(size + (notice?.bytes.length ?? 0), sendBuffer)) {
      const dropped = sendBuffer.dropOldest();
      if (dropped === undefined) {
        // Only the notice is too much: it stands for this frame as well.
        this.#notice = notice;
        return false;
      }
      if (!(dropped instanceof NoticeFrame)) this.environment.traffic.eventsDropped += 1;
      notice ??= this.#noticeOf(dropped);
    }
    if (notice !== undefined) sendBuffer.pushFirst(notice);
    return true;
  }

  #pushNotice(sendBuffer: SendBuffer): void {
    if (this.#notice === undefined) return;
    sendBuffer.push(this.#notice);
    this.#notice = undefined;
  }

  /** Whether the send buffer may grow by so many bytes. */
  #admits(bytes: number, sendBuffer: SendBuffer): boolean {
    const { maxBytes, budget } = this.environment;
    return sendBuffer.bytes + this.sink.pendingBytes + bytes <= maxBytes && budget.admits(bytes);
  }

  #waiting(): SendBuffer {
    this.#sendBuffer ??= new SendBuffer(this.environment.budget);
    return this.#sendBuffer;
  }

  #pump(): void {
    if (this.#notice !== undefined && !this.#blocked) this.#pushNotice(this.#waiting());
    const sendBuffer = this.#sendBuffer;
    if (sendBuffer === undefined) return;
    while (!this.#blocked && !sendBuffer.empty) this.#put(sendBuffer.take(PIECE_BYTES), Date.now());
    if (!sendBuffer.empty) return;
    this.#sendBuffer = undefined;
    if (this.#phase === 'ending') this.sink.end();
  }

  #put(bytes: Buffer, now: number): void {
    this.#written += bytes.length;
    this.environment.traffic.bytesWritten += bytes.length;
    const more = this.#write(bytes);
    // The write itself may have ended the connection.
    if (this.#phase === 'over') return;
    const pending = this.sink.pendingBytes;
    if (!more) {
      this.#blocked = true;
      this.#charge(pending);
    }
    this.#noteProgress(now, pending);
    if (pending > 0) this.environment.watchdog.watch(this.owner);
  }

  #noteProgress(now: number, pending = this.sink.pendingBytes): void {
    const taken = this.#written - pending;
    if (taken <= this.#taken) return;
    this.#taken = taken;
    this.#takenAt = now;
    this.#waitingSince = undefined;
  }

  /** A sink that throws costs its own connection, not those that are written after it. */
  #write(bytes: Buffer): boolean {
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
    this.environment.budget.add(bytes - this.#charged);
    this.#charged = bytes;
  }
}
