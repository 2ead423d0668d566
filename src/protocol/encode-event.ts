import { checkEventId, checkRetry } from './text-rules.js';

/** The fields of one event. `event` has been checked; the other fields are checked here. */
export interface EventFields {
  readonly event: string;
  /** The text to send; line breaks of any kind (CR LF, CR, LF) become LF at the client. */
  readonly data: string;
  readonly id?: string | undefined;
  readonly retry?: number | undefined;
}

const LINE_BREAK = /\r\n|\r|\n/;
const HAS_LINE_BREAK = /[\r\n]/;
const DEFAULT_EVENT = 'message';

/**
 * Event-stream text of one event (HTML standard, section 9.2). Every `data` field has a space after its colon, so that a
 * leading space of the data survives the parser, which removes one.
 * @throws SseError `INVALID_EVENT_ID`, `INVALID_RETRY`
 */
export function encodeEvent({ event, data, id, retry }: EventFields): Buffer {
  let text = '';
  if (id !== undefined) {
    checkEventId(id);
    text += `id: ${id}\n`;
  }
  if (retry !== undefined) {
    checkRetry(retry);
    text += `retry: ${retry}\n`;
  }
  if (event !== DEFAULT_EVENT && event !== '') text += `event: ${event}\n`;
  const lines = HAS_LINE_BREAK.test(data) ? data.split(LINE_BREAK).join('\ndata: ') : data;
  return Buffer.from(`${text}data: ${lines}\n\n`);
}

/** A comment, which clients ignore; each of its lines becomes a comment line. */
export function encodeComment(text: string): Buffer {
  return Buffer.from(`: ${text.split(LINE_BREAK).join('\n: ')}\n\n`);
}

/** Moves the client to an id; fires no event. @throws SseError `INVALID_EVENT_ID` */
export function encodeId(id: string): Buffer {
  checkEventId(id);
  return Buffer.from(`id: ${id}\n\n`);
}

/** Tells the client how long to wait before it reconnects; fires no event. @throws SseError `INVALID_RETRY` */
export function encodeRetry(retry: number): Buffer {
  checkRetry(retry);
  return Buffer.from(`retry: ${retry}\n\n`);
}

/** Puts an id in front of an event that was encoded without one. */
export function prependId(id: string, body: Buffer): Buffer {
  return Buffer.concat([Buffer.from(`id: ${id}\n`), body]);
}
