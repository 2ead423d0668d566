import type { Frame } from '../contracts/events.js';
import { Periodic } from '../time.js';

/** A writer with bytes to write at the end of the tick. */
export interface Flushable {
  /** @param now by the monotonic clock, read once per slice */
  flush(now: number): void;
}

// Writes between two reads of the clock.
const WRITES_PER_READ = 8;

/**
 * Joins the events of one tick: all connections that got a frame are flushed together, once each, before the event loop
 * goes on. One write per connection and tick instead of one per event is the largest single gain in throughput.
 *
 * When there are more connections than fit into `sendBuffer.slice`, the rest is flushed slice by slice, and the event loop
 * turns in between. Frames that a connection gets before its turn leave in the same write. So order is kept, and a server
 * that falls behind writes less often instead of ever later.
 */
export class WriteScheduler {
  /** The batch of a connection without frames. */
  readonly empty = Batch.empty();
  // The connections of the next round, and those of this one. Both arrays are used again and do not shrink.
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

  /** Flushes `flushable` at the end of this tick, or in its turn. Call it again only after that flush. */
  schedule(flushable: Flushable): void {
    this.#dirty[this.#dirtyCount] = flushable;
    this.#dirtyCount += 1;
    if (this.#running) return;
    this.#running = true;
    process.nextTick(flushSlice, this);
  }

  /** @internal */
  flushSlice(): void {
    const time = this.now();
    const until = time + this.slice;
    this.empty.forget();
    try {
      for (let flushed = 1; this.#flushNext(time); flushed += 1) {
        if (flushed % WRITES_PER_READ === 0 && this.now() >= until) break;
      }
    } finally {
      // Also after a flush that threw: without this the remaining connections would never be flushed.
      this.#running = this.#waiting;
      if (this.#running) setImmediate(flushSlice, this);
    }
  }

  get #waiting(): boolean {
    return this.#next < this.#flushingCount || this.#dirtyCount > 0;
  }

  /** Returns false when no connection waits. */
  #flushNext(time: number): boolean {
    if (this.#next === this.#flushingCount) {
      [this.#flushing, this.#dirty] = [this.#dirty, this.#flushing];
      this.#flushingCount = this.#dirtyCount;
      this.#dirtyCount = 0;
      this.#next = 0;
    }
    if (this.#next === this.#flushingCount) return false;
    const flushable = this.#flushing[this.#next];
    // The array must not keep a closed connection alive.
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

type Encode = (bytes: Buffer) => Buffer;

// The least that one of several waiting sources gets of a turn: less would be spent on the turns themselves.
const LEAST_SHARE_MS = 1;

/**
 * The time of one turn of the event loop that work which is always ready may take, sources above all. All of it shares one
 * budget, so that new clients and other work are not kept waiting. When it is over the others wait in a queue: the first
 * one goes on in the next turn, for its share.
 */
export class TurnBudget {
  readonly #waiting: (() => void)[] = [];
  #until = 0;
  #running = false;

  /**
   * @param slice `sendBuffer.slice`
   * @param now milliseconds of a monotonic clock
   */
  constructor(
    private readonly slice: number,
    private readonly now: () => number = () => performance.now(),
  ) {}

  /** Whether the time of this turn is over; then wait for {@link next}. The first question begins the time. */
  get over(): boolean {
    if (this.#running) return this.now() >= this.#until;
    this.#begin();
    return false;
  }

  /** Resolves in a later turn, in the order of the calls. */
  next(): Promise<void> {
    return new Promise(resolve => this.#waiting.push(resolve));
  }

  /** @internal */
  endTurn(): void {
    this.#running = false;
    const next = this.#waiting.shift();
    if (next === undefined) return;
    this.#begin();
    next();
  }

  #begin(): void {
    this.#running = true;
    const share = this.slice / (this.#waiting.length + 1);
    this.#until = this.now() + Math.max(Math.min(LEAST_SHARE_MS, this.slice), share);
    setImmediate(endTurn, this);
  }
}

function endTurn(budget: TurnBudget): void {
  budget.endTurn();
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
  #encoded: Buffer | undefined;
  #encoder: Encode | undefined;

  private constructor(
    private readonly previous: Batch | undefined,
    private readonly frame: Frame | undefined,
    /** Length of all its frames. */
    readonly bytes: number,
  ) {}

  /** This batch with one more frame. Remembers its last result: the next connection in a fan-out needs the same one. */
  append(frame: Frame): Batch {
    if (this.#next?.frame !== frame) {
      this.#next = new Batch(this, frame, this.bytes + frame.bytes.length);
    }
    return this.#next;
  }

  /** All frames in one buffer, encoded. Connections with the same encoding share the result. */
  encode(encode: Encode): Buffer {
    if (this.#encoder !== encode) {
      this.#encoder = encode;
      this.#encoded = undefined;
    }
    this.#encoded ??= encode(this.join());
    return this.#encoded;
  }

  /** All frames in one buffer. */
  join(): Buffer {
    this.#joined ??= this.previous?.frame ? this.#concat() : (this.frame?.bytes ?? Buffer.alloc(0));
    return this.#joined;
  }

  /** Forgets the last result of {@link append}. */
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

/** A connection as the heartbeat wheel sees it. */
export interface Beating {
  /** Spreads the connections over the wheel. */
  readonly ordinal: number;
  /** Sends a heartbeat. */
  beat(): void;
}

/** A comment, which clients ignore. Without a blank line: to some clients a blank line is an event. */
export const HEARTBEAT: Frame = { bytes: Buffer.from(':\n') };

const MAX_BEAT_SLOTS = 120;
const MIN_BEAT_MS = 50;
// When a heartbeat is due, as parts of the interval: random, and early enough for one more tick.
const EARLIEST = 0.8;
const SPREAD = 0.05;
const LARGEST_TICK = 0.05;

/** Connections whose heartbeats are sent together. */
interface Slot {
  readonly connections: Set<Beating>;
  /** By the monotonic clock. */
  due: number;
}

/**
 * One timer for the heartbeats of all connections of a node. The connections are spread over slots with due times of their
 * own, so that there is no burst and no timer per connection. A slot is visited again after 80 to 90 % of the interval, so
 * that an intermediary that cuts a stream after an equally long silence does not cut a quiet one.
 */
export class HeartbeatWheel {
  readonly #slots: Slot[];
  readonly #ticks: Periodic;

  /** @param interval `connection.heartbeat` in milliseconds: no heartbeat comes later */
  constructor(private readonly interval: number) {
    const count = Math.max(1, Math.min(MAX_BEAT_SLOTS, Math.floor(interval / MIN_BEAT_MS)));
    const now = performance.now();
    this.#slots = Array.from({ length: count }, (_, index) => ({
      connections: new Set(),
      due: now + (interval * EARLIEST * (index + 1)) / count,
    }));
    this.#ticks = new Periodic(() => this.#tick(), { everyMs: Math.min(interval / count, interval * LARGEST_TICK) });
  }

  add(connection: Beating): void {
    this.#slotOf(connection).connections.add(connection);
    this.#ticks.start();
  }

  remove(connection: Beating): void {
    this.#slotOf(connection).connections.delete(connection);
  }

  *connections(): Iterable<Beating> {
    for (const { connections } of this.#slots) yield* connections;
  }

  stop(): void {
    this.#ticks.stop();
  }

  #tick(): void {
    const now = performance.now();
    for (const slot of this.#slots) {
      if (slot.due > now) continue;
      slot.due = now + this.interval * (EARLIEST + SPREAD * Math.random());
      for (const connection of slot.connections) connection.beat();
    }
  }

  #slotOf(connection: Beating): Slot {
    const slot = this.#slots[connection.ordinal % this.#slots.length];
    if (slot === undefined) throw new RangeError(`no slot for ordinal ${connection.ordinal}`);
    return slot;
  }
}

/** A connection as the watchdog sees it. */
export interface Watched {
  /**
   * Looks for progress of the socket; closes the connection when there was none for too long. Returns whether to look again.
   * @param now by the monotonic clock
   */
  checkStall(now: number): boolean;
  /** Closes the connection because of its age. */
  expire(): void;
}

const MAX_TICK_MS = 1000;
const MIN_TICK_MS = 20;

/**
 * Closes connections at a limit: `connection.timeout` without progress, or `connection.maxAge` of life. Looks for progress
 * only of connections with waiting bytes, so that a healthy connection costs nothing.
 */
export class Watchdog {
  readonly #stalled = new Set<Watched>();
  // When each connection became open. In insertion order, so the first one that is young enough ends a tick.
  readonly #ages = new Map<Watched, number>();
  readonly #ticks: Periodic;

  constructor(
    readonly timeout: number,
    private readonly maxAge: number | false,
  ) {
    const shortest = Math.min(timeout, maxAge === false ? timeout : maxAge);
    const everyMs = Math.max(MIN_TICK_MS, Math.min(MAX_TICK_MS, shortest / 8));
    this.#ticks = new Periodic(() => this.#tick(), { everyMs });
  }

  /** The connections that it watches, once for each limit. */
  *connections(): Iterable<Watched> {
    yield* this.#stalled;
    yield* this.#ages.keys();
  }

  /** Looks for progress of a connection until none of its bytes wait. */
  watch(connection: Watched): void {
    this.#stalled.add(connection);
    this.#ticks.start();
  }

  /** Counts a connection's age from now on, unless it is counted already. */
  age(connection: Watched): void {
    if (this.maxAge === false || this.#ages.has(connection)) return;
    this.#ages.set(connection, performance.now());
    this.#ticks.start();
  }

  forget(connection: Watched): void {
    this.#stalled.delete(connection);
    this.#ages.delete(connection);
  }

  /** Ends the age limit of a draining connection. Its progress is still watched. */
  forgetAge(connection: Watched): void {
    this.#ages.delete(connection);
  }

  stop(): void {
    this.#ticks.stop();
    this.#stalled.clear();
    this.#ages.clear();
  }

  #tick(): void {
    const now = performance.now();
    for (const connection of this.#stalled) {
      if (!connection.checkStall(now)) this.#stalled.delete(connection);
    }
    if (this.maxAge === false) return;
    for (const [connection, since] of this.#ages) {
      if (now - since < this.maxAge) break;
      this.#ages.delete(connection);
      connection.expire();
    }
  }
}
