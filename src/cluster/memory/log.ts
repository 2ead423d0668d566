import { randomBytes } from 'node:crypto';
import type { ReplayPage, ReplayRequest, Retention } from '../../contracts/cluster.js';
import type { Cursor, Frame, Gap, Position } from '../../contracts/events.js';
import { cursorBefore, firstAfter, formatCursor, isAfter, later } from '../../protocol/cursor.js';
import { prependId } from '../../protocol/event-stream.js';
import { gapOf, gapOfLostLog } from '../../protocol/gap.js';
import { EVERYONE } from '../../protocol/names.js';

// Of so many topics the log knows exactly what was trimmed, even if nothing of them is left.
const MAX_REMEMBERED_TOPICS = 10_000;
const EXPIRE_EVERY = 1000;
const NOWHERE: NonNullable<ReplayRequest['since']> = new Map();

interface Entry extends Frame {
  readonly position: Cursor;
  /** As the publisher gave it. */
  readonly id: string | undefined;
}

interface Topic {
  readonly entries: Entry[];
  retention: Retention;
  /** The newest entry that was trimmed. */
  trimmed: Position | undefined;
}

/** The entries of all topics after a position. */
export interface Remainder {
  /** In order. */
  readonly entries: readonly { readonly topic: string; readonly frame: Entry }[];
  /** Set when entries are missing; without topics when the log does not remember which. */
  readonly gap: Gap | undefined;
}

/** The ordered log in memory: entries of all topics share one sequence, each topic keeps its own number of them. */
export class MemoryLog {
  /** Random, so that a cursor of another log is not mistaken for one of ours. */
  readonly epoch = randomBytes(6).toString('hex');
  // What is addressed to everyone concerns every client, so that topic is never forgotten.
  readonly #topics = new Map([[EVERYONE, newTopic()]]);
  #head: Cursor = { epoch: this.epoch, ms: Date.now(), sequence: 0 };
  // The newest entry of any topic that is not remembered any more.
  #forgotten: Position | undefined;

  get head(): Cursor {
    return this.#head;
  }

  /** Appends an entry and returns it as the frame that every subscriber gets. */
  append(topic: string, body: Buffer, retention: Retention, id?: string): { cursor: Cursor; frame: Frame } {
    const cursor = {
      epoch: this.epoch,
      ms: Math.max(this.#head.ms, Date.now()),
      sequence: this.#head.sequence + 1,
    };
    this.#head = cursor;
    const frame = { bytes: prependId(formatCursor(cursor), body), position: cursor, id };
    const kept = this.#topics.get(topic) ?? newTopic(this.#forgotten);
    this.#topics.set(topic, kept);
    kept.retention = retention;
    kept.entries.push(frame);
    trim(kept);
    if (cursor.sequence % EXPIRE_EVERY === 0) this.#expire();
    return { cursor, frame };
  }

  /** What a client at `after` has missed. */
  replay({ topics, after, opened, limit, broadcasts, since = NOWHERE }: ReplayRequest): ReplayPage {
    const { head } = this;
    const wanted = [...new Set(broadcasts === false ? topics : [EVERYONE, ...topics])];
    if (opened !== undefined) return this.#missedSince(wanted, opened);
    if (after === undefined) return { head, completeTo: head, frames: [] };
    const lost = after.epoch !== this.epoch ? 'EPOCH' : isAfter(after, head) ? 'AHEAD' : undefined;
    const from = (topic: string): Position | undefined => {
      const start = since.get(topic);
      const begun = lost === undefined ? after : undefined;
      if (start?.epoch !== this.epoch) return begun;
      return begun === undefined ? start : later(start, begun);
    };
    const page = this.#page(wanted, from, limit);
    const resumedFrom = this.#resumedFrom(page.frames[0]?.position);
    if (lost !== undefined) return { ...page, gap: gapOfLostLog(lost, resumedFrom) };
    const gap = gapOf(
      this.#missing(wanted, topic => from(topic) ?? after),
      resumedFrom,
    );
    return gap === undefined ? page : { ...page, gap };
  }

  /** The log is that of the process, so the position of a node is always known and none of it is older. */
  #missedSince(topics: readonly string[], { seen }: NonNullable<ReplayRequest['opened']>): ReplayPage {
    const { head } = this;
    const page = { head, completeTo: head, frames: [] };
    const missing = new Map<string, Position>();
    for (const name of topics) {
      const last = this.#topics.get(name)?.entries.at(-1)?.position;
      if (last !== undefined && (seen === undefined || isAfter(last, seen))) missing.set(name, last);
    }
    const gap = gapOf(missing, head);
    return gap === undefined ? page : { ...page, gap };
  }

  /** Deletes the entries of a topic. */
  forget(topic: string): void {
    const kept = this.#topics.get(topic);
    kept?.entries.splice(0, Math.max(0, kept.entries.length - 1));
    const [last] = kept?.entries.splice(0) ?? [];
    if (kept !== undefined && last !== undefined) kept.trimmed = last.position;
  }

  /** Everything after a position, whatever its topic. */
  since(position: Position): Remainder {
    const entries = [...this.#topics].flatMap(([topic, kept]) => {
      trim(kept);
      return kept.entries
        .slice(firstAfter(kept.entries, position))
        .map(frame => ({ topic, frame, sequence: frame.position.sequence }));
    });
    entries.sort((a, b) => a.sequence - b.sequence);
    const resumedFrom = this.#resumedFrom(entries[0]?.frame.position);
    if (this.#forgotten !== undefined && isAfter(this.#forgotten, position)) {
      const gap: Gap = { reason: 'GAP', topics: undefined, resumedFrom, until: this.head };
      return { entries, gap };
    }
    return {
      entries,
      gap: gapOf(
        this.#missing(this.#topics.keys(), () => position),
        resumedFrom,
      ),
    };
  }

  #page(topics: readonly string[], from: (topic: string) => Position | undefined, limit: number): ReplayPage {
    const entries: Entry[] = [];
    for (const name of topics) {
      const topic = this.#topics.get(name);
      if (topic === undefined) continue;
      trim(topic);
      const after = from(name);
      const first = after === undefined ? 0 : firstAfter(topic.entries, after);
      // One more than is asked for, because that shows whether there is more.
      for (const entry of topic.entries.slice(first, first + limit + 1)) entries.push(entry);
    }
    entries.sort((a, b) => a.position.sequence - b.position.sequence);
    const frames = entries.slice(0, limit);
    const completeTo = frames.length < entries.length ? frames.at(-1)?.position : undefined;
    return { head: this.head, completeTo: completeTo ?? this.#head, frames };
  }

  /** The topics of which entries after a position of each are missing, each with the newest missing entry. */
  #missing(names: Iterable<string>, from: (topic: string) => Position): Map<string, Position> {
    const missing = new Map<string, Position>();
    for (const name of names) {
      const topic = this.#topics.get(name);
      const until = topic === undefined ? this.#forgotten : topic.trimmed;
      if (until !== undefined && isAfter(until, from(name))) missing.set(name, until);
    }
    return missing;
  }

  #resumedFrom(first: Cursor | undefined): Cursor {
    return first === undefined ? this.#head : cursorBefore(first);
  }

  /** Removes expired entries of topics without new publications, and the names of such topics when there are too many. */
  #expire(): void {
    for (const [name, topic] of this.#topics) {
      trim(topic);
      const { entries, trimmed } = topic;
      if (name === EVERYONE || entries.length > 0) continue;
      if (this.#topics.size <= MAX_REMEMBERED_TOPICS) continue;
      this.#topics.delete(name);
      if (trimmed && (!this.#forgotten || isAfter(trimmed, this.#forgotten))) {
        this.#forgotten = trimmed;
      }
    }
  }
}

function newTopic(trimmed?: Position): Topic {
  return { entries: [], retention: { maxEntries: 0, ttl: 0 }, trimmed };
}

function trim(topic: Topic): void {
  const { maxEntries, ttl, whole } = topic.retention;
  const last = topic.entries.at(-1)?.position.ms ?? 0;
  const oldest = whole === true && last >= Date.now() - ttl ? 0 : Date.now() - ttl;
  let surplus = Math.max(0, topic.entries.length - maxEntries);
  while ((topic.entries[surplus]?.position.ms ?? Infinity) < oldest) surplus += 1;
  if (surplus === 0) return;
  topic.trimmed = topic.entries[surplus - 1]?.position;
  topic.entries.splice(0, surplus);
}
