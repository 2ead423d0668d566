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
