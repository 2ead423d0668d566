import type { Cursor } from '../../src/contracts/events.js';
import { formatCursor, isAfter } from '../../src/protocol/cursor.js';
import type { LedgerClient, Seen } from './ledger-client.js';

type Reset = Extract<Seen, { is: 'reset' }>;

/** What the comparison of all clients with everything that was published came to. */
export interface Balance {
  readonly events: number;
  readonly resets: Readonly<Record<string, number>>;
  /** Gaps that were reported by a reset. */
  readonly reportedGaps: number;
  /** Resets that report no entry beyond those of a former reset in the same gap. */
  readonly repeated: number;
  /**
   * Resets where only entries are missing whose publication was never acknowledged: the log had them, since another client got
   * them or Redis showed them, but their publisher lost its node or Redis before the answer.
   */
  readonly unacknowledged: number;
  /** Resets where nothing is missing, as far as any client knows. */
  readonly falseAlarms: number;
  readonly failures: readonly string[];
}

/** Everything that was acknowledged as published, by topic and epoch, and what was published without an answer. */
export class LedgerBooks {
  /** What publications without an acknowledgement were to say. */
  readonly #doubtful = new Set<string>();
  /** What Redis had, by topic and position. */
  readonly #kept = new Map<string, Map<string, Cursor>>();
  readonly #published = new Map<string, { readonly at: Cursor; readonly data: string }[]>();
  readonly #sorted = new Map<string, readonly Cursor[]>();
  #sortedAt = -1;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  publish(topic: string, at: Cursor, data: string): void {
    const entries = this.#published.get(topic) ?? [];
    this.#published.set(topic, entries);
    entries.push({ at, data });
    this.#doubtful.delete(data);
    this.#count += 1;
  }

  /** A publication that may have been made: it was not acknowledged. */
  doubt(data: string): void {
    this.#doubtful.add(data);
  }

  /** What Redis has of a topic at present. */
  keep(topic: string, entries: readonly Cursor[]): void {
    const kept = this.#kept.get(topic) ?? new Map<string, Cursor>();
    this.#kept.set(topic, kept);
    for (const at of entries) kept.set(formatCursor(at), at);
  }

  /** The newest acknowledged entry of a topic in an epoch. */
  last(topic: string, epoch: string): Cursor | undefined {
    return this.#of(topic, epoch).at(-1);
  }

  /** Whether a client has the last entry of each of its topics. */
  complete(client: LedgerClient): boolean {
    return client.topics.every(topic => {
      const newest = client.seen.get(topic)?.findLast(({ is }) => is === 'event');
      if (newest?.is !== 'event') return false;
      return this.last(topic, newest.at.epoch)?.sequence === newest.at.sequence;
    });
  }

  balance(clients: readonly LedgerClient[]): Balance {
    const failures: string[] = [];
    const resets: Record<string, number> = {};
    let events = 0;
    let reportedGaps = 0;
    let repeated = 0;
    let unacknowledged = 0;
    let falseAlarms = 0;
    const doubtful = this.#doubtfulSeen(clients);
    for (const client of clients) {
      for (const [topic, seen] of client.seen) {
        let position = client.start;
        let resetsBefore: Reset[] = [];
        const had = new Set<string>();
        for (const next of seen) {
          if (next.is === 'reset') {
            resetsBefore.push(next);
            resets[next.reason] = (resets[next.reason] ?? 0) + 1;
            continue;
          }
          events += 1;
          if (had.has(next.data)) failures.push(`${client.id} had ${next.data} twice`);
          had.add(next.data);
          const missing = position === undefined ? 0 : this.#between(topic, position, next.at);
          if (missing > 0 && resetsBefore.length === 0) {
            const sinceReset = seen
              .slice(0, seen.indexOf(next))
              .reverse()
              .findIndex(({ is }) => is === 'reset');
            failures.push(
              `${client.id} misses ${missing} of ${topic} before ${next.data}; it follows ${client.topics.join(', ')}, and ` +
                (sinceReset < 0 ? 'had no reset of it before' : `had ${sinceReset} events of it since a reset`),
            );
          }
          if (missing > 0 && resetsBefore.length > 0) reportedGaps += 1;
          repeated += this.#repeated(topic, resetsBefore, next.at);
          if (missing === 0 && resetsBefore.length > 0 && position?.epoch === next.at.epoch) {
            if (isOneBetween(doubtful.get(topic), position, next.at)) unacknowledged += 1;
            else falseAlarms += 1;
          }
          resetsBefore = [];
          position = next.at;
        }
        if (position === undefined) continue;
        const last = this.last(topic, position.epoch);
        if (last !== undefined && isAfter(last, position) && resetsBefore.length === 0) {
          failures.push(`${client.id} misses the end of ${topic}`);
        }
      }
    }
    return { events, resets, reportedGaps, repeated, unacknowledged, falseAlarms, failures };
  }

  /** Where a client came back, or another part of the gap was found, a further reset is due only for what is missing behind the former. */
  #repeated(topic: string, resetsBefore: readonly Reset[], before: Cursor): number {
    return resetsBefore.slice(1).filter((_reset, at) => {
      const on = resetsBefore[at]?.on;
      return on !== undefined && on.epoch === before.epoch && this.#between(topic, on, before) === 0;
    }).length;
  }

  /** Acknowledged entries after one cursor and before another. Of two epochs: all after the first and before the second. */
  #between(topic: string, after: Cursor, before: Cursor): number {
    const old = this.#of(topic, after.epoch);
    const missed = old.length - numberUpTo(old, after);
    const fresh = this.#of(topic, before.epoch);
    const had = fresh.length - numberBefore(fresh, before);
    return after.epoch === before.epoch ? missed - had : missed + numberBefore(fresh, before);
  }

  /** By topic: the entries that Redis had, and those that some client got although their publication was not acknowledged. */
  #doubtfulSeen(clients: readonly LedgerClient[]): ReadonlyMap<string, readonly Cursor[]> {
    const found = new Map([...this.#kept].map(([topic, kept]) => [topic, [...kept.values()]]));
    for (const [topic, seen] of clients.flatMap(client => [...client.seen])) {
      for (const each of seen) {
        if (each.is !== 'event' || !this.#doubtful.has(each.data)) continue;
        const entries = found.get(topic) ?? [];
        found.set(topic, entries);
        entries.push(each.at);
      }
    }
    return found;
  }

  /** In order. */
  #of(topic: string, epoch: string): readonly Cursor[] {
    const name = `${epoch} ${topic}`;
    const known = this.#sorted.get(name);
    const published = this.#published.get(topic) ?? [];
    if (known !== undefined && this.#sortedAt === this.#count) return known;
    if (this.#sortedAt !== this.#count) this.#sorted.clear();
    this.#sortedAt = this.#count;
    const entries = published.map(({ at }) => at).filter(at => at.epoch === epoch);
    entries.sort((a, b) => (isAfter(a, b) ? 1 : -1));
    this.#sorted.set(name, entries);
    return entries;
  }
}

function isOneBetween(entries: readonly Cursor[] = [], after: Cursor, before: Cursor): boolean {
  return entries.some(at => at.epoch === after.epoch && isAfter(at, after) && isAfter(before, at));
}

function numberUpTo(entries: readonly Cursor[], position: Cursor): number {
  return firstThat(entries, entry => isAfter(entry, position));
}

function numberBefore(entries: readonly Cursor[], position: Cursor): number {
  return firstThat(entries, entry => !isAfter(position, entry));
}

/** The first entry of which something holds that holds of all later ones, by halving. */
function firstThat(entries: readonly Cursor[], holds: (entry: Cursor) => boolean): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry !== undefined && holds(entry)) high = middle;
    else low = middle + 1;
  }
  return low;
}
