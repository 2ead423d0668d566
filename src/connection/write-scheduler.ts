import { Batch } from './batch.js';

/** Something with bytes to write at the end of the tick. */
export interface Flushable {
  flush(): void;
}

// The longest the loop is kept by writing, in milliseconds: a write takes microseconds, ten thousand of them do not.
const SLICE_MS = 5;
// Writes between two looks at the clock.
const LOOK_EVERY = 8;

/**
 * Joins the events of one tick: connections that took a frame are flushed together, once each, before the event loop goes
 * on. One write per connection and tick instead of one per event is the largest single gain in throughput.
 *
 * When there are more than fit into {@link SLICE_MS}, the rest is flushed slice by slice and the event loop turns in
 * between. What a connection takes until its turn comes leaves in the same write, so order is kept and a server that
 * falls behind writes less often instead of ever later.
 */
export class WriteScheduler {
  /** Where every connection's batch begins. */
  readonly empty = Batch.empty();
  #dirty: Flushable[] = [];
  #flushing: readonly Flushable[] = [];
  #next = 0;
  #running = false;

  /** @param now milliseconds of a monotonic clock */
  constructor(private readonly now: () => number = () => performance.now()) {}

  /** Has `flushable` flushed at the end of this tick, or in its turn. Call it again only after that. */
  schedule(flushable: Flushable): void {
    this.#dirty.push(flushable);
    if (this.#running) return;
    this.#running = true;
    process.nextTick(flushSlice, this);
  }

  /** @internal */
  flushSlice(): void {
    const until = this.now() + SLICE_MS;
    this.empty.forget();
    try {
      for (let flushed = 1; this.#flushNext(); flushed += 1) {
        if (flushed % LOOK_EVERY === 0 && this.now() >= until) break;
      }
    } finally {
      // Also after a flush that threw: the others must not wait for a tick that nobody asks for.
      this.#running = this.#waiting;
      if (this.#running) setImmediate(flushSlice, this);
    }
  }

  get #waiting(): boolean {
    return this.#next < this.#flushing.length || this.#dirty.length > 0;
  }

  /** Returns false when nobody waits. */
  #flushNext(): boolean {
    if (this.#next === this.#flushing.length) {
      this.#flushing = this.#dirty;
      this.#dirty = [];
      this.#next = 0;
    }
    const flushable = this.#flushing[this.#next];
    if (flushable === undefined) return false;
    this.#next += 1;
    flushable.flush();
    return true;
  }
}

function flushSlice(scheduler: WriteScheduler): void {
  scheduler.flushSlice();
}
