import type { Frame } from '../contracts/frame.js';

/** Something that is given a sign of life now and then. */
export interface Beating {
  /** Spreads the members over the wheel. */
  readonly ordinal: number;
  beat(): void;
}

/** A sign of life: a comment, which clients ignore. */
export const HEARTBEAT: Frame = { bytes: Buffer.from(':\n\n') };

const MAX_SLOTS = 120;
const MIN_TICK_MS = 50;

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
    const count = Math.max(1, Math.min(MAX_SLOTS, Math.floor(interval / MIN_TICK_MS)));
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
