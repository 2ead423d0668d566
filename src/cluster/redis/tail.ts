import type { ReplayPage } from '../../contracts/cluster.js';
import type { Cursor, Frame, Gap, Position } from '../../contracts/events.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { retentionFor } from '../../options/topic-history.js';
import { beginningSince, firstAfter, isAfter, later } from '../../protocol/cursor.js';
import { EVERYONE, isMailbox, isSourceTopic } from '../../protocol/names.js';
import { RecentPages, type TopicPart } from './recent-pages.js';

/** Milliseconds that the entries of a topic are kept, as the settings say. */
export function retentionMs({ history, mailbox, source }: ResolvedSseOptions, topic: string): number {
  if (isMailbox(topic)) return mailbox.ttl;
  if (isSourceTopic(topic)) return source.ttl;
  const retention = retentionFor(history, topic === EVERYONE ? undefined : topic);
  return retention === false ? 0 : retention.ttl;
}

/** An entry of the log as this node delivers it. */
export interface LogEntry {
  readonly topic: string;
  readonly position: Cursor;
  /** The event with its id in front. */
  readonly frame: Frame;
  readonly trace?: string | undefined;
  /** Names the publication, where publications are signed. */
  readonly origin?: Buffer | undefined;
  /** As the publisher gave it. */
  readonly id?: string | undefined;
}

/** What a read found of one topic: every entry after `from`, up to and including `to`. */
export interface TopicSlice {
  readonly topic: string;
  readonly from: Position;
  readonly to: Position;
  readonly entries: readonly LogEntry[];
  /** Milliseconds since each entry was published; the age of an entry that has just arrived is 0. */
  readonly ageOf: (entry: LogEntry) => number;
}

/** An entry in the tail. */
interface Kept {
  readonly topic: string;
  readonly position: Cursor;
  readonly size: number;
  /** By the monotonic clock, in milliseconds. Within a run no entry expires before an older one. */
  expiresAt: number;
  /** `undefined` once it was dropped. */
  frame: Frame | undefined;
}

/** A part of a topic of which every entry is known. */
interface Run {
  /** Every entry after this position… */
  from: Position;
  /** …up to and including this one. In the run that grows: or up to the position of the feed, whichever is later. */
  to: Position;
  entries: Kept[];
}

interface TopicTail {
  /** Distinguishes this subscription to the topic from former ones. */
  readonly generation: number;
  /** Milliseconds an entry is kept. */
  readonly ttl: number;
  /** Whether Redis has acknowledged the subscription. */
  acknowledged: boolean;
  /** The feed delivers every entry after this position. */
  since: Position | undefined;
  /** The run that grows with the feed. */
  growing: Run | undefined;
  /** All runs, in order, apart from each other. */
  runs: Run[];
}

/** Bytes that an entry costs beside its event, about. */
const OVERHEAD = 200;
/** When the tail is full it shrinks to this part, so that the work is shared by many entries. */
const SHRINK_TO = 7 / 8;

/**
 * The newest entries of the topics that this node follows, bounded in bytes: what the feed has delivered and what clients
 * that resumed have read. It serves readers without Redis, but only what Redis would answer as well: it knows for each topic
 * from which position it is complete, belongs to one epoch and one run id of Redis, and serves only while the feed is live.
 */
export class LogTail {
  readonly #topics = new Map<string, TopicTail>();
  readonly #pages = new RecentPages<Kept>();
  /** In the order in which they came; the oldest are dropped first. */
  #order: Kept[] = [];
  #bytes = 0;
  #generation = 0;
  #position: Cursor | undefined;
  #run: string | undefined;
  /** Whether the feed is live. */
  live = false;

  /**
   * @param maxBytes bound of all entries together; 0 keeps none
   * @param ttlOf milliseconds an entry of a topic is kept
   */
  constructor(
    private readonly maxBytes: number,
    private readonly ttlOf: (topic: string) => number,
  ) {}

  /** Bytes of all entries. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Everything up to here was delivered by the feed. */
  get position(): Cursor | undefined {
    return this.#position;
  }

  /** The feed follows a topic from now on. */
  follow(topic: string): void {
    this.#generation += 1;
    const ttl = this.ttlOf(topic);
    const tail: TopicTail = {
      generation: this.#generation,
      ttl,
      acknowledged: false,
      since: undefined,
      growing: undefined,
      runs: [],
    };
    this.#topics.set(topic, tail);
  }

  /** Redis has acknowledged the subscription to a topic. */
  acknowledge(topic: string): void {
    const tail = this.#topics.get(topic);
    if (tail !== undefined) tail.acknowledged = true;
  }

  /** The feed follows a topic no more. */
  forget(topic: string): void {
    for (const { entries } of this.#topics.get(topic)?.runs ?? []) this.#drop(entries);
    this.#topics.delete(topic);
  }

  /** The subscriptions to these topics that Redis has acknowledged, by topic; `undefined` when one of them is not. */
  generations(topics: readonly string[]): number[] | undefined {
    const generations: number[] = [];
    for (const topic of topics) {
      const tail = this.#topics.get(topic);
      if (tail?.acknowledged !== true) return undefined;
      generations.push(tail.generation);
    }
    return generations;
  }

  /** The feed delivers every entry of a topic after this position, which was read after Redis acknowledged the subscription. */
  begin(topic: string, head: Cursor, generation?: number): void {
    const tail = this.#topics.get(topic);
    if (tail === undefined || tail.since !== undefined || head.epoch !== this.#position?.epoch) return;
    if (generation !== undefined && generation !== tail.generation) return;
    // What the feed has delivered since the head was read, it did not add here.
    const { ms, sequence } = later(head, this.#position);
    tail.since = { ms, sequence };
    tail.growing = { from: tail.since, to: tail.since, entries: [] };
    this.#insert(tail, tail.growing);
  }

  /** The feed delivers an entry, the next one of its topic. */
  add(entry: LogEntry): void {
    const { topic, position } = entry;
    const tail = this.#topics.get(topic);
    const growing = tail?.growing;
    // An entry up to the end of the run was read before.
    if (tail === undefined || growing === undefined || !isAfter(position, growing.to)) return;
    growing.entries.push(this.#keep(tail, entry, 0));
    growing.to = position;
    this.#bound();
  }

  /** The feed has delivered everything up to here. */
  moveTo(position: Cursor): void {
    this.#position = position;
  }

  /** Entries are missing: of these topics up to these positions, else of all. */
  lose({ topics }: Gap): void {
    if (topics === undefined) {
      this.clear();
      return;
    }
    for (const [topic, until] of topics) {
      const tail = this.#topics.get(topic);
      if (tail !== undefined) this.#cut(tail, until);
    }
  }

  /** The log belongs to this run of Redis; what another run has written may be lost. '' says nothing. */
  belongTo(run: string): void {
    if (run === '' || run === this.#run) return;
    if (this.#run !== undefined) this.clear();
    this.#run = run;
  }

  /** Drops everything but the subscriptions. */
  clear(): void {
    for (const tail of this.#topics.values()) Object.assign(tail, { since: undefined, growing: undefined, runs: [] });
    this.#drop(this.#order);
    this.#order = [];
  }

  /** What a read of an epoch, in a run of Redis, has found; kept for topics that the feed delivers. */
  learn({ topic, from, to, entries, ageOf }: TopicSlice, epoch: string, run: string): void {
    const tail = this.#topics.get(topic);
    if (tail?.since === undefined || epoch !== this.#position?.epoch || !isAfter(to, from)) return;
    if (run !== '' && run !== this.#run) return;
    const found: Run = { from, to, entries: [] };
    for (const entry of entries) {
      const age = ageOf(entry);
      if (age < tail.ttl) {
        found.entries.push(this.#keep(tail, entry, age));
        continue;
      }
      this.#drop(found.entries.splice(0));
      found.from = entry.position;
    }
    this.#insert(tail, found);
    this.#bound();
  }

  /** Where a replay of these topics may end: the feed delivers all that follows. `undefined`: ask Redis. */
  #end(topics: readonly string[]): Cursor | undefined {
    if (!this.live || this.#position === undefined) return undefined;
    let end: Position = this.#position;
    for (const topic of topics) {
      const since = this.#topics.get(topic)?.since;
      if (since === undefined) return undefined;
      end = later(end, since);
    }
    return { epoch: this.#position.epoch, ms: end.ms, sequence: end.sequence };
  }

  /** A page for a reader of these topics, some of which it follows only `since` a position. `undefined`: ask Redis. */
  page(
    topics: readonly string[],
    after: Cursor,
    limit: number,
    maxBytes: number,
    since: ReadonlyMap<string, Cursor> = new Map(),
  ): ReplayPage | undefined {
    const head = this.#end(topics);
    if (head === undefined || after.epoch !== head.epoch || isAfter(after, head)) return undefined;
    let completeTo: Position = head;
    const parts: TopicPart<Kept>[] = [];
    for (const topic of topics) {
      const tail = this.#topics.get(topic);
      const from = beginningSince(since.get(topic), head.epoch, after);
      const run = tail && this.#runAt(tail, from);
      if (tail === undefined || run === undefined) return undefined;
      const end = this.#endOf(tail, run);
      if (isAfter(completeTo, end)) completeTo = end;
      const first = firstAfter(run.entries, from);
      if (first < run.entries.length) parts.push({ entries: run.entries, first });
    }
    if (isAfter(head, after) && !isAfter(completeTo, after)) return undefined;
    const page = this.#pages.pageOf(parts, completeTo, limit, maxBytes);
    return { head, completeTo: page.completeTo, frames: page.frames };
  }

  /** The run in which a reader at this position finds the next entry, without entries that are too old. */
  #runAt(tail: TopicTail, after: Position): Run | undefined {
    const run = tail.runs.findLast(({ from }) => !isAfter(from, after));
    if (run === undefined || isAfter(after, this.#endOf(tail, run))) return undefined;
    const now = performance.now();
    let old: Kept | undefined;
    // Of thousands of entries, mostly none is too old.
    for (const kept of run.entries) {
      if (kept.expiresAt > now) break;
      old = kept;
    }
    if (old === undefined) return run;
    this.#cut(tail, old.position);
    return isAfter(run.from, after) ? undefined : run;
  }

  #endOf({ growing }: TopicTail, run: Run): Position {
    return run === growing && this.#position !== undefined ? later(run.to, this.#position) : run.to;
  }

  #keep({ ttl }: TopicTail, { topic, position, frame }: LogEntry, age: number): Kept {
    const size = frame.bytes.length + OVERHEAD;
    const kept = { topic, position, size, expiresAt: performance.now() + ttl - age, frame: withOwnBytes(frame) };
    this.#order.push(kept);
    this.#bytes += size;
    return kept;
  }

  /** Adds a run, joined with those that it touches. */
  #insert(tail: TopicTail, run: Run): void {
    const apart: Run[] = [];
    for (const other of tail.runs) {
      const touches = !isAfter(other.from, run.to) && !isAfter(run.from, this.#endOf(tail, other));
      if (!touches) apart.push(other);
      else run = this.#join(tail, other, run);
    }
    apart.push(run);
    tail.runs = apart.sort((a, b) => (isAfter(a.from, b.from) ? 1 : -1));
  }

  #join(tail: TopicTail, a: Run, b: Run): Run {
    const grows = a === tail.growing || b === tail.growing;
    const into = b === tail.growing ? b : a;
    const other = into === a ? b : a;
    // The two have the same entries where they overlap.
    const [first, last] = isAfter(into.from, other.from) ? [other, into] : [into, other];
    const end = first.entries.at(-1)?.position;
    const rest = end === undefined ? 0 : firstAfter(last.entries, end);
    this.#drop(last.entries.slice(0, rest));
    const entries = inOrderOfAge([...first.entries, ...last.entries.slice(rest)]);
    into.from = first.from;
    into.to = later(a.to, b.to);
    into.entries = entries;
    if (grows) tail.growing = into;
    return into;
  }

  /** Nothing of a topic up to this position is known any more. */
  #cut(tail: TopicTail, until: Position): void {
    for (const run of tail.runs) {
      if (!isAfter(until, run.from)) continue;
      const dropped = run.entries.splice(0, firstAfter(run.entries, until));
      this.#drop(dropped);
      run.from = until;
      run.to = later(run.to, until);
    }
    tail.runs = tail.runs.filter(run => run === tail.growing || isAfter(run.to, run.from));
  }

  #drop(entries: Iterable<Kept>): void {
    for (const kept of entries) {
      if (kept.frame === undefined) continue;
      kept.frame = undefined;
      this.#bytes -= kept.size;
    }
  }

  /** Drops the entries that came first, with all older ones of their run, when there are too many bytes. */
  #bound(): void {
    if (this.#bytes <= this.maxBytes) return;
    const goal = this.maxBytes * SHRINK_TO;
    let at = 0;
    for (; this.#bytes > goal && at < this.#order.length; at += 1) {
      const { topic, position, frame } = this.#order[at] ?? {};
      const tail = topic === undefined ? undefined : this.#topics.get(topic);
      if (frame !== undefined && tail !== undefined && position !== undefined) this.#evict(tail, position);
    }
    this.#order = this.#order.slice(at).filter(({ frame }) => frame !== undefined);
  }

  #evict(tail: TopicTail, position: Position): void {
    const run = tail.runs.findLast(({ from }) => !isAfter(from, position));
    if (run === undefined) return;
    this.#drop(run.entries.splice(0, firstAfter(run.entries, position)));
    run.from = position;
    if (run !== tail.growing && !isAfter(run.to, run.from)) tail.runs = tail.runs.filter(other => other !== run);
  }
}

/** Has no entry expire before an older one: what the feed delivered and what was read have their ages by different clocks. */
function inOrderOfAge(entries: Kept[]): Kept[] {
  let earliest = Infinity;
  for (const kept of entries.toReversed()) {
    earliest = Math.min(earliest, kept.expiresAt);
    kept.expiresAt = earliest;
  }
  return entries;
}

/** A frame whose bytes are no part of a buffer that Node shares among many: a kept part keeps all of that buffer. */
function withOwnBytes(frame: Frame): Frame {
  const { bytes } = frame;
  if (bytes.buffer.byteLength === bytes.length) return frame;
  const own = Buffer.allocUnsafeSlow(bytes.length);
  own.set(bytes);
  return { ...frame, bytes: own };
}
