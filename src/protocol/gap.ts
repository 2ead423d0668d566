import type { Cursor, Hole, HolePart } from '../contracts/events.js';
import { isAfter } from './cursor.js';

/**
 * One hole of everything that is missing before a place; `undefined` when nothing is. One, because a client that is told of
 * some topics only, and moved along, would never hear of the others.
 */
export function gapHole(parts: readonly HolePart[], resumedFrom: Cursor): Hole | undefined {
  const [first] = parts;
  if (first === undefined) return undefined;
  const until = parts.reduce(
    (last, part) => (isAfter(part.until, last) ? part.until : last),
    first.until,
  );
  return { reason: 'GAP', topics: undefined, resumedFrom, until, parts };
}
