import type { Logger } from '../contracts/logger.js';

/** Takeovers of one id in a row that are no coincidence. */
const EVICTIONS = 3;
/** Milliseconds after which a takeover begins a new row. */
const ROW_MS = 60_000;
/** Connection ids that are remembered at once. */
const MOST_IDS = 1_000;

interface Row {
  count: number;
  at: number;
  logged: boolean;
}

/** Finds clients that take one connection id from each other, as two tabs with one id do, and logs each id once. */
export class Evictions {
  /** By connection id, the longest quiet first. */
  readonly #rows = new Map<string, Row>();

  constructor(private readonly logger: Logger) {}

  /** A connection of this node was taken over. */
  superseded(connectionId: string): void {
    const row = this.#rowOf(connectionId);
    row.count += 1;
    if (row.count >= EVICTIONS) this.#log(connectionId, row);
  }

  /** A takeover was one too many. */
  refused(connectionId: string): void {
    this.#log(connectionId, this.#rowOf(connectionId));
  }

  #rowOf(connectionId: string): Row {
    const now = performance.now();
    const former = this.#rows.get(connectionId);
    const row = former !== undefined && now - former.at < ROW_MS ? former : { count: 0, at: now, logged: false };
    row.at = now;
    this.#rows.delete(connectionId);
    this.#rows.set(connectionId, row);
    const [oldest] = this.#rows.keys();
    if (this.#rows.size > MOST_IDS && oldest !== undefined) this.#rows.delete(oldest);
    return row;
  }

  #log(connectionId: string, row: Row): void {
    if (row.logged) return;
    row.logged = true;
    this.logger.warn(
      'clients take one connection id from each other; give each tab and each device an id of its own, or let the library choose one',
      { connectionId },
    );
  }
}
