import type { Cursor, Position } from './frame.js';

/**
 * Why continuity cannot be claimed: entries were trimmed, the log was lost, the cursor is newer than the log, or the
 * client was too slow for `outbox.policy`, or whoever ran a resumable source is gone.
 */
export type ResetReason = 'GAP' | 'EPOCH' | 'AHEAD' | 'OVERFLOW' | 'PRODUCER_LOST';

/** Entries of the log that subscribers have not got and will not get by themselves. */
export interface Hole {
  readonly reason: ResetReason;
  /** The topics with the hole, `*` for what is addressed to everyone; `undefined`: all that a client follows. */
  readonly topics: readonly string[] | undefined;
  /** Where the stream goes on: what is left of everything up to here was given. */
  readonly resumedFrom: Cursor;
  /** The newest entry that is missing; a client that is past it misses nothing. */
  readonly until: Position;
  /** Where several topics have holes that end apart: the newest missing entry of each. `topics` is `undefined` then. */
  readonly parts?: readonly HolePart[];
}

/** One topic's part in a hole. */
export interface HolePart {
  /** `*` for what is addressed to everyone. */
  readonly topic: string;
  readonly until: Position;
}
