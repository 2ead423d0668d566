import type { Frame } from '../contracts/events.js';
import { Periodic } from '../time.js';

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
