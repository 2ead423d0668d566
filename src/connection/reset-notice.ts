import type { Frame } from '../contracts/frame.js';
import type { Hole } from '../contracts/hole.js';
import { formatCursor } from '../protocol/cursor.js';
import { encodeEvent } from '../protocol/encode-event.js';

/** The event `sse.reset`, which tells clients of a hole; encoded once for all that follow the same topics. */
export class ResetNotice {
  readonly #frames = new Map<string, NoticeFrame>();

  constructor(readonly hole: Hole) {}

  /**
   * The event for a client.
   * @param moves whether the client, should it come back, begins where the stream goes on; else it keeps the id it has
   */
  frameFor(followed: Iterable<string>, moves: boolean): NoticeFrame {
    const topics = this.hole.topics ?? [...followed];
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
    const { reason } = this.hole;
    const resumedFrom = formatCursor(this.hole.resumedFrom);
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
