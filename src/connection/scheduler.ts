import type { Frame } from '../contracts/events.js';

/** Something with bytes to write at the end of the tick. */
export interface Flushable {
  /** @param now milliseconds of `Date.now()`, read once for all that are flushed in a row */
  flush(now: number): void;
}

// Writes between two looks at the clock.
const LOOK_EVERY = 8;

/**
 * Joins the events of one tick: connections that took a frame are flushed together, once each, before the event loop goes
 * on. One write per connection and tick instead of one per event is the largest single gain in throughput.
 *
 * When there are more than fit into `sendBuffer.slice`, the rest is flushed slice by slice and the event loop turns in
 * between. What a connection takes until its turn comes leaves in the same write, so order is kept and a server that
 * falls behind writes less often instead of ever later.
 */
export class WriteScheduler {
  /** Where every connection's batch begins. */
  readonly empty = Batch.empty();
  // Who waits for the next round, and who is flushed in this one. Both are used again and again: they do not shrink.
  #dirty: (Flushable | undefined)[] = [];
  #dirtyCount = 0;
  #flushing: (Flushable | undefined)[] = [];
  #flushingCount = 0;
  #next = 0;
  #running = false;

  /**
   * @param slice `sendBuffer.slice`: a write takes microseconds, ten thousand of them do not
   * @param now milliseconds of a monotonic clock
   */
  constructor(
    private readonly slice: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Has `flushable` flushed at the end of this tick, or in its turn. Call it again only after that. */
  schedule(flushable: Flushable): void {
    this.#dirty[this.#dirtyCount] = flushable;
    this.#dirtyCount += 1;
    if (this.#running) return;
    this.#running = true;
    process.nextTick(flushSlice, this);
  }

  /** @internal */
  flushSlice(): void {
    const until = this.now() + this.slice;
    const time = Date.now();
    this.empty.forget();
    try {
      for (let flushed = 1; this.#flushNext(time); flushed += 1) {
        if (flushed % LOOK_EVERY === 0 && this.now() >= until) break;
      }
    } finally {
      // Also after a flush that threw: the others must not wait for a tick that nobody asks for.
      this.#running = this.#waiting;
      if (this.#running) setImmediate(flushSlice, this);
    }
  }

  get #waiting(): boolean {
    return this.#next < this.#flushingCount || this.#dirtyCount > 0;
  }

  /** Returns false when nobody waits. */
  #flushNext(time: number): boolean {
    if (this.#next === this.#flushingCount) {
      [this.#flushing, this.#dirty] = [this.#dirty, this.#flushing];
      this.#flushingCount = this.#dirtyCount;
      this.#dirtyCount = 0;
      this.#next = 0;
    }
    if (this.#next === this.#flushingCount) return false;
    const flushable = this.#flushing[this.#next];
    // One that closes must not be held until its place is used again.
    this.#flushing[this.#next] = undefined;
    this.#next += 1;
    if (flushable === undefined) return true;
    flushable.flush(time);
    return true;
  }
}

function flushSlice(scheduler: WriteScheduler): void {
  scheduler.flushSlice();
}

/**
 * The frames a connection got in one tick, as an immutable list whose tail is shared: connections that got the same
 * frames hold the same `Batch`, so the list and its joined bytes are made once, whatever their number.
 */
export class Batch {
  /** The empty batch. Each scheduler has its own, since it remembers its last successor. */
  static empty(): Batch {
    return new Batch(undefined, undefined, 0);
  }

  #next: Batch | undefined;
  #joined: Buffer | undefined;

  private constructor(
    private readonly previous: Batch | undefined,
    private readonly frame: Frame | undefined,
    /** Length of all its frames. */
    readonly bytes: number,
  ) {}

  /** This batch with one more frame. The last answer is remembered: neighbours in a fan-out ask for the same. */
  append(frame: Frame): Batch {
    if (this.#next?.frame !== frame) {
      this.#next = new Batch(this, frame, this.bytes + frame.bytes.length);
    }
    return this.#next;
  }

  /** All frames in one buffer. */
  join(): Buffer {
    this.#joined ??= this.previous?.frame ? this.#concat() : (this.frame?.bytes ?? Buffer.alloc(0));
    return this.#joined;
  }

  /** Lets go of the remembered successor. */
  forget(): void {
    this.#next = undefined;
  }

  #concat(): Buffer {
    const parts = this.frame === undefined ? [] : [this.frame.bytes];
    let batch = this.previous;
    while (batch?.frame !== undefined) {
      parts.push(batch.frame.bytes);
      batch = batch.previous;
    }
    return Buffer.concat(parts.reverse(), this.bytes);
  }
}
