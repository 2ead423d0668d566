import type { Delivery } from '../../contracts/connection-store.js';
import { SSE_ERROR_CODES, type SseErrorCode } from '../../errors/sse-error.js';
import { isIncarnation } from './incarnation.js';

/** What the owner did with one attempt. */
export interface Ack {
  readonly attempt: string;
  readonly delivery: Delivery;
}

/** First two bytes of the frame, version included. */
export const ACK_KIND = 'a1';

/** Acks that one frame may carry. */
export const MAX_ACKS = 10_000;
const LETTERS = { delivered: 'd', buffered: 'b', closed: 'c', rejected: 'r' } as const;
const OUTCOMES = { d: 'delivered', b: 'buffered', c: 'closed' } as const;

/** One line of an ack frame. */
export function encodeAck({ attempt, delivery }: Ack): string {
  const code = delivery.outcome === 'rejected' ? ` ${delivery.code}` : '';
  return `${attempt} ${LETTERS[delivery.outcome]}${code}`;
}

/** `a1 <from>`, then a line per ack. */
export function encodeAcks(from: string, lines: readonly string[]): Buffer {
  return Buffer.from(`${ACK_KIND} ${from}\n${lines.join('\n')}`);
}

/** `undefined` for anything that `encodeAcks` cannot have written. */
export function decodeAcks(frame: Buffer): { from: string; acks: Ack[] } | undefined {
  const [header = '', ...lines] = frame.toString('latin1').split('\n', MAX_ACKS + 2);
  const [kind, from = '', ...rest] = header.split(' ');
  if (kind !== ACK_KIND || rest.length > 0 || !isIncarnation(from)) return undefined;
  if (lines.length > MAX_ACKS) return undefined;
  const acks: Ack[] = [];
  for (const line of lines) {
    const delivery = deliveryOf(line.split(' '));
    if (delivery === undefined) return undefined;
    acks.push({ attempt: line.slice(0, line.indexOf(' ')), delivery });
  }
  return { from, acks };
}

function deliveryOf([, letter, code, ...rest]: readonly string[]): Delivery | undefined {
  if (rest.length > 0) return undefined;
  if (letter === 'd' || letter === 'b' || letter === 'c') {
    return code === undefined ? { outcome: OUTCOMES[letter] } : undefined;
  }
  if (letter !== 'r' || !isCode(code)) return undefined;
  return { outcome: 'rejected', code };
}

function isCode(text: string | undefined): text is SseErrorCode {
  return SSE_ERROR_CODES.has(text as SseErrorCode);
}
