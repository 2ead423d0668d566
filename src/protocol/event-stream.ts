import { isMap, isPromise, isSet } from 'node:util/types';
import type { Reset } from '../contracts/connection.js';
import type { Cursor, EventOptions, Frame, Gap, Position } from '../contracts/events.js';
import { SseError, type SseErrorCode } from '../errors.js';
import { formatCursor, isAfter } from './cursor.js';
import { checkEventId, checkEventName, checkRetry } from './names.js';

/** An event that can be sent, or the code of the refusal that a receipt is to carry. */
export type PreparedEvent = { readonly frame: Frame } | { readonly refused: SseErrorCode };

/** A frame that writes nothing. */
export const NOTHING: Frame = { bytes: Buffer.alloc(0) };

/** Encodes an event of the application into a frame, once for all receivers. */
export class EventEncoder {
  constructor(private readonly maxEventBytes: number) {}

  /**
   * @throws SseError `INVALID_EVENT_NAME`, `INVALID_EVENT_ID`, `INVALID_RETRY`, `NOT_SERIALIZABLE`, and
   * `EVENT_TOO_LARGE` when the data is longer than `limits.maxEventBytes` bytes of UTF-8.
   */
  encode(event: string, data: unknown, options: EncodeOptions = {}): Frame {
    checkEventName(event);
    const text = serializeData(data);
    const size = Buffer.byteLength(text);
    if (size > this.maxEventBytes) {
      throw new SseError(
        'EVENT_TOO_LARGE',
        `data must be at most ${this.maxEventBytes} bytes (limits.maxEventBytes), got ${size}; send a reference to it`,
      );
    }
    const { id, retry, confirm } = options;
    return { bytes: encodeEvent({ event, data: text, id, retry, confirm }) };
  }

  /** As {@link encode}, but data that is too large gives the code for a `rejected` receipt. */
  prepare(event: string, data: unknown, options?: EncodeOptions): PreparedEvent {
    try {
      return { frame: this.encode(event, data, options) };
    } catch (error) {
      if (SseError.is(error, 'EVENT_TOO_LARGE')) return { refused: error.code };
      throw error;
    }
  }
}

/** Options of one event, and the message id that its client is asked to confirm. */
type EncodeOptions = EventOptions & Pick<EventFields, 'confirm'>;

/** The fields of one event. `event` has been checked; the other fields are checked here. */
export interface EventFields {
  readonly event: string;
  /** The text to send; line breaks of any kind (CR LF, CR, LF) become LF at the client. */
  readonly data: string;
  readonly id?: string | undefined;
  readonly retry?: number | undefined;
  /** A message id that was checked. Clients that do not confirm ignore the field (HTML standard, section 9.2.6). */
  readonly confirm?: string | undefined;
}

const LINE_BREAK = /\r\n|\r|\n/;
const HAS_LINE_BREAK = /[\r\n]/;
const DEFAULT_EVENT = 'message';

/**
 * Event-stream text of one event (HTML standard, section 9.2). Every `data` field has a space after its colon, so that a
 * leading space of the data survives the parser, which removes one.
 * @throws SseError `INVALID_EVENT_ID`, `INVALID_RETRY`
 */
export function encodeEvent({ event, data, id, retry, confirm }: EventFields): Buffer {
  let text = '';
  if (id !== undefined) {
    checkEventId(id);
    text += `id: ${id}\n`;
  }
  if (retry !== undefined) {
    checkRetry(retry);
    text += `retry: ${retry}\n`;
  }
  if (confirm !== undefined) text += `confirm: ${confirm}\n`;
  if (event !== DEFAULT_EVENT && event !== '') text += `event: ${event}\n`;
  const lines = HAS_LINE_BREAK.test(data) ? data.split(LINE_BREAK).join('\ndata: ') : data;
  return Buffer.from(`${text}data: ${lines}\n\n`);
}

/** A comment, which clients ignore; each of its lines becomes a comment line. */
export function encodeComment(text: string): Buffer {
  return Buffer.from(`: ${text.split(LINE_BREAK).join('\n: ')}\n`);
}

/**
 * Moves the client's last id, by an event for which no application listens. It has data: most parsers other than those of
 * browsers drop an event without data together with its id.
 */
export function encodePosition(id: string): Buffer {
  return prependId(id, POSITION);
}

/** Sets the client's last id; fires no event. @throws SseError `INVALID_EVENT_ID` */
export function encodeId(id: string): Buffer {
  checkEventId(id);
  return Buffer.from(`id: ${id}\n\n`);
}

/** The id line with which an encoded event begins; `undefined` when it has none. */
export function idOf(event: Buffer): string | undefined {
  // Byte by byte: each direct send passes here, and a comparison of buffers makes one.
  for (let at = 0; at < ID_LINE.length; at += 1) if (event[at] !== ID_LINE[at]) return undefined;
  return event.toString('utf8', ID_LINE.length, event.indexOf(LINE_FEED));
}

/** An encoded event without the id line with which it begins; `undefined` when it only moves the last id. */
export function withoutId(event: Buffer): Buffer | undefined {
  if (idOf(event) === undefined) return event;
  const rest = event.subarray(event.indexOf(LINE_FEED) + 1);
  return rest.length > 1 && !rest.equals(POSITION) ? rest : undefined;
}

const POSITION = Buffer.from('event: sse.position\ndata: {}\n\n');
const ID_LINE = Buffer.from('id: ');
const LINE_FEED = 0x0a;

/** Puts an id in front of an event that was encoded without one. */
export function prependId(id: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`id: ${id}\n`), body]);
}

/**
 * The data of an event as text: a string as it is, any other value as JSON.
 * @throws SseError `NOT_SERIALIZABLE` for what JSON cannot express (cycle, BigInt, `undefined`, function, symbol, promise, Map, Set) and for
 * a `toJSON` or getter that throws, whose error is the cause.
 */
export function serializeData(data: unknown): string {
  if (typeof data === 'string') return data;
  let json: string | undefined;
  try {
    json = stringify(data);
  } catch (error) {
    throw new SseError('NOT_SERIALIZABLE', `data must be expressible as JSON: ${reasonOf(error)}; send plain values`, {
      cause: error,
    });
  }
  if (json === undefined) {
    throw new SseError(
      'NOT_SERIALIZABLE',
      `data must be a string or expressible as JSON, got ${typeof data}; send null or '' for no data`,
    );
  }
  if (json === '{}') refuseLostData(data);
  return json;
}

/** The client would get `{}`, and nobody would know why. @throws SseError `NOT_SERIALIZABLE` */
function refuseLostData(data: unknown): void {
  const lost = isPromise(data) ? 'a promise; await it' : isMap(data) || isSet(data) ? 'a Map or Set; send [...it]' : '';
  if (lost !== '') throw new SseError('NOT_SERIALIZABLE', `data must be expressible as JSON, got ${lost}`);
}

// The declared type of JSON.stringify leaves out `undefined`, its result for a function, a symbol or undefined.
const stringify: (value: unknown) => string | undefined = JSON.stringify;

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : 'its toJSON threw something that is no Error';
}

/**
 * The gap that these missing entries make; `undefined` when none is missing. One gap stands for all topics: a reset moves
 * the client's cursor, so a second gap before the same position would never reach it.
 * @param missing each topic's newest missing entry
 * @param resumedFrom the position before the first entry that follows
 */
export function gapOf(missing: ReadonlyMap<string, Position>, resumedFrom: Cursor): Gap | undefined {
  let until: Position | undefined;
  for (const last of missing.values()) {
    if (until === undefined || isAfter(last, until)) until = last;
  }
  return until && { reason: 'GAP', topics: missing, resumedFrom, until };
}

/** The gap of a reader whose cursor is of another log (`EPOCH`), or after the end of this one (`AHEAD`). */
export function gapOfLostLog(reason: 'EPOCH' | 'AHEAD', resumedFrom: Cursor): Gap {
  return { reason, topics: undefined, resumedFrom, until: resumedFrom };
}

/** One gap on its way to the clients of a node. The event is encoded once for all clients that miss the same topics. */
export class GapReport {
  static readonly #reports = new WeakMap<Gap, GapReport>();

  /** The report of a gap, the same one for every connection. */
  static of(gap: Gap): GapReport {
    const report = this.#reports.get(gap) ?? new GapReport(gap);
    this.#reports.set(gap, report);
    return report;
  }

  readonly #frames = new Map<string, ResetFrame>();

  constructor(readonly gap: Gap) {}

  /**
   * The event for a client.
   * @param topics the topics of which the client misses entries
   * @param moves whether the event carries the id at which the stream goes on; else the client keeps the id it has
   */
  frameFor(topics: readonly string[], moves: boolean): ResetFrame {
    // Neither part holds a line break.
    const key = `${moves ? 'id' : ''}\n${topics.join('\n')}`;
    let frame = this.#frames.get(key);
    if (frame === undefined) {
      const { reason } = this.gap;
      const resumedFrom = formatCursor(this.gap.resumedFrom);
      const reset = { reason, topics, resumedFrom };
      frame = new ResetFrame(this, reset, encodeReset(reset, moves ? resumedFrom : undefined));
      this.#frames.set(key, frame);
    }
    return frame;
  }
}

/** Two resets that one client got, as one: the topics of both, and where the stream goes on after the later one. */
export function joinResets(earlier: Reset | undefined, later: Reset): Reset {
  if (earlier === undefined) return later;
  return { ...later, topics: [...new Set([...earlier.topics, ...later.topics])] };
}

/** The event `sse.reset` as one of the frames of a connection. */
export class ResetFrame implements Frame {
  constructor(
    readonly report: GapReport,
    /** The data of the event. */
    readonly reset: Reset,
    readonly bytes: Buffer,
  ) {}
}

/** The text of the event `sse.reset`. @param id becomes the client's last id; `undefined` leaves it as it is */
export function encodeReset({ reason, topics, resumedFrom }: Reset, id: string | undefined): Buffer {
  const data = JSON.stringify({ reason, topics, resumedFrom });
  return encodeEvent({ event: 'sse.reset', id, data });
}
