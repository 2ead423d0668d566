import { randomBytes } from 'node:crypto';
import type { ReplayPage, ReplayRequest, Retention } from '../../contracts/cluster.js';
import type { Cursor, Frame, Gap, Position } from '../../contracts/events.js';
import { beginningSince, cursorBefore, firstAfter, formatCursor, isAfter, ORIGIN } from '../../protocol/cursor.js';
import { gapOf, gapOfLostLog, prependId } from '../../protocol/event-stream.js';
import { EVERYONE } from '../../protocol/names.js';

// Of so many topics the log knows exactly what was trimmed, even if nothing of them is left.
const MAX_REMEMBERED_TOPICS = 10_000;
const EXPIRE_EVERY = 1000;
const NOWHERE: NonNullable<ReplayRequest['since']> = new Map();
/** Bytes of the entries that a log keeps unless it is given another bound. */
const DEFAULT_MAX_BYTES = 67_108_864;
// A page is written to one client, and waits in its send buffer.
const PAGE_BYTES = 262_144;
// Shorter bodies are parts of a buffer that Node shares among many, which one of them would keep in memory.
const POOLED_BYTES = 4_096;
/** About what an entry takes beside its body. */
const ENTRY_BYTES = 128;
const COMPACT_AT = 1_000;
// Clients that come back together ask for the same entries: so many bytes of their frames are made once for all.
const SHARED_BYTES = 4_194_304;

// Times count from here: a small number takes no memory of its own.
const STARTED_AT = Date.now();

/** An entry as it is kept: small, since a source may have an entry per word. It is its own position. */
export class Entry implements Position {
  readonly sequence: number;
  readonly #age: number;
  #body: Buffer | string;

  /**
   * @param at milliseconds by the monotonic clock, whole
   * @param id as the publisher gave it
   */
  constructor(
    { ms, sequence }: Position,
    readonly at: number,
    body: Buffer,
    readonly id: string | undefined,
  ) {
    this.#age = ms - STARTED_AT;
    this.sequence = sequence;
    this.#body = body.length < POOLED_BYTES ? body.toString('latin1') : body;
  }

  get ms(): number {
    return STARTED_AT + this.#age;
  }

  get position(): Position {
    return this;
  }

  get bytes(): number {
    return this.#body.length + ENTRY_BYTES;
  }

  /** Its position, by which a client resumes. */
  cursor(epoch: string): Cursor {
    return { epoch, ms: this.ms, sequence: this.sequence };
  }

  /** The entry as the frame that its subscribers get. */
  frame(epoch: string): Frame & { readonly position: Cursor } {
    const position = this.cursor(epoch);
    const id = formatCursor(position);
    const body = this.#body;
    const bytes = typeof body === 'string' ? Buffer.from(`id: ${id}\n${body}`, 'latin1') : prependId(id, body);
    return { bytes, position };
  }

  /** Forgets the body: a reference to the entry keeps no more than its position. */
  drop(): void {
    this.#body = '';
  }
}

interface Topic {
  readonly entries: Entry[];
  retention: Retention;
  /** The newest entry that was trimmed. */
  trimmed: Position | undefined;
  /** Places of this topic in the order of all entries whose entries are trimmed. */
  gone: number;
}

/** An entry that was appended. */
interface Appended {
  readonly cursor: Cursor;
  readonly frame: Frame;
  readonly entry: Entry;
}

/** The entries of all topics after a position. */
export interface Remainder {
  /** In order. */
  readonly entries: readonly { readonly topic: string; readonly frame: Frame; readonly id: string | undefined }[];
  /** Set when entries are missing; without topics when the log does not remember which. */
  readonly gap: Gap | undefined;
}

/**
 * The ordered log in memory: entries of all topics share one sequence, each topic keeps its own number of them. When all
 * together take too many bytes, the oldest ones go.
 */
export class MemoryLog {
  /** Random, so that a cursor of another log is not mistaken for one of ours. */
  readonly epoch = randomBytes(6).toString('hex');
  // What is addressed to everyone concerns every client, so that topic is never forgotten.
  readonly #topics = new Map([[EVERYONE, newTopic()]]);
  #head: Cursor = { epoch: this.epoch, ms: Date.now(), sequence: 0 };
  // The newest entry of any topic that is not remembered any more.
  #forgotten: Position | undefined;
  // The topic of each entry, in the order of all entries; from `#oldest` on.
  #order: Topic[] = [];
  #oldest = 0;
  #count = 0;
  #bytes = 0;
  readonly #shared = new Map<Entry, Frame>();
  #sharedBytes = 0;

  /** @param maxBytes `history.maxBytes` */
  constructor(private readonly maxBytes = DEFAULT_MAX_BYTES) {}

  get head(): Cursor {
    return this.#head;
  }

  /** About what its entries take. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Appends an entry and returns it, also as the frame that every subscriber gets. */
  append(topic: string, body: Buffer, retention: Retention, id?: string): Appended {
    const cursor = { epoch: this.epoch, ms: Math.max(this.#head.ms, Date.now()), sequence: this.#head.sequence + 1 };
    this.#head = cursor;
    const frame = { bytes: prependId(formatCursor(cursor), body), position: cursor };
    const kept = this.#topics.get(topic) ?? newTopic(this.#forgotten);
    this.#topics.set(topic, kept);
    kept.retention = retention;
    const entry = new Entry(cursor, Math.round(performance.now()), body, id);
    this.#keep(kept, entry);
    if (cursor.sequence % EXPIRE_EVERY === 0) this.#expire();
    return { cursor, frame, entry };
  }

  /** What a client at `after` has missed. */
  replay({ topics, after, opened, limit, broadcasts, since = NOWHERE, backlog }: ReplayRequest): ReplayPage {
    const { head } = this;
    if (opened !== undefined) return this.#missedSince(followed(topics, broadcasts), opened);
    if (after === undefined) return { head, completeTo: head, frames: backlog ? this.#newest(backlog, since) : [] };
    const wanted = followed(topics, broadcasts);
    const lost = after.epoch !== this.epoch ? 'EPOCH' : isAfter(after, head) ? 'AHEAD' : undefined;
    const from = (topic: string): Position =>
      beginningSince(since.get(topic), this.epoch, lost === undefined ? after : ORIGIN);
    const page = this.#page(wanted, from, limit);
    const resumedFrom = this.#resumedFrom(page.frames[0]?.position);
    if (lost !== undefined) return { ...page, gap: gapOfLostLog(lost, resumedFrom) };
    const gap = gapOf(this.#missing(wanted, from), resumedFrom);
    return gap === undefined ? page : { ...page, gap };
  }

  /** The log is that of the process, so the position of a node is always known and none of it is older. */
  #missedSince(topics: readonly string[], { seen }: NonNullable<ReplayRequest['opened']>): ReplayPage {
    const { head } = this;
    const page = { head, completeTo: head, frames: [] };
    const missing = new Map<string, Position>();
    for (const name of topics) {
      const last = this.#topics.get(name)?.entries.at(-1);
      if (last !== undefined && (seen === undefined || isAfter(last, seen))) missing.set(name, positionOf(last));
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

  /** How many entries of a topic are kept. */
  kept(topic: string): number {
    const kept = this.#topics.get(topic);
    if (kept === undefined) return 0;
    this.#trim(kept);
    return kept.entries.length;
  }

  /** Everything after a position, whatever its topic. */
  since(position: Position): Remainder {
    const kept = [...this.#topics].flatMap(([topic, each]) => {
      this.#trim(each);
      return each.entries.slice(firstAfter(each.entries, position)).map(entry => ({ topic, entry }));
    });
    kept.sort((a, b) => a.entry.sequence - b.entry.sequence);
    const entries = kept.map(({ topic, entry }) => ({ topic, frame: entry.frame(this.epoch), id: entry.id }));
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

  #page(topics: readonly string[], from: (topic: string) => Position, limit: number): ReplayPage {
    const entries: Entry[] = [];
    for (const name of topics) {
      const topic = this.#topics.get(name);
      if (topic === undefined) continue;
      this.#trim(topic);
      const first = firstAfter(topic.entries, from(name));
      // One more than is asked for, because that shows whether there is more.
      for (const entry of topic.entries.slice(first, first + limit + 1)) entries.push(entry);
    }
    entries.sort((a, b) => a.sequence - b.sequence);
    const frames: Frame[] = [];
    let bytes = 0;
    for (const entry of entries) {
      bytes += entry.bytes;
      if (frames.length === limit || (bytes > PAGE_BYTES && frames.length > 0)) break;
      frames.push(this.#frameOf(entry));
    }
    const completeTo = frames.length < entries.length ? frames.at(-1)?.position : undefined;
    return { head: this.head, completeTo: completeTo ?? this.#head, frames };
  }

  /** The newest entries, in order. */
  #newest({ topics, most }: NonNullable<ReplayRequest['backlog']>, since: typeof NOWHERE): Frame[] {
    const found: Entry[] = [];
    const limit = most === 'latest' ? Infinity : most;
    for (const name of new Set(topics)) {
      const topic = this.#topics.get(name);
      if (topic === undefined) continue;
      this.#trim(topic);
      const { entries } = topic;
      const oldest = found[limit - 1];
      const granted = firstAfter(entries, beginningSince(since.get(name), this.epoch, ORIGIN));
      const first = Math.max(granted, entries.length - (most === 'latest' ? 1 : most));
      found.push(...entries.slice(oldest === undefined ? first : Math.max(first, firstAfter(entries, oldest))));
      if (found.length >= limit) {
        found.sort(newestFirst);
        found.length = limit;
      }
    }
    found.sort(newestFirst);
    const frames: Frame[] = [];
    let bytes = 0;
    for (const entry of found) {
      bytes += entry.bytes;
      if (bytes > PAGE_BYTES && frames.length > 0) break;
      frames.push(this.#frameOf(entry));
    }
    return frames.reverse();
  }

  /** The frame of an entry, the same one for clients that ask at about the same time. */
  #frameOf(entry: Entry): Frame {
    const known = this.#shared.get(entry);
    if (known !== undefined) return known;
    if (this.#sharedBytes > SHARED_BYTES) {
      this.#shared.clear();
      this.#sharedBytes = 0;
    }
    const frame = entry.frame(this.epoch);
    this.#shared.set(entry, frame);
    this.#sharedBytes += frame.bytes.length;
    return frame;
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

  #keep(topic: Topic, entry: Entry): void {
    topic.entries.push(entry);
    this.#order.push(topic);
    this.#count += 1;
    this.#bytes += entry.bytes;
    this.#trim(topic);
    while (this.#bytes > this.maxBytes) this.#dropOldest();
    const stale = this.#order.length - this.#count;
    if (stale > COMPACT_AT && stale > this.#count) this.#compact();
  }

  /** Removes the oldest entry of all topics. */
  #dropOldest(): void {
    const topic = this.#order[this.#oldest];
    this.#oldest += 1;
    if (topic === undefined) return;
    if (topic.gone === 0) this.#remove(topic, 1);
    topic.gone -= 1;
  }

  /** Forgets the places of entries that are gone. */
  #compact(): void {
    const order = this.#order.slice(this.#oldest).filter(topic => {
      if (topic.gone === 0) return true;
      topic.gone -= 1;
      return false;
    });
    this.#order = order;
    this.#oldest = 0;
  }

  /** Removes the entries of a topic that its retention does not keep. */
  #trim(topic: Topic): void {
    const { maxEntries, ttl, whole } = topic.retention;
    const oldest = performance.now() - ttl;
    const last = topic.entries.at(-1)?.at ?? 0;
    let surplus = Math.max(0, topic.entries.length - maxEntries);
    if (whole !== true || last < Math.floor(oldest)) {
      while ((topic.entries[surplus]?.at ?? Infinity) < Math.floor(oldest)) surplus += 1;
    }
    if (surplus > 0) this.#remove(topic, surplus);
  }

  #remove(topic: Topic, count: number): void {
    const removed = topic.entries.splice(0, count);
    const newest = removed.at(-1);
    if (newest !== undefined) topic.trimmed = positionOf(newest);
    topic.gone += removed.length;
    this.#count -= removed.length;
    for (const entry of removed) {
      this.#bytes -= entry.bytes;
      entry.drop();
    }
  }

  /** Removes expired entries of topics without new publications, and the names of such topics when there are too many. */
  #expire(): void {
    for (const [name, topic] of this.#topics) {
      this.#trim(topic);
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
  return { entries: [], retention: { maxEntries: 0, ttl: 0 }, trimmed, gone: 0 };
}

/** The distinct topics whose entries a request is for. */
function followed(topics: readonly string[], broadcasts: ReplayRequest['broadcasts']): string[] {
  return [...new Set(broadcasts === false ? topics : [EVERYONE, ...topics])];
}

const newestFirst = (a: Entry, b: Entry): number => b.sequence - a.sequence;

/** A position that does not keep its entry in memory. */
function positionOf({ ms, sequence }: Position): Position {
  return { ms, sequence };
}
