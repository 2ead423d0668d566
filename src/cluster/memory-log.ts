import { randomBytes } from 'node:crypto';
import type { ReplayPage, ReplayRequest, Retention } from '../contracts/cluster-coordinator.js';
import type { Cursor, Frame, Position } from '../contracts/frame.js';
import { formatCursor, isAfter } from '../protocol/cursor.js';
import { prependId } from '../protocol/encode-event.js';

/** Broadcasts are the entries of this topic. */
export const EVERYONE = '*';

// A topic nobody publishes to is forgotten after this many times its retention.
const FORGET_AFTER = 10;
const SWEEP_EVERY = 1000;

interface Entry extends Frame {
  readonly position: Position;
}

interface Topic {
  entries: Entry[];
  retention: Retention;
  /** The newest entry that was trimmed. */
  trimmed: Position | undefined;
}

/** The ordered log in memory: entries of all topics share one sequence, each topic keeps its own number of them. */
export class MemoryLog {
  /** Random, so that a cursor of another log is not mistaken for one of ours. */
  readonly epoch = randomBytes(6).toString('hex');
  readonly #topics = new Map<string, Topic>();
  #tip: Position = { ms: Date.now(), sequence: 0 };
  // The newest position of any topic that was forgotten as a whole.
  #forgotten: Position | undefined;

  get tip(): Cursor {
    return { epoch: this.epoch, ...this.#tip };
  }

  /** Appends an entry and returns it as the frame that every subscriber gets. */
  append(topic: string, body: Buffer, retention: Retention): { cursor: Cursor; frame: Frame } {
    const position = {
      ms: Math.max(this.#tip.ms, Date.now()),
      sequence: this.#tip.sequence + 1,
    };
    this.#tip = position;
    const cursor = { epoch: this.epoch, ...position };
    const frame = { bytes: prependId(formatCursor(cursor), body), position };
    const kept = this.#topics.get(topic) ?? { entries: [], retention, trimmed: undefined };
    this.#topics.set(topic, kept);
    kept.retention = retention;
    kept.entries.push(frame);
    trim(kept);
    if (position.sequence % SWEEP_EVERY === 0) this.#sweep();
    return { cursor, frame };
  }

  /** What a client at `after` has missed. */
  replay({ topics, after, limit }: ReplayRequest): ReplayPage {
    const tip = this.tip;
    if (after === undefined) return { tip, upto: tip, frames: [] };
    const wanted = [...new Set([EVERYONE, ...topics])];
    if (after.epoch !== this.epoch) {
      return { ...this.#page(wanted, undefined, limit), reset: { reason: 'EPOCH', topics } };
    }
    if (isAfter(after, tip)) {
      return { ...this.#page(wanted, undefined, limit), reset: { reason: 'AHEAD', topics } };
    }
    const page = this.#page(wanted, after, limit);
    const holes = wanted.filter(topic => this.#misses(topic, after));
    return holes.length === 0 ? page : { ...page, reset: { reason: 'GAP', topics: holes } };
  }

  #page(topics: readonly string[], after: Position | undefined, limit: number): ReplayPage {
    const entries: Entry[] = [];
    for (const name of topics) {
      const topic = this.#topics.get(name);
      if (topic === undefined) continue;
      trim(topic);
      for (const entry of topic.entries) {
        if (after === undefined || isAfter(entry.position, after)) entries.push(entry);
      }
    }
    entries.sort((a, b) => a.position.sequence - b.position.sequence);
    const frames = entries.slice(0, limit);
    const upto = frames.length < entries.length ? frames.at(-1)?.position : undefined;
    return { tip: this.tip, upto: upto ?? this.#tip, frames };
  }

  #misses(name: string, after: Position): boolean {
    const topic = this.#topics.get(name);
    const lost = topic === undefined ? this.#forgotten : topic.trimmed;
    return lost !== undefined && isAfter(lost, after);
  }

  #sweep(): void {
    const now = Date.now();
    for (const [name, topic] of this.#topics) {
      trim(topic);
      const last = topic.entries.at(-1)?.position ?? topic.trimmed;
      if (last === undefined || now - last.ms < topic.retention.ttl * FORGET_AFTER) continue;
      this.#topics.delete(name);
      if (this.#forgotten === undefined || isAfter(last, this.#forgotten)) this.#forgotten = last;
    }
  }
}

function trim(topic: Topic): void {
  const { maxEntries, ttl } = topic.retention;
  const oldest = Date.now() - ttl;
  let surplus = Math.max(0, topic.entries.length - maxEntries);
  while ((topic.entries[surplus]?.position.ms ?? Infinity) < oldest) surplus += 1;
  if (surplus === 0) return;
  topic.trimmed = topic.entries[surplus - 1]?.position;
  topic.entries.splice(0, surplus);
}
