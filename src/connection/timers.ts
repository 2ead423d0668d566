import type { Frame } from '../contracts/events.js';

/** Something that is given a sign of life now and then. */
export interface Beating {
  /** Spreads the members over the wheel. */
  readonly ordinal: number;
  beat(): void;
}

/** A sign of life: a comment, which clients ignore. */
export const HEARTBEAT: Frame = { bytes: Buffer.from(':\n\n') };

const MAX_BEAT_SLOTS = 120;
const MIN_BEAT_MS = 50;

/**
 * One timer for the heartbeats of all connections of a node. The members are spread over slots, one slot is visited per
 * tick, each member once per interval: no burst, and no timer per connection.
 */
export class HeartbeatWheel {
  readonly #slots: Set<Beating>[];
  readonly #tickMs: number;
  #timer: NodeJS.Timeout | undefined;
  #current = 0;

  /** @param interval `connection.heartbeat` in milliseconds */
  constructor(interval: number) {
    const count = Math.max(1, Math.min(MAX_BEAT_SLOTS, Math.floor(interval / MIN_BEAT_MS)));
    this.#slots = Array.from({ length: count }, () => new Set<Beating>());
    this.#tickMs = interval / count;
  }

  get size(): number {
    return this.#slots.reduce((sum, slot) => sum + slot.size, 0);
  }

  add(member: Beating): void {
    this.#slotOf(member).add(member);
    this.#timer ??= setInterval(() => this.#tick(), this.#tickMs).unref();
  }

  remove(member: Beating): void {
    this.#slotOf(member).delete(member);
  }

  *members(): Iterable<Beating> {
    for (const slot of this.#slots) yield* slot;
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  #tick(): void {
    this.#current = (this.#current + 1) % this.#slots.length;
    for (const member of this.#slots[this.#current] ?? []) member.beat();
  }

  #slotOf(member: Beating): Set<Beating> {
    const slot = this.#slots[member.ordinal % this.#slots.length];
    if (slot === undefined) throw new RangeError(`no slot for ordinal ${member.ordinal}`);
    return slot;
  }
}

/** A connection as the watchdog sees it. */
export interface Watched {
  /** Looks for progress of its socket; closes it when there was none for too long. Returns whether to look again. */
  checkStall(now: number): boolean;
  /** Closes it because of its age. */
  expire(): void;
}

const MAX_TICK_MS = 1000;
const MIN_TICK_MS = 20;

/**
 * Closes connections that outstay a limit: `connection.timeout` without progress, or `connection.maxAge` of life. Only
 * connections with waiting bytes are looked at for the first, so healthy ones cost nothing.
 */
export class Watchdog {
  readonly #stalled = new Set<Watched>();
  // Since when each member's age counts. In insertion order, so the first that is young enough ends the look.
  readonly #ages = new Map<Watched, number>();
  readonly #tickMs: number;
  #timer: NodeJS.Timeout | undefined;

  constructor(
    readonly timeout: number,
    private readonly maxAge: number | false,
  ) {
    const shortest = Math.min(timeout, maxAge === false ? timeout : maxAge);
    this.#tickMs = Math.max(MIN_TICK_MS, Math.min(MAX_TICK_MS, shortest / 8));
  }

  /** Members it looks at now. */
  get size(): number {
    return this.#stalled.size + this.#ages.size;
  }

  *members(): Iterable<Watched> {
    yield* this.#stalled;
    yield* this.#ages.keys();
  }

  /** Looks at a connection's progress until nothing waits any more. */
  watch(connection: Watched): void {
    this.#stalled.add(connection);
    this.#run();
  }

  /** Counts a connection's age from now on. */
  age(connection: Watched): void {
    if (this.maxAge === false) return;
    this.#ages.set(connection, Date.now());
    this.#run();
  }

  forget(connection: Watched): void {
    this.#stalled.delete(connection);
    this.#ages.delete(connection);
  }

  /** Ends the age limit of a connection that is closing; its progress is still looked at. */
  forgetAge(connection: Watched): void {
    this.#ages.delete(connection);
  }

  stop(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
    this.#stalled.clear();
    this.#ages.clear();
  }

  #run(): void {
    this.#timer ??= setInterval(() => this.#tick(), this.#tickMs).unref();
  }

  #tick(): void {
    const now = Date.now();
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
