import type { Cursor, Position } from '../contracts/events.js';

const PATTERN = /^([0-9a-z]{1,16})\.([0-9a-z]{1,11})-([0-9a-z]{1,11})$/;

// The largest power of 36 below 2 ** 31: up to there conversion is several times faster.
const LOW_DIGITS = 5;
const LOW = 36 ** LOW_DIGITS;

/** The cursor as an SSE id: `<epoch>.<ms>-<sequence>`, numbers in base 36. */
export function formatCursor({ epoch, ms, sequence }: Cursor): string {
  return `${epoch}.${base36(ms)}-${base36(sequence)}`;
}

function base36(number: number): string {
  if (number < LOW) return number.toString(36);
  const high = Math.floor(number / LOW);
  return high.toString(36) + (number - high * LOW).toString(36).padStart(LOW_DIGITS, '0');
}

/** Reads an SSE id; `undefined` for anything that `formatCursor` cannot have written. */
export function parseCursor(id: string): Cursor | undefined {
  const match = PATTERN.exec(id);
  if (match === null) return undefined;
  const [, epoch = '', msText = '', sequenceText = ''] = match;
  const ms = parseInt(msText, 36);
  const sequence = parseInt(sequenceText, 36);
  if (!Number.isSafeInteger(ms) || !Number.isSafeInteger(sequence)) return undefined;
  const cursor = { epoch, ms, sequence };
  return formatCursor(cursor) === id ? cursor : undefined;
}

/** The position just before an entry: a client with this cursor gets the entry next. */
export function cursorBefore({ epoch, ms, sequence }: Cursor): Cursor {
  return { epoch, ms, sequence: sequence - 1 };
}

/** The cursor before the first entry of an epoch. */
export function beginningOf(epoch: string): Cursor {
  return { epoch, ms: 0, sequence: 0 };
}

/** Whether `a` comes after `b`. Both belong to one epoch. */
export function isAfter(a: Position, b: Position): boolean {
  return a.ms > b.ms || (a.ms === b.ms && a.sequence > b.sequence);
}

/** The later of two positions of one epoch. */
export function later(a: Position, b: Position): Position {
  return isAfter(a, b) ? a : b;
}

/** The earlier of two positions of one epoch. */
export function earlier(a: Position, b: Position): Position {
  return isAfter(a, b) ? b : a;
}

/** Before every entry. */
export const ORIGIN: Position = { ms: 0, sequence: 0 };

/** The epoch of a position that counts in every log, since it is a time. */
export const ANY_LOG = '';

/** Where a reader at a position begins that follows a topic only since another. @param epoch of the log */
export function beginningSince(since: Cursor | undefined, epoch: string, at: Position): Position {
  return since !== undefined && (since.epoch === epoch || since.epoch === ANY_LOG) ? later(since, at) : at;
}

/** Index of the first entry after a position, by halving: topics may keep a million entries. */
export function firstAfter(entries: readonly { readonly position: Position }[], after: Position): number {
  let low = 0;
  let high = entries.length;
  while (low < high) {
    const middle = (low + high) >>> 1;
    const entry = entries[middle];
    if (entry !== undefined && isAfter(entry.position, after)) high = middle;
    else low = middle + 1;
  }
  return low;
}

/** The id of the last event of a stream whose source has ended: any node answers a client that comes back with it by 204. */
export const ENDED = '~ended';

const FAILED = /^~failed([0-9]{1,2})\.(.*)$/s;
const MOST_FAILURES = 99;

/** What a client that comes back says with its last id. */
export interface Comeback {
  /** Where it stands. */
  readonly lastEventId: string | undefined;
  /** How often in a row its stream has failed. */
  readonly failures: number;
}

/** The id of the last event of a stream that failed, so that any node can count. @param lastEventId where the client stands */
export function failedId({ failures, lastEventId = '' }: Comeback): string {
  return `~failed${Math.min(failures, MOST_FAILURES)}.${lastEventId}`;
}

/** Reads the last id of a client. */
export function comebackOf(id: string | undefined): Comeback {
  const match = id === undefined ? null : FAILED.exec(id);
  if (match === null) return { lastEventId: id, failures: 0 };
  const [, failures, lastEventId = ''] = match;
  return { lastEventId: lastEventId === '' ? undefined : lastEventId, failures: Number(failures) };
}
