/** A place in the ordered log. Positions of one epoch are ordered by `ms`, then by `sequence`. */
export interface Position {
  /** Milliseconds of the log's clock; never decreases within an epoch. */
  readonly ms: number;
  /** Number of the entry within the epoch; grows by one with each entry, whatever its topic. */
  readonly sequence: number;
}

/**
 * Where a client stands in the ordered log: it has everything of all its topics up to here. The epoch changes when the
 * log was lost, so that an old cursor is recognised instead of silently matching unrelated entries.
 */
export interface Cursor extends Position {
  /** Name of the log's life; 1 to 16 characters of `0-9a-z`. */
  readonly epoch: string;
}

/** The bytes of one event, encoded once and shared by every connection that gets them. Never mutated. */
export interface Frame {
  /** Complete event-stream text, blank line included. */
  readonly bytes: Buffer;
  /** Set when the frame is an entry of the ordered log; a connection drops what it already has. */
  readonly position?: Cursor;
}
