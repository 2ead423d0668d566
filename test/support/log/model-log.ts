import type { HistoryReply, HistoryRequest, LookReply } from '../../../src/cluster/redis/scripts.js';
import type { Position } from '../../../src/contracts/events.js';
import { isAfter } from '../../../src/protocol/cursor.js';

type HistoryPage = Extract<HistoryReply, { status: 'OK' }>;

/** What is asked of the log. */
export type Question = Omit<HistoryRequest, 'meta'>;

/** An entry as `publish.lua` appends it. */
export interface Appended {
  readonly stream: string;
  readonly epoch: string;
  readonly position: Position;
  readonly previous: Position;
  readonly payload: Buffer;
}

interface State {
  epoch: string | undefined;
  head: Position;
  /** The newest entry, or where the log began; a new master moves the head without one. */
  lastEntry: Position;
  /** The last pause of the log: the entry before it, and the time of the next one. */
  pause: { readonly before: Position; readonly till: number } | undefined;
  run: string;
  readonly streams: ReadonlyMap<string, readonly Appended[]>;
  /** By stream. */
  readonly last: ReadonlyMap<string, Position>;
  /** First results by idempotency key; for as long as nothing is lost. */
  readonly known: ReadonlyMap<string, Appended>;
}

const MOST_TOPICS = 32;
const MOST_ENTRIES = 500;
const MOST_LASTS = 1_000;
/** Entries that history.lua reads at once, at most. */
const AT_ONCE = 8;
/** Milliseconds that epoch and last ids live. */
export const META_MS = 3_000_000;
/** Milliseconds that a new master jumps ahead. */
export const FENCE_MS = 60_000;
const EMPTY: State = {
  epoch: undefined,
  head: { ms: 0, sequence: 0 },
  lastEntry: { ms: 0, sequence: 0 },
  pause: undefined,
  run: '',
  streams: new Map(),
  last: new Map(),
  known: new Map(),
};

/** The ordered log as `publish.lua`, `look.lua` and `history.lua` keep it in Redis, in memory. */
export class ModelLog {
  /** Run id of the master that is reached; '' when it is not known. */
  run = 'run-0';
  #state = EMPTY;
  #epochs = 0;

  publish(stream: string, payload: Buffer): Appended {
    const now = Date.now();
    const { streams, last, ...meta } = this.#state;
    if (meta.epoch !== undefined && meta.lastEntry.ms < now - META_MS / 4) {
      this.#state = { ...this.#state, pause: { before: meta.lastEntry, till: now } };
    }
    let { ms, sequence } = { ...meta.head, ms: Math.max(meta.head.ms, now) };
    if (this.run !== '' && meta.run !== '' && meta.run !== this.run) ms = Math.max(ms + 1, now + FENCE_MS);
    let previous = last.get(stream);
    if (previous === undefined) previous = this.#forgotten();
    else
      ({ ms, sequence } = {
        ms: Math.max(ms, previous.ms),
        sequence: Math.max(sequence, previous.sequence),
      });
    const position = { ms, sequence: sequence + 1 };
    const epoch = meta.epoch ?? this.#newEpoch();
    const entry = { stream, epoch, position, previous, payload };
    this.#state = {
      ...this.#state,
      epoch,
      head: position,
      lastEntry: position,
      run: this.run === '' ? meta.run : this.run,
      streams: new Map(streams).set(stream, [...(streams.get(stream) ?? []), entry]),
      last: new Map(last).set(stream, position),
    };
    return entry;
  }

  /** The same with an idempotency key. */
  publishOnce(key: string, stream: string, payload: Buffer): readonly ['NEW' | 'KNOWN', Appended] {
    const first = this.#state.known.get(key);
    if (first !== undefined) return ['KNOWN', first];
    const entry = this.publish(stream, payload);
    this.#state = { ...this.#state, known: new Map(this.#state.known).set(key, entry) };
    return ['NEW', entry];
  }

  /** @param streams the topics whose last ids are asked for */
  look(streams: readonly string[]): LookReply {
    if (streams.length > MOST_LASTS) return { status: 'LIMIT' };
    this.#touch();
    const { epoch = '', run, head, last } = this.#state;
    const lasts = streams.map(stream => last.get(stream)).map(position => position && text(position));
    return { status: 'OK', now: Date.now(), epoch, run, head: text(head), forgotten: text(this.#forgotten()), lasts };
  }

  history({ topics, after, epoch, limit, bytes }: Question): HistoryReply {
    if (topics.length > MOST_TOPICS) return { status: 'LIMIT' };
    if (epoch !== this.#state.epoch) return { status: 'EPOCH' };
    const gaps: HistoryPage['gaps'][number][] = [];
    const more: number[] = [];
    const entries: HistoryPage['entries'][number][] = [];
    const share = bytes / topics.length;
    const most = Math.max(1, Math.floor(Math.min(limit, MOST_ENTRIES) / topics.length));
    let read = 0;
    for (let used = 0; read < topics.length && (read === 0 || used < bytes); read += 1) {
      const { stream } = topics[read] ?? { stream: '' };
      const from = after[read] ?? { ms: 0, sequence: 0 };
      const page = this.#readTopic(stream, from, share, most);
      const until = page.found[0]?.previous ?? this.#state.last.get(stream);
      if (until === undefined || isAfter(until, from)) gaps.push({ topic: read, until: until && text(until) });
      if (page.more) more.push(read);
      for (const { position, previous, payload } of page.found) {
        entries.push({ topic: read, id: text(position), previous: text(previous), payload });
        used += payload.length;
      }
    }
    return { status: 'OK', read, gaps, more, entries };
  }

  /** Keeps the newest entries of a topic only. */
  trim(stream: string, keep: number): void {
    const entries = this.#state.streams.get(stream);
    if (entries === undefined) return;
    const kept = keep === 0 ? [] : entries.slice(-keep);
    this.#state = { ...this.#state, streams: new Map(this.#state.streams).set(stream, kept) };
  }

  /** Everything is gone. */
  flush(): void {
    this.#state = EMPTY;
  }

  /** What there is, for {@link restore}. */
  snapshot(): object {
    return { ...this.#state };
  }

  /** A master takes over that had only this. */
  restore(snapshot: object, run: string): void {
    this.#state = snapshot as State;
    this.run = run;
  }

  #touch(): void {
    const { epoch, run, head } = this.#state;
    if (epoch === undefined) {
      const begun = { ms: Date.now(), sequence: 0 };
      this.#state = { ...this.#state, epoch: this.#newEpoch(), head: begun, lastEntry: begun, run: this.run };
    } else if (this.run !== '' && run !== this.run) {
      const ms = run === '' ? head.ms : Math.max(head.ms + 1, Date.now() + FENCE_MS);
      this.#state = { ...this.#state, head: { ...head, ms }, run: this.run };
    }
  }

  #readTopic(stream: string, from: Position, share: number, most: number) {
    const all = (this.#state.streams.get(stream) ?? []).filter(({ position }) => isAfter(position, from));
    let count = 0;
    let size = 0;
    for (;;) {
      const fitting = Math.max(1, Math.floor(((share - size) * count) / size));
      const asked = count === 0 ? 1 : Math.min(AT_ONCE, most - count, fitting);
      const got = all.slice(count, count + asked);
      count += got.length;
      for (const { payload } of got) size += payload.length;
      if (got.length < asked) return { found: all, more: false };
      if (count >= most || size >= share) return { found: all.slice(0, count), more: true };
    }
  }

  /** Stands for the last id of a topic that is forgotten. */
  #forgotten(): Position {
    const { epoch, lastEntry, pause } = this.#state;
    const bound = { ms: Math.max(0, Date.now() - META_MS / 2), sequence: 0 };
    if (epoch !== undefined && lastEntry.ms < bound.ms) return lastEntry;
    return pause !== undefined && pause.before.ms < bound.ms && bound.ms < pause.till ? pause.before : bound;
  }

  #newEpoch(): string {
    this.#epochs += 1;
    return `epoch${this.#epochs}`;
  }
}

/** As an id of the log. */
export function text({ ms, sequence }: Position): string {
  return `${ms}-${sequence}`;
}
