import type { LocalConnection } from '../contracts/connection-store.js';
import type { Cursor, Frame, Position } from '../contracts/frame.js';
import type { Hole } from '../contracts/hole.js';
import { isAfter } from '../protocol/cursor.js';
import type { ConnectionObserver } from './connection-environment.js';
import { ResetNotice, type NoticeFrame } from './reset-notice.js';

/** Where one client stands in the ordered log, as far as this node has given it events. */
export class ClientCursor {
  #epoch: string | undefined;
  #position: Position | undefined;
  #apart = false;

  /** Where it begins; without a place everything is news. `apart`: it stays where it is, and nothing of the log is. */
  start(from: Cursor | 'apart' | undefined): void {
    this.#apart = from === 'apart';
    const cursor = from === 'apart' ? undefined : from;
    this.#epoch = cursor?.epoch;
    this.#position = cursor;
  }

  /** Whether a frame is newer than what the client has; notes it as had. */
  isNews({ position }: Frame): boolean {
    if (position === undefined) return true;
    if (this.#apart) return false;
    if (this.#position !== undefined && !isAfter(position, this.#position)) return false;
    this.#position = position;
    return true;
  }

  /** Whether the client was given everything up to a place. */
  hasReached(position: Position): boolean {
    return this.#position !== undefined && !isAfter(position, this.#position);
  }

  /** The event for a client that a hole concerns; being told of it may move the client to where the stream goes on. */
  tell(
    notice: ResetNotice,
    client: LocalConnection,
    observer: ConnectionObserver,
  ): NoticeFrame | undefined {
    const misses = this.#misses(notice.hole);
    if (misses === 'nothing') return undefined;
    observer.onTold(client, notice.hole);
    return notice.frameFor(client.topics, misses === 'moved');
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
    const hole: Hole = { reason: 'OVERFLOW', topics: [...client.topics], resumedFrom, until };
    observer.onTold(client, hole);
    return new ResetNotice(hole).frameFor(client.topics, true);
  }

  #misses({ reason, resumedFrom, until }: Hole): 'nothing' | 'in place' | 'moved' {
    if (this.#apart) return 'nothing';
    const here = this.#position;
    if (here !== undefined) {
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
          if (!isAfter(until, here)) return 'nothing';
          if (!isAfter(resumedFrom, here)) return 'in place';
          break;
        case 'PRODUCER_LOST':
          // An entry of the log, and the last one: it is published, not told.
          return 'nothing';
      }
    }
    this.start(resumedFrom);
    return 'moved';
  }
}
