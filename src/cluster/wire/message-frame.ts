import { checkConnectionId, checkKey } from '../../protocol/text-rules.js';
import { isEventText } from './event-text.js';
import { isIncarnation } from './incarnation.js';
import { traceOf, traceText } from './trace-text.js';

/** An event on its way to the node that owns its connection. */
export interface MessageFrame {
  /** Incarnation of the sender, which gets the answer. */
  readonly from: string;
  /** Names the attempt at the sender. */
  readonly attempt: string;
  /** Whether the sender waits for an answer. */
  readonly ack: boolean;
  readonly connectionId: string;
  readonly messageId: string;
  readonly trace: string | undefined;
  /** The event, encoded by the sender; a slice of the frame when it was read. */
  readonly bytes: Buffer;
}

/** First two bytes of the frame, version included. */
export const MESSAGE_KIND = 'm1';

// Kind, incarnation, attempt and numbers together stay far below.
const MAX_HEADER = 256;
const ATTEMPT = /^[0-9a-z]{1,12}\.[0-9]$/;
const NUMBER = /^[0-9]{1,4}$/;

/** `m1 <from> <attempt> <ack> <lengths of id, message id, trace>` LF id message-id trace event. */
export function encodeMessage(message: MessageFrame): Buffer {
  const id = Buffer.from(message.connectionId);
  const messageId = Buffer.from(message.messageId);
  const trace = traceText(message.trace);
  const { from, attempt, ack, bytes } = message;
  const lengths = `${id.length} ${messageId.length} ${trace.length}`;
  const header = `${MESSAGE_KIND} ${from} ${attempt} ${ack ? 1 : 0} ${lengths}\n`;
  return Buffer.concat([Buffer.from(header), id, messageId, Buffer.from(trace), bytes]);
}

/** `undefined` for anything that `encodeMessage` cannot have written. */
export function decodeMessage(frame: Buffer): MessageFrame | undefined {
  const end = frame.subarray(0, MAX_HEADER).indexOf(0x0a);
  if (end < 0) return undefined;
  const fields = frame.toString('latin1', 0, end).split(' ');
  const [kind, from = '', attempt = '', ack, ...lengths] = fields;
  if (kind !== MESSAGE_KIND || !isIncarnation(from) || !ATTEMPT.test(attempt)) return undefined;
  if (lengths.length !== 3 || !lengths.every(length => NUMBER.test(length))) return undefined;
  if (ack !== '0' && ack !== '1') return undefined;
  let at = end + 1;
  const [connectionId = '', messageId = '', trace = ''] = lengths.map(length => {
    const start = at;
    at += Number(length);
    return frame.toString('utf8', start, at);
  });
  const bytes = frame.subarray(at);
  if (!isEventText(bytes)) return undefined;
  try {
    checkConnectionId(connectionId);
    checkKey('a message id', messageId);
  } catch {
    return undefined;
  }
  return { from, attempt, ack: ack === '1', connectionId, messageId, trace: traceOf(trace), bytes };
}
