import type { Cursor, Frame, Position } from '../../contracts/events.js';
import { isAfter } from '../../protocol/cursor.js';

/** What a page is made of. `frame` is undefined once it was dropped. */
interface PageEntry {
  readonly position: Cursor;
  readonly frame: Frame | undefined;
}

/** The entries of a topic, all of them from the first one for a reader on. */
export interface TopicPart<E> {
  readonly entries: readonly E[];
  /** Where the first one for the reader is. */
  readonly first: number;
}

/** The beginning of what a reader misses: everything up to a position. */
interface FirstPage {
  readonly completeTo: Position;
  readonly frames: readonly Frame[];
}

/** A page, and what it was made of. */
interface Recent<E> {
  readonly firsts: readonly (E | undefined)[];
  readonly end: Position;
  readonly limit: number;
  readonly maxBytes: number;
  readonly page: WeakRef<FirstPage>;
}

/** Pages that are compared with what a reader needs. Clients of a few positions come back at once. */
const MOST_PAGES = 8;

/**
 * Makes pages of the entries of several topics. Clients that come back from one position need the same page, and get the same
 * one, also where they follow different topics that have nothing for them. The garbage collector frees a page without readers.
 */
export class RecentPages<E extends PageEntry> {
  #recent: Recent<E>[] = [];

  /**
   * The first entries up to `end`, in order, within a number and a number of bytes, but at least one.
   * @param parts of topics with entries for the reader
   */
  pageOf(parts: readonly TopicPart<E>[], end: Position, limit: number, maxBytes: number): FirstPage {
    for (const recent of this.#recent) {
      if (recent.limit !== limit || recent.maxBytes !== maxBytes || !beginsWith(recent.firsts, parts)) continue;
      const page = recent.page.deref();
      if (page !== undefined && endsAlike(page, recent.end, end)) return page;
    }
    // One more than is asked for, since the page must know where it ends.
    const found = parts.flatMap(({ entries, first }) => entries.slice(first, first + limit + 1));
    const { completeTo, entries } = firstOf(found, end, limit, maxBytes);
    const page = { completeTo, frames: entries.flatMap(({ frame }) => frame ?? []) };
    const firsts = parts.map(({ entries, first }) => entries[first]);
    const recent = { firsts, end, limit, maxBytes, page: new WeakRef(page) };
    this.#recent = [recent, ...this.#recent].slice(0, MOST_PAGES);
    return page;
  }
}

/** Whether parts begin with these entries: what follows an entry in its topic does not change. */
function beginsWith<E>(firsts: readonly (E | undefined)[], parts: readonly TopicPart<E>[]): boolean {
  return firsts.length === parts.length && parts.every(({ entries, first }, at) => entries[first] === firsts[at]);
}

/** Whether a page that was made up to a position is that up to another one. A full page ends before both. */
function endsAlike({ completeTo }: FirstPage, madeTo: Position, end: Position): boolean {
  if (isAfter(madeTo, completeTo)) return !isAfter(completeTo, end);
  return !isAfter(madeTo, end) && !isAfter(end, madeTo);
}

/** The first entries, in order, within a number and a number of bytes, but at least one; complete up to where they end. */
export function firstOf<E extends PageEntry>(
  found: E[],
  completeTo: Position,
  limit: number,
  maxBytes: number,
): { readonly completeTo: Position; readonly entries: readonly E[] } {
  found.sort((a, b) => (isAfter(a.position, b.position) ? 1 : -1));
  const entries: E[] = [];
  let bytes = 0;
  for (const entry of found) {
    if (isAfter(entry.position, completeTo)) break;
    const last = entries.at(-1);
    if (last !== undefined && (entries.length >= limit || bytes >= maxBytes)) {
      return { completeTo: last.position, entries };
    }
    entries.push(entry);
    bytes += entry.frame?.bytes.length ?? 0;
  }
  return { completeTo, entries };
}
