import type { HistoryEntry, HistoryGap, HistoryReply, HistoryRequest } from '../../../src/cluster/redis/scripts.js';
import type { Cursor, Position } from '../../../src/contracts/events.js';
import { isAfter } from '../../../src/protocol/cursor.js';

/** What is asked of the log. */
export type Question = Pick<HistoryRequest, 'topics' | 'after' | 'limit'>;

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
  run: string;
  readonly streams: ReadonlyMap<string, readonly Appended[]>;
  readonly last: ReadonlyMap<string, Position>;
  /** First results by idempotency key; for as long as nothing is lost. */
  readonly known: ReadonlyMap<string, Appended>;
}

const MOST_TOPICS = 32;
const MOST_ENTRIES = 500;
/** Milliseconds that epoch and last ids live. */
export const META_MS = 3_000_000;
/** Milliseconds that a new master jumps ahead. */
export const FENCE_MS = 60_000;
const EMPTY: State = {
  epoch: undefined,
  head: { ms: 0, sequence: 0 },
  run: '',
  streams: new Map(),
  last: new Map(),
  known: new Map(),
};

/** The ordered log as `publish.lua` and `history.lua` keep it in Redis, in memory. */
export class ModelLog {
  /** Run id of the master that is reached; '' when it is not known. */
  run = 'run-0';
  #state = EMPTY;
  #epochs = 0;

  publish(stream: string, payload: Buffer): Appended {
    const now = Date.now();
    const { streams, last, ...meta } = this.#state;
    let { ms, sequence } = { ...meta.head, ms: Math.max(meta.head.ms, now) };
    if (this.run !== '' && meta.run !== '' && meta.run !== this.run) ms = Math.max(ms + 1, now + FENCE_MS);
    let previous = last.get(stream);
    if (previous === undefined) previous = { ms: Math.max(0, now - META_MS / 2), sequence: 0 };
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

  history({ topics, after, limit }: Question): HistoryReply {
    if (topics.length > MOST_TOPICS) return { status: 'LIMIT' };
    this.#touch();
    const { head } = this.#state;
    const epoch = this.#state.epoch ?? '';
    const log = { epoch, head: text(head) };
    if (after === undefined) return { status: 'OK', ...log, completeTo: log.head, gaps: [], entries: [] };
    if (after.epoch !== epoch) return { status: 'EPOCH', ...log };
    if (isAfter(after, head)) return { status: 'AHEAD', ...log };
    return { status: 'OK', ...log, ...this.#page(topics, after, limit) };
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
      this.#state = { ...this.#state, epoch: this.#newEpoch(), head: begun, run: this.run };
    } else if (this.run !== '' && run !== this.run) {
      const ms = run === '' ? head.ms : Math.max(head.ms + 1, Date.now() + FENCE_MS);
      this.#state = { ...this.#state, head: { ...head, ms }, run: this.run };
    }
  }

  #page(topics: Question['topics'], after: Cursor, limit: number) {
    const { streams, last, head } = this.#state;
    const count = Math.ceil(Math.min(limit, MOST_ENTRIES) / topics.length);
    const gaps: HistoryGap[] = [];
    let completeTo = head;
    const pages = topics.map(({ stream }, topic) => {
      const page = (streams.get(stream) ?? []).filter(({ position }) => isAfter(position, after)).slice(0, count);
      const newest = page[0]?.previous ??
        last.get(stream) ?? { ms: Math.max(0, Date.now() - META_MS / 2), sequence: 0 };
      if (isAfter(newest, after)) gaps.push({ topic, until: text(newest) });
      const end = page[count - 1]?.position;
      if (end !== undefined && !isAfter(end, completeTo)) completeTo = end;
      return page;
    });
    const entries: HistoryEntry[] = pages.flatMap((page, topic) =>
      page
        .filter(({ position }) => !isAfter(position, completeTo))
        .map(({ position, previous, payload }) => ({
          topic,
          id: text(position),
          previous: text(previous),
          payload,
        })),
    );
    return { completeTo: text(completeTo), gaps, entries };
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
