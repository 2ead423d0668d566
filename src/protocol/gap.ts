import type { Cursor, Frame, Gap, GapPart } from '../contracts/events.js';
import { formatCursor, isAfter } from './cursor.js';
import { encodeEvent } from './event-stream.js';

/**
 * One gap of everything that is missing before a place; `undefined` when nothing is. One, because a client that is told of
 * some topics only, and moved along, would never hear of the others.
 */
export function gapOf(parts: readonly GapPart[], resumedFrom: Cursor): Gap | undefined {
  const [first] = parts;
  if (first === undefined) return undefined;
  const until = parts.reduce(
    (last, part) => (isAfter(part.until, last) ? part.until : last),
    first.until,
  );
  return { reason: 'GAP', topics: undefined, resumedFrom, until, parts };
}

/** The event `sse.reset`, which tells clients of a gap; encoded once for all that follow the same topics. */
export class ResetNotice {
  readonly #frames = new Map<string, NoticeFrame>();

  constructor(readonly gap: Gap) {}

  /**
   * The event for a client.
   * @param moves whether the client, should it come back, begins where the stream goes on; else it keeps the id it has
   */
  frameFor(followed: Iterable<string>, moves: boolean): NoticeFrame {
    const topics = this.gap.topics ?? [...followed];
    // Neither holds a line break.
    const key = `${moves ? 'id' : ''}\n${topics.join('\n')}`;
    let frame = this.#frames.get(key);
    if (frame === undefined) {
      frame = new NoticeFrame(this, this.#encode(topics, moves));
      this.#frames.set(key, frame);
    }
    return frame;
  }

  #encode(topics: readonly string[], moves: boolean): Buffer {
    const { reason } = this.gap;
    const resumedFrom = formatCursor(this.gap.resumedFrom);
    const data = JSON.stringify({ reason, topics, resumedFrom });
    return encodeEvent({ event: 'sse.reset', id: moves ? resumedFrom : undefined, data });
  }
}

/** A notice on its way to a client. */
export class NoticeFrame implements Frame {
  constructor(
    readonly notice: ResetNotice,
    readonly bytes: Buffer,
  ) {}
}
