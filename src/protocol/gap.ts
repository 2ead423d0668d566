import type { Reset } from '../contracts/connection.js';
import type { Cursor, Frame, Gap, Position } from '../contracts/events.js';
import { formatCursor, isAfter } from './cursor.js';
import { encodeEvent } from './event-stream.js';

/**
 * The gap that these missing entries make; `undefined` when none is missing. One gap stands for all topics: a reset moves
 * the client's cursor, so a second gap before the same position would never reach it.
 * @param missing each topic's newest missing entry
 * @param resumedFrom the position before the first entry that follows
 */
export function gapOf(missing: ReadonlyMap<string, Position>, resumedFrom: Cursor): Gap | undefined {
  let until: Position | undefined;
  for (const last of missing.values()) {
    if (until === undefined || isAfter(last, until)) until = last;
  }
  return until && { reason: 'GAP', topics: missing, resumedFrom, until };
}

/** The gap of a reader whose cursor is of another log (`EPOCH`), or after the end of this one (`AHEAD`). */
export function gapOfLostLog(reason: 'EPOCH' | 'AHEAD', resumedFrom: Cursor): Gap {
  return { reason, topics: undefined, resumedFrom, until: resumedFrom };
}

/** One gap on its way to the clients of a node. The event is encoded once for all clients that miss the same topics. */
export class GapReport {
  static readonly #reports = new WeakMap<Gap, GapReport>();

  /** The report of a gap, the same one for every connection. */
  static of(gap: Gap): GapReport {
    const report = this.#reports.get(gap) ?? new GapReport(gap);
    this.#reports.set(gap, report);
    return report;
  }

  readonly #frames = new Map<string, ResetFrame>();

  constructor(readonly gap: Gap) {}

  /**
   * The event for a client.
   * @param topics the topics of which the client misses entries
   * @param moves whether the event carries the id at which the stream goes on; else the client keeps the id it has
   */
  frameFor(topics: readonly string[], moves: boolean): ResetFrame {
    // Neither part holds a line break.
    const key = `${moves ? 'id' : ''}\n${topics.join('\n')}`;
    let frame = this.#frames.get(key);
    if (frame === undefined) {
      const { reason } = this.gap;
      const resumedFrom = formatCursor(this.gap.resumedFrom);
      const reset = { reason, topics, resumedFrom };
      frame = new ResetFrame(this, reset, encodeReset(reset, moves ? resumedFrom : undefined));
      this.#frames.set(key, frame);
    }
    return frame;
  }
}

/** Two resets that one client got, as one: the topics of both, and where the stream goes on after the later one. */
export function joinResets(earlier: Reset | undefined, later: Reset): Reset {
  if (earlier === undefined) return later;
  return { ...later, topics: [...new Set([...earlier.topics, ...later.topics])] };
}

/** The event `sse.reset` as one of the frames of a connection. */
export class ResetFrame implements Frame {
  constructor(
    readonly report: GapReport,
    /** The data of the event. */
    readonly reset: Reset,
    readonly bytes: Buffer,
  ) {}
}

/** The text of the event `sse.reset`. @param id becomes the client's last id; `undefined` leaves it as it is */
export function encodeReset({ reason, topics, resumedFrom }: Reset, id: string | undefined): Buffer {
  const data = JSON.stringify({ reason, topics, resumedFrom });
  return encodeEvent({ event: 'sse.reset', id, data });
}
