import type { Position } from '../../contracts/frame.js';
import { isEventText } from './event-text.js';
import { traceOf, traceText } from './trace-text.js';

/** What the log keeps of an event, and what subscribers get behind its place in the log. */
export interface PublicationPayload {
  readonly trace: string | undefined;
  /** The event without an id; a slice when it was read. */
  readonly body: Buffer;
}

/** A publication as it comes from a channel; without a place when it is not kept. */
export interface PublicationFrame extends PublicationPayload {
  readonly place?: {
    readonly epoch: string;
    readonly position: Position;
    /** The topic's entry before it, or a bound. */
    readonly previous: Position;
  };
}

// Epoch, two ids of at most 2 x 16 digits, blanks.
const MAX_HEADER = 100;
const BLANK = 0x20;
const LF = 0x0a;
const EPOCH = /^[0-9a-z]{1,16}$/;
const PLACE = /^([0-9]{1,16})-([0-9]{1,16})$/;
const UNKEPT = '-';

/** `<trace>` LF event. */
export function encodePayload({ trace, body }: PublicationPayload): Buffer {
  return Buffer.concat([Buffer.from(`${traceText(trace)}\n`), body]);
}

/** `undefined` for anything that `encodePayload` cannot have written. */
export function decodePayload(payload: Buffer): PublicationPayload | undefined {
  const end = payload.indexOf(LF);
  const body = payload.subarray(end + 1);
  if (end < 0 || end > 1024 || !isEventText(body)) return undefined;
  return { trace: traceOf(payload.toString('latin1', 0, end)), body };
}

/** The frame of an event that is not kept: `- <payload>`. Those of kept events are written by `publish.lua`. */
export function encodeUnkept(payload: PublicationPayload): Buffer {
  return Buffer.concat([Buffer.from(`${UNKEPT} `), encodePayload(payload)]);
}

/** `<epoch> <id> <previous> <payload>` or `- <payload>`; `undefined` for anything else. */
export function decodePublication(frame: Buffer): PublicationFrame | undefined {
  const first = frame.subarray(0, MAX_HEADER).indexOf(BLANK);
  const epoch = frame.toString('latin1', 0, Math.max(0, first));
  if (epoch === UNKEPT) return decodePayload(frame.subarray(first + 1));
  if (!EPOCH.test(epoch)) return undefined;
  const second = frame.indexOf(BLANK, first + 1);
  const third = second < 0 ? -1 : frame.indexOf(BLANK, second + 1);
  if (third < 0 || third > MAX_HEADER) return undefined;
  const position = positionOf(frame.toString('latin1', first + 1, second));
  const previous = positionOf(frame.toString('latin1', second + 1, third));
  const payload = decodePayload(frame.subarray(third + 1));
  if (position === undefined || previous === undefined || payload === undefined) return undefined;
  return { ...payload, place: { epoch, position, previous } };
}

/** An id of the log, `<ms>-<sequence>` in decimal. */
export function positionOf(id: string): Position | undefined {
  const match = PLACE.exec(id);
  if (match === null) return undefined;
  const position = { ms: Number(match[1]), sequence: Number(match[2]) };
  return Number.isSafeInteger(position.ms) && Number.isSafeInteger(position.sequence)
    ? position
    : undefined;
}
