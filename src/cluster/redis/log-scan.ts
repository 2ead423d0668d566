import type { Cursor, Gap, Position } from '../../contracts/events.js';
import { SseError } from '../../errors.js';
import {
  beginningSince,
  cursorBefore,
  earlier,
  firstAfter,
  formatCursor,
  isAfter,
  later,
  ORIGIN,
} from '../../protocol/cursor.js';
import { gapOf, gapOfLostLog, prependId } from '../../protocol/event-stream.js';
import { parsePayload } from './frames.js';
import { firstOf } from './recent-pages.js';
import { wellFormed } from './script.js';
import type { HistoryReply } from './scripts.js';
import type { FrameSigner } from './signing.js';
import type { LogEntry, TopicSlice } from './tail.js';

/** Bytes of the entries of one page, and of one call, about. */
export const PAGE_BYTES = 256 * 1024;
/** Topics of one call. */
export const TOPICS_PER_CALL = 32;
/** Entries of one step of a catch-up. */
const CATCH_UP_ENTRIES = 500;

/** A part of the log, in order. */
interface LogPage {
  /** Complete up to here. */
  readonly completeTo: Position;
  readonly entries: readonly LogEntry[];
  /** Set when entries after the reader's position are missing; in another log, entries after its beginning. */
  readonly gap: Gap | undefined;
}

/** The state of the log, and the last ids of topics. */
export interface Look {
  /** Milliseconds of Redis' clock. */
  readonly now: number;
  /** Run id of the log's last writer; '' unknown. */
  readonly run: string;
  /** The newest entry. */
  readonly head: Cursor;
  /** Stands for a last id that is forgotten. */
  readonly forgotten: Position;
  /** By topic; `undefined` when it is forgotten. Empty when the reader's position is the head. */
  readonly lasts: ReadonlyMap<string, Position | undefined>;
}

/** A topic with entries that a scan has not returned yet. */
interface ScannedTopic {
  readonly name: string;
  /** The last id when the scan began. */
  readonly last: Position;
  /** Every entry up to here was read. */
  readonly to: Position;
}

interface Scanned extends ScannedTopic {
  to: Position;
  /** Entries that were read and not returned. */
  entries: LogEntry[];
  /** Whether nothing is left to be read. */
  done: boolean;
}

type HistoryPage = Extract<HistoryReply, { status: 'OK' }>;

/** Reads entries of a few topics, each after its position; `EPOCH` when the log was lost. */
export type ReadTopics = (
  topics: readonly ScannedTopic[],
  epoch: string,
  limit: number,
) => Promise<HistoryPage | 'EPOCH'>;

/**
 * One reading of several topics from a position to the head of the log, in pages. Reads only topics that have something,
 * and each entry once. A gap is in the page of the first entry after it.
 */
export class LogScan {
  /** The end of the scan: what is published later does not prolong it. */
  readonly head: Cursor;
  readonly run: string;
  /** Set when the position was of another log, or newer than the log: then the scan begins at the log's beginning. */
  readonly lost: 'EPOCH' | 'AHEAD' | undefined;
  /** Where it begins. */
  readonly #from: Position;
  /** Topics with something to read or to return. */
  #pending: Scanned[] = [];
  /** The newest missing entry of each topic with a gap that no page has yet. */
  readonly #missing = new Map<string, Position>();
  #completeTo: Position;
  #broken = false;

  /** @param since where the reader began to follow some of the topics, if after its position */
  constructor(
    private readonly signer: FrameSigner,
    private readonly read: ReadTopics,
    private readonly look: Look,
    after: Cursor,
    private readonly since: ReadonlyMap<string, Cursor> = new Map(),
  ) {
    const { head, lasts, forgotten, run } = look;
    this.head = head;
    this.run = run;
    const known = after.epoch === head.epoch && !isAfter(after, head);
    this.lost = known ? undefined : after.epoch === head.epoch ? 'AHEAD' : 'EPOCH';
    this.#from = known ? after : ORIGIN;
    this.#completeTo = this.#from;
    for (const [name, last] of lasts) {
      const to = this.#begin(name);
      if (last !== undefined && isAfter(last, to)) {
        this.#pending.push({ name, last, to, entries: [], done: false });
      } else if (last === undefined && known && isAfter(forgotten, to)) this.#missing.set(name, forgotten);
    }
  }

  /** Whether every page was returned. */
  get ended(): boolean {
    return this.#broken || !isAfter(this.head, this.#completeTo);
  }

  /** Whether the log was lost on the way, so that it ended before the head. */
  get broken(): boolean {
    return this.#broken;
  }

  /** The next page. @throws SseError */
  async next(limit: number): Promise<LogPage> {
    await this.#fill(limit);
    let end: Position = this.head;
    const found: LogEntry[] = [];
    for (const topic of this.#pending) if (!topic.done) end = earlier(end, topic.to);
    for (const { entries } of this.#pending) for (const entry of entries) found.push(entry);
    const { completeTo, entries } = firstOf(found, end, limit, PAGE_BYTES);
    for (const topic of this.#pending) topic.entries.splice(0, firstAfter(topic.entries, completeTo));
    this.#pending = this.#pending.filter(({ done, entries }) => !done || entries.length > 0);
    this.#completeTo = completeTo;
    const gap = gapOf(new Map(this.#missing), this.#resumedFrom(entries));
    this.#missing.clear();
    return { completeTo, entries, gap };
  }

  /** The gap of a reader that comes from another log, or from a future that was lost; for the first page. */
  lostGap({ entries }: Pick<LogPage, 'entries'>): Gap | undefined {
    return this.lost && gapOfLostLog(this.lost, this.#resumedFrom(entries));
  }

  /** Reads the first page, and hands on everything that it found, beyond the page as well, before it returns the page. */
  async first(limit: number, learn: (slice: TopicSlice) => void): Promise<LogPage> {
    await this.#fill(limit);
    const { head, look } = this;
    const ageOf = ({ position }: LogEntry): number => Math.max(0, look.now - position.ms);
    const pending = new Map(this.#pending.map(topic => [topic.name, topic]));
    for (const topic of this.#broken ? [] : look.lasts.keys()) {
      const { to = head, entries = [], done = true } = pending.get(topic) ?? {};
      const from = this.#missing.get(topic) ?? this.#begin(topic);
      learn({ topic, from, to: done ? head : to, entries: [...entries], ageOf });
    }
    return this.next(limit);
  }

  /** Where the scan of a topic begins. */
  #begin(topic: string): Position {
    return beginningSince(this.since.get(topic), this.head.epoch, this.#from);
  }

  /** Reads on in every topic of which nothing is left to return. */
  async #fill(limit: number): Promise<void> {
    let waiting = this.#pending.filter(({ entries, done }) => entries.length === 0 && !done);
    while (waiting.length > 0 && !this.#broken) {
      const some = waiting.slice(0, TOPICS_PER_CALL);
      const reply = await this.read(some, this.head.epoch, limit);
      if (reply === 'EPOCH') {
        this.#broken = true;
        return;
      }
      this.#add(some, reply);
      waiting = [...some.slice(reply.read), ...waiting.slice(some.length)];
    }
  }

  #add(topics: readonly Scanned[], { read, gaps, more, entries }: HistoryPage): void {
    for (const { topic: at, until } of gaps) {
      const topic = topicAt(topics, at);
      const missing = until === undefined ? topic.last : earlier(wellFormed(until), topic.last);
      // A bound that is no entry says nothing about a log that began since.
      if (this.lost === undefined || missing.sequence > 0) this.#miss(topic, missing);
    }
    for (const { topic: at, id, payload } of entries) {
      const topic = topicAt(topics, at);
      const to = wellFormed(id);
      topic.to = to;
      // Published since the scan began.
      if (isAfter(to, this.head)) continue;
      const entry = entryOf(this.signer, topic.name, { epoch: this.head.epoch, ...to }, payload);
      // Else it is missing for the clients of this node.
      if (entry === undefined) this.#miss(topic, to);
      else topic.entries.push(entry);
    }
    const unfinished = new Set(more);
    for (const [at, topic] of topics.slice(0, read).entries()) {
      topic.done = !unfinished.has(at) || !isAfter(topic.last, topic.to);
    }
  }

  #miss({ name }: Scanned, until: Position): void {
    this.#missing.set(name, later(this.#missing.get(name) ?? until, until));
  }

  /** Just before the first entry, so that a client that leaves now gets that entry later. */
  #resumedFrom([first]: readonly LogEntry[]): Cursor {
    if (first !== undefined) return cursorBefore(first.position);
    const { ms, sequence } = this.#completeTo;
    return { epoch: this.head.epoch, ms, sequence };
  }
}

/** One step of a catch-up. The gaps come before the entries; afterwards everything up to `position` is delivered. */
export interface CatchUpStep {
  readonly gaps: readonly Gap[];
  readonly entries: readonly LogEntry[];
  readonly position: Cursor;
  /** Run id of the log's last writer; '' unknown. */
  readonly run: string;
}

/**
 * Reads what was published after a position, up to the head when it began: entries that are published meanwhile do not
 * prolong it. A gap is in the step of the first entry after it. @throws SseError
 */
export async function* catchUp(
  reader: { scan(topics: readonly string[], after: Cursor): Promise<LogScan> },
  topics: () => readonly string[],
  from: Cursor,
): AsyncGenerator<CatchUpStep, void, void> {
  let position = from;
  for (;;) {
    const scan = await reader.scan(topics(), position);
    const { head, lost, run } = scan;
    if (lost === 'AHEAD') {
      // The entries that are left were delivered before.
      yield { gaps: [gapOfLostLog(lost, head)], entries: [], position: head, run };
      return;
    }
    let isFirst = true;
    do {
      const page = await scan.next(CATCH_UP_ENTRIES);
      const { completeTo, entries } = page;
      position = { epoch: head.epoch, ms: completeTo.ms, sequence: completeTo.sequence };
      yield { gaps: gapsOf(page, isFirst ? scan.lostGap(page) : undefined), entries, position, run };
      isFirst = false;
    } while (!scan.ended);
    if (!scan.broken) return;
  }
}

/** The gaps to report before the entries of a page. */
function gapsOf({ gap }: LogPage, lost: Gap | undefined): Gap[] {
  // In another log this gap concerns only clients that are in it already. All others get the reset of the former log's end.
  return [gap, lost].filter(each => each !== undefined);
}

/** An entry as Redis keeps it; `undefined` for one that another version wrote, or no node. */
export function entryOf(signer: FrameSigner, topic: string, position: Cursor, payload: Buffer): LogEntry | undefined {
  const parsed = parsePayload(signer, topic, payload);
  if (parsed.kind === 'unreadable') return undefined;
  const { body, trace, origin, id } = parsed;
  const bytes = prependId(formatCursor(position), body);
  return { topic, position, frame: { bytes, position }, trace, origin, id };
}

/** The newest entries, within a number and the bytes of a page, but at least one; whether older ones are left out. */
export function newestOf(
  found: LogEntry[],
  limit: number,
): { readonly entries: readonly LogEntry[]; readonly full: boolean } {
  found.sort((a, b) => (isAfter(a.position, b.position) ? -1 : 1));
  let bytes = 0;
  const end = found.findIndex(({ frame }, at) => at >= limit || (bytes += frame.bytes.length) > PAGE_BYTES);
  const entries = end < 0 ? found : found.slice(0, Math.max(1, end));
  return { entries, full: end >= 0 || entries.length >= limit || bytes >= PAGE_BYTES };
}

/** A topic of a request that a reply names. @throws SseError `INTERNAL` */
export function topicAt<T>(topics: readonly T[], at: number): T {
  const topic = topics[at];
  if (topic === undefined) throw new SseError('INTERNAL', 'the log answered another topic');
  return topic;
}

const MAX_FRAMES = 10_000;
const MAX_BYTES = 64 * 1024 * 1024;

/** The frames that arrive while the log is read. Bounded: beyond the bound all are dropped, and the log is read once more. */
export class HeldFrames<T> {
  #frames: T[] = [];
  #bytes = 0;
  #overflowed = false;

  /** How many frames are held. */
  get size(): number {
    return this.#frames.length;
  }

  /** Whether frames were dropped since {@link forgetOverflow}. */
  get overflowed(): boolean {
    return this.#overflowed;
  }

  add(frame: T, bytes: number): void {
    if (this.#frames.length >= MAX_FRAMES || this.#bytes + bytes > MAX_BYTES) this.overflow();
    if (this.#overflowed) return;
    this.#frames.push(frame);
    this.#bytes += bytes;
  }

  /** The log is to be read once more; then it has every frame that is held. */
  overflow(): void {
    this.clear();
    this.#overflowed = true;
  }

  /** Every frame; none is held any more. */
  drain(): readonly T[] {
    const frames = this.#frames;
    this.clear();
    return frames;
  }

  clear(): void {
    this.#frames = [];
    this.#bytes = 0;
  }

  /** The log is read from here on, so the frames that were dropped are read as well. */
  forgetOverflow(): void {
    this.#overflowed = false;
  }
}
