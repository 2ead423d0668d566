import type { Cursor, Frame, Gap, GapPart, Position } from '../contracts/events.js';
import type { LocalConnection } from '../contracts/store.js';
import { isAfter } from '../protocol/cursor.js';
import { type NoticeFrame, ResetNotice } from '../protocol/gap.js';
import { EVERYONE } from '../protocol/names.js';
import type { ConnectionObserver } from './environment.js';

/** Where one client stands in the ordered log, as far as this node has given it events. */
export class ClientCursor {
  #epoch: string | undefined;
  #position: Position | undefined;

  /** Where it begins. Without a place it is given nothing of the log: an id would move it past what it has not got. */
  start(cursor: Cursor | undefined): void {
    this.#epoch = cursor?.epoch;
    this.#position = cursor;
  }

  /** Whether a frame is newer than what the client has; notes it as had. */
  isNews({ position }: Frame): boolean {
    if (position === undefined) return true;
    // An entry of a former log may still be under way to a client that began in this one.
    if (this.#position === undefined || position.epoch !== this.#epoch) return false;
    if (!isAfter(position, this.#position)) return false;
    this.#position = position;
    return true;
  }

  /** Whether the client was given everything up to a place. */
  hasReached(position: Position): boolean {
    return this.#position !== undefined && !isAfter(position, this.#position);
  }

  /** The event for a client that a gap concerns; being told of it may move the client to where the stream goes on. */
  tell(
    notice: ResetNotice,
    client: LocalConnection,
    observer: ConnectionObserver,
  ): NoticeFrame | undefined {
    const { gap } = notice;
    const topics = gap.parts === undefined ? undefined : this.#missedOf(gap.parts, client);
    if (topics?.length === 0) return undefined;
    const misses = this.#misses(gap);
    if (misses === 'nothing') return undefined;
    observer.onTold(client, topics === undefined ? gap : { ...gap, topics });
    return notice.frameFor(topics ?? client.topics, misses === 'moved');
  }

  /** The event for a client that does not get a frame of the log; `undefined` for any other frame. */
  overflowed(
    { position: until }: Frame,
    client: LocalConnection,
    observer: ConnectionObserver,
  ): NoticeFrame | undefined {
    const epoch = this.#epoch;
    if (until === undefined || epoch === undefined) return undefined;
    const resumedFrom = { epoch, ms: until.ms, sequence: until.sequence - 1 };
    const gap: Gap = { reason: 'OVERFLOW', topics: [...client.topics], resumedFrom, until };
    observer.onTold(client, gap);
    return new ResetNotice(gap).frameFor(client.topics, true);
  }

  /** The topics of a gap that concern this client. */
  #missedOf(parts: readonly GapPart[], { topics }: LocalConnection): string[] {
    return parts
      .filter(({ topic }) => topic === EVERYONE || topics.has(topic))
      .filter(({ until }) => this.#position !== undefined && isAfter(until, this.#position))
      .map(({ topic }) => topic);
  }

  #misses({ reason, resumedFrom, until }: Gap): 'nothing' | 'in place' | 'moved' {
    const here = this.#position;
    if (here === undefined) return 'nothing';
    switch (reason) {
      case 'EPOCH':
        // Who opened meanwhile is in the new log already.
        if (this.#epoch === resumedFrom.epoch) return 'nothing';
        break;
      case 'AHEAD':
        if (!isAfter(here, resumedFrom)) return 'nothing';
        break;
      case 'GAP':
      case 'OVERFLOW':
        // Who is still in a former log is told of that one's end.
        if (this.#epoch !== resumedFrom.epoch) return 'nothing';
        if (!isAfter(until, here)) return 'nothing';
        if (!isAfter(resumedFrom, here)) return 'in place';
        break;
      case 'PRODUCER_LOST':
        // An entry of the log, and the last one: it is published, not told.
        return 'nothing';
    }
    this.start(resumedFrom);
    return 'moved';
  }
}
