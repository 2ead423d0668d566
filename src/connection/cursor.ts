import type { Cursor, Frame, Gap, Position } from '../contracts/events.js';
import { cursorBefore, isAfter } from '../protocol/cursor.js';
import { GapReport, idOf, NOTHING, type ResetFrame, withoutId } from '../protocol/event-stream.js';
import { EVERYONE } from '../protocol/names.js';

/** The position of one client in the ordered log: the newest entry that this node has given to it. */
export class ClientCursor {
  #epoch: string | undefined;
  #position: Position | undefined;
  /** The newest position that the client was given as an id; older than the cursor after a replay that found nothing. */
  #shown: Position | undefined;
  /** The first and the last entry that the send buffer refused. */
  #refused: { readonly first: Position; readonly last: Position } | undefined;

  /**
   * Sets where the client begins. Without a cursor the client gets no entry of the log: the id of an entry would move the
   * client past entries that it does not have.
   */
  start(cursor: Cursor | undefined): void {
    this.#epoch = cursor?.epoch;
    this.#position = cursor;
  }

  /** Where the client stands, when everything that was accepted for it has left. */
  get cursor(): Cursor | undefined {
    if (this.#epoch === undefined || this.#position === undefined) return undefined;
    return { epoch: this.#epoch, ms: this.#position.ms, sequence: this.#position.sequence };
  }

  /** Whether the client gets this frame: any frame outside the log, and entries after the cursor. Moves the cursor. */
  admits({ position }: Frame): boolean {
    if (position === undefined) return true;
    // An entry of a former log may still arrive after the client began in this one.
    if (this.#position === undefined || position.epoch !== this.#epoch) return false;
    if (!isAfter(position, this.#position)) return false;
    this.#position = position;
    this.#shown = position;
    return true;
  }

  /** Notes the position that is the id of a frame, and returns the frame, which is written without being asked for. */
  shown(frame: Frame, at: Position | undefined): Frame {
    if (at !== undefined) this.#shown = at;
    return frame;
  }

  /** The client has everything up to a position. Returns whether its last id is older, so that it gets this one. */
  moveTo(position: Cursor): boolean {
    if (this.#position === undefined || position.epoch !== this.#epoch) return false;
    if (this.#shown !== undefined && !isAfter(position, this.#shown)) return false;
    this.#shown = position;
    if (isAfter(position, this.#position)) this.#position = position;
    return true;
  }

  /** Whether the client was given every entry up to a position. */
  hasReached(position: Position): boolean {
    return this.#position !== undefined && !isAfter(position, this.#position);
  }

  /** The send buffer refused a frame that was admitted. */
  refuse({ position }: Frame): void {
    if (position !== undefined) this.#refused = { first: this.#refused?.first ?? position, last: position };
  }

  /** Whether the send buffer refused the entry at a position; also true for some entries between two that were refused. */
  wasRefused(position: Position): boolean {
    const refused = this.#refused;
    return refused !== undefined && !isAfter(refused.first, position) && !isAfter(position, refused.last);
  }

  /** The event for a client that misses entries of a gap, else `undefined`. May move the cursor to where the stream goes on. */
  resetFor(report: GapReport, followed: ReadonlySet<string>): ResetFrame | undefined {
    const { gap } = report;
    const topics = gap.topics && this.#missedOf(gap.topics, followed);
    if (topics?.length === 0) return undefined;
    const effect = this.#effectOf(gap);
    if (effect === 'none') return undefined;
    if (effect === 'move') this.start(gap.resumedFrom);
    return report.frameFor(topics ?? [...followed], effect === 'move');
  }

  /** The event for a client whose send buffer has no room for a frame; `undefined` for a frame outside the log. */
  resetForDropped({ position: until }: Frame, followed: ReadonlySet<string>): ResetFrame | undefined {
    const epoch = this.#epoch;
    if (until === undefined || epoch === undefined) return undefined;
    const resumedFrom = cursorBefore({ epoch, ms: until.ms, sequence: until.sequence });
    const gap: Gap = { reason: 'OVERFLOW', topics: undefined, resumedFrom, until };
    return new GapReport(gap).frameFor([...followed], true);
  }

  /** The topics of a gap that the client follows and of which it misses entries. */
  #missedOf(gaps: ReadonlyMap<string, Position>, topics: ReadonlySet<string>): string[] {
    const here = this.#position;
    if (here === undefined) return [];
    return [...gaps]
      .filter(([topic, until]) => (topic === EVERYONE || topics.has(topic)) && isAfter(until, here))
      .map(([topic]) => topic);
  }

  /** What a gap means to this client: nothing, a reset that leaves its cursor, or a reset that moves its cursor. */
  #effectOf({ reason, resumedFrom, until }: Gap): 'none' | 'stay' | 'move' {
    const here = this.#position;
    if (here === undefined) return 'none';
    switch (reason) {
      case 'EPOCH':
        // A client that opened in the new log has not lost the former one.
        return this.#epoch === resumedFrom.epoch ? 'none' : 'move';
      case 'AHEAD':
        return isAfter(here, resumedFrom) ? 'move' : 'none';
      case 'GAP':
      case 'OVERFLOW':
        // A client that is still in a former log gets the reset of that log's end.
        if (this.#epoch !== resumedFrom.epoch || !isAfter(until, here)) return 'none';
        return isAfter(resumedFrom, here) ? 'move' : 'stay';
    }
  }
}

/** Whose ids the last id of one client is made of: those of the log, or those of the application. */
export class ClientIds {
  /** The id of the newest event that has one of the application. */
  #newest: string | undefined;

  /** @param own `ids: 'application'` */
  constructor(readonly own: boolean) {}

  /** Whether the client may get a direct send: one with an id only where ids are the application's. */
  admits({ bytes, position }: Frame): boolean {
    if (position !== undefined) return true;
    const id = idOf(bytes);
    if (id === undefined) return true;
    if (this.own) this.gave(id);
    return this.own;
  }

  /** The client was given an event with this id of the application. */
  gave(id: string): void {
    this.#newest = id;
  }

  /** A frame as the client gets it: an entry of the log without its id, where ids are the application's. */
  shown(frame: Frame): Frame {
    if (!this.own || frame.position === undefined) return frame;
    const bytes = withoutId(frame.bytes);
    return bytes === undefined ? NOTHING : { bytes };
  }

  /**
   * The last id of the client; empty when it has none, undefined when nothing here knows it.
   * @param position that of the log @param brought the id of the request
   */
  last(position: string | undefined, brought: string | undefined): string | undefined {
    return this.#newest ?? (this.own ? (brought ?? '') : position);
  }
}
