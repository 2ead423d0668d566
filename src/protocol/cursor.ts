import type { Cursor, Position } from '../contracts/frame.js';

const PATTERN = /^([0-9a-z]{1,16})\.([0-9a-z]{1,11})-([0-9a-z]{1,11})$/;

/** The cursor as an SSE id: `<epoch>.<ms>-<sequence>`, numbers in base 36. */
export function formatCursor({ epoch, ms, sequence }: Cursor): string {
  return `${epoch}.${ms.toString(36)}-${sequence.toString(36)}`;
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

/** Whether `a` comes after `b`. Both belong to one epoch. */
export function isAfter(a: Position, b: Position): boolean {
  return a.ms > b.ms || (a.ms === b.ms && a.sequence > b.sequence);
}
