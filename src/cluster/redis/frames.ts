import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto';
import { z } from 'zod';
import type { LocalResult, Position } from '../../contracts/events.js';
import { SSE_ERROR_CODES, type SseErrorCode } from '../../errors.js';
import { checkConnectionId, checkKey, checkReason, checkTopic } from '../../protocol/names.js';

/** What the owner did with one attempt. */
export interface Ack {
  readonly attempt: string;
  readonly delivery: LocalResult;
}

/** First two bytes of the frame, version included. */
export const ACK_KIND = 'a1';

/** Acks that one frame may carry. */
export const MAX_ACKS = 10_000;
const LETTERS = { delivered: 'd', buffered: 'b', 'not-connected': 'c', rejected: 'r' } as const;
const OUTCOMES = { d: 'delivered', b: 'buffered', c: 'not-connected' } as const;

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

function deliveryOf([, letter, code, ...rest]: readonly string[]): LocalResult | undefined {
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

const MAX_BYTES = 256 * 1024;

const connectionId = z.string().refine(accepted(checkConnectionId));
const reason = z.string().refine(accepted(checkReason));
const topic = z.string().refine(accepted(checkTopic));
const incarnation = z.string().refine(isIncarnation);
const place = z.int().nonnegative();
const id = z.string().regex(/^[0-9a-f]{24}$/);

const command = z.discriminatedUnion('t', [
  z.strictObject({ t: z.literal('join') }),
  z.strictObject({ t: z.literal('leave') }),
  z.strictObject({ t: z.literal('ping') }),
  z.strictObject({ t: z.literal('count') }),
  z.strictObject({ t: z.literal('sync'), repaired: z.int().nonnegative() }),
  z.strictObject({ t: z.literal('close'), connectionId, reason }),
  z.strictObject({ t: z.literal('closeAll'), reason }),
  z.strictObject({ t: z.literal('subscribe'), connectionId, topic }),
  z.strictObject({ t: z.literal('unsubscribe'), connectionId, topic }),
  z.strictObject({ t: z.literal('confirm'), connectionId, ms: place, sequence: place }),
  z.strictObject({ t: z.literal('presence'), topic }),
]);

/** What one node asks of others: when, by Redis' clock, since theirs differ, and how long it waits. */
const request = z.strictObject({
  id,
  from: incarnation,
  /** The only node it is meant for; all when absent. */
  to: incarnation.optional(),
  at: place,
  deadline: z.int().nonnegative().max(600_000),
  command,
});

const answer = z.strictObject({
  id,
  from: incarnation,
  /** False: it was not carried out, `data` says why. */
  ok: z.boolean(),
  /** More answers of this node follow. */
  more: z.boolean().optional(),
  data: z.union([z.boolean(), z.int(), z.string().max(1024), z.array(connectionId).max(500)]),
});

/** What one node asks of another. */
export type Command = z.infer<typeof command>;
/** A command with who asks and how long it waits. */
export type CommandRequest = z.infer<typeof request>;
/** What a node answers to a request. */
export type CommandAnswer = z.infer<typeof answer>;

/** First two bytes of the frames, version included. */
export const REQUEST_KIND = 'c1';
export const ANSWER_KIND = 'r1';

/** Connection ids that fit into one answer. */
export const IDS_PER_ANSWER = 500;

export function encodeRequest(value: CommandRequest): Buffer {
  return Buffer.from(REQUEST_KIND + JSON.stringify(value));
}

export function encodeAnswer(value: CommandAnswer): Buffer {
  return Buffer.from(ANSWER_KIND + JSON.stringify(value));
}

/** `undefined` for anything that this version cannot have written; see {@link idOfUnknown}. */
export function decodeRequest(frame: Buffer): CommandRequest | undefined {
  return request.safeParse(bodyOf(frame, REQUEST_KIND)).data;
}

/** `undefined` for anything that this version cannot have written. */
export function decodeAnswer(frame: Buffer): CommandAnswer | undefined {
  return answer.safeParse(bodyOf(frame, ANSWER_KIND)).data;
}

/** Who asks for a command that this version does not know, so that it can be told instead of waiting. */
export function decodeUnknownRequest(
  frame: Buffer,
): Pick<CommandRequest, 'id' | 'from' | 'to'> | undefined {
  const lenient = z.object({ id, from: incarnation, to: incarnation.optional() });
  return lenient.safeParse(bodyOf(frame, REQUEST_KIND)).data;
}

function bodyOf(frame: Buffer, kind: string): unknown {
  if (frame.length > MAX_BYTES || frame.toString('latin1', 0, kind.length) !== kind)
    return undefined;
  try {
    return JSON.parse(frame.toString('utf8', kind.length));
  } catch {
    return undefined;
  }
}

function accepted(check: (value: unknown) => void): (value: string) => boolean {
  return value => {
    try {
      check(value);
      return true;
    } catch {
      return false;
    }
  };
}

const LF = 0x0a;

/** Whether bytes of another node are exactly one block of event-stream text, so that they cannot end where they should not. */
function isEventText(bytes: Buffer): boolean {
  return (
    bytes.length > 2 &&
    bytes[0] !== LF &&
    bytes.indexOf('\n\n') === bytes.length - 2 &&
    bytes.indexOf('\r') < 0
  );
}

const MAC_BYTES = 32;

/**
 * Lets nodes recognise frames of their own cluster in a Redis that others use as well: HMAC-SHA256 with `control.secret`
 * in front of the frame. Without a secret frames pass as they are. It proves the writer's knowledge of the secret, not
 * that the frame is new: `RequestGuard` sees to that for commands, the message id for events.
 */
export class FrameSeal {
  constructor(private readonly secret: string | undefined) {}

  /** Whether frames are signed; those that Redis itself writes cannot be. */
  get signs(): boolean {
    return this.secret !== undefined;
  }

  seal(frame: Buffer): Buffer {
    return this.secret === undefined ? frame : Buffer.concat([mac(this.secret, frame), frame]);
  }

  /** The frame that was sealed; `undefined` when it was not sealed with the same secret. */
  open(sealed: Buffer): Buffer | undefined {
    if (this.secret === undefined) return sealed;
    if (sealed.length < MAC_BYTES) return undefined;
    const frame = sealed.subarray(MAC_BYTES);
    return timingSafeEqual(mac(this.secret, frame), sealed.subarray(0, MAC_BYTES))
      ? frame
      : undefined;
  }
}

function mac(secret: string, frame: Buffer): Buffer {
  return createHmac('sha256', secret).update(frame).digest();
}

const INCARNATION = /^[A-Za-z0-9_.-]{1,80}~[0-9a-f]{20}$/;

/**
 * Names one life of a node: its id and 80 random bits, so that a process that is started again under the same id inherits
 * no rights from the one before.
 */
export function newIncarnation(nodeId: string): string {
  return `${nodeId}~${randomBytes(10).toString('hex')}`;
}

/** Whether text from elsewhere can be an incarnation. */
function isIncarnation(text: string): boolean {
  return INCARNATION.test(text);
}

/** The id of the node whose incarnation it is. */
export function nodeIdOf(incarnation: string): string {
  return incarnation.slice(0, incarnation.lastIndexOf('~'));
}

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
const MAX_MESSAGE_HEADER = 256;
const ATTEMPT_NAME = /^[0-9a-z]{1,12}\.[0-9]$/;
const LENGTH = /^[0-9]{1,4}$/;

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
  const end = frame.subarray(0, MAX_MESSAGE_HEADER).indexOf(0x0a);
  if (end < 0) return undefined;
  const fields = frame.toString('latin1', 0, end).split(' ');
  const [kind, from = '', attempt = '', ack, ...lengths] = fields;
  if (kind !== MESSAGE_KIND || !isIncarnation(from) || !ATTEMPT_NAME.test(attempt))
    return undefined;
  if (lengths.length !== 3 || !lengths.every(length => LENGTH.test(length))) return undefined;
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

/** What the log keeps of an event, and what subscribers get behind its place in the log. */
interface PublicationPayload {
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
const MAX_PUBLICATION_HEADER = 100;
const BLANK = 0x20;
const EPOCH = /^[0-9a-z]{1,16}$/;
const ENTRY_ID = /^([0-9]{1,16})-([0-9]{1,16})$/;
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
  const first = frame.subarray(0, MAX_PUBLICATION_HEADER).indexOf(BLANK);
  const epoch = frame.toString('latin1', 0, Math.max(0, first));
  if (epoch === UNKEPT) return decodePayload(frame.subarray(first + 1));
  if (!EPOCH.test(epoch)) return undefined;
  const second = frame.indexOf(BLANK, first + 1);
  const third = second < 0 ? -1 : frame.indexOf(BLANK, second + 1);
  if (third < 0 || third > MAX_PUBLICATION_HEADER) return undefined;
  const position = positionOf(frame.toString('latin1', first + 1, second));
  const previous = positionOf(frame.toString('latin1', second + 1, third));
  const payload = decodePayload(frame.subarray(third + 1));
  if (position === undefined || previous === undefined || payload === undefined) return undefined;
  return { ...payload, place: { epoch, position, previous } };
}

/** An id of the log, `<ms>-<sequence>` in decimal. */
export function positionOf(id: string): Position | undefined {
  const match = ENTRY_ID.exec(id);
  if (match === null) return undefined;
  const position = { ms: Number(match[1]), sequence: Number(match[2]) };
  return Number.isSafeInteger(position.ms) && Number.isSafeInteger(position.sequence)
    ? position
    : undefined;
}

const notice = z.strictObject({
  v: z.literal(1),
  t: z.literal('superseded'),
  c: z.string().max(256),
  k: z.string().max(16),
  f: z.string().max(20),
});

/** That another registration took an id over; `register.lua` writes it in the step that does so. */
export interface SupersededNotice {
  readonly connectionId: string;
  readonly token: string;
}

/** `undefined` for anything that `register.lua` cannot have written. */
export function decodeSuperseded(frame: Buffer): SupersededNotice | undefined {
  if (frame.length > 2048) return undefined;
  try {
    const { data } = notice.safeParse(JSON.parse(frame.toString()));
    return data && { connectionId: data.c, token: data.k };
  } catch {
    return undefined;
  }
}

const TRACE = /^[\x20-\x7e]{1,1024}$/;

/** Trace context as it may travel between nodes; '' when it is none. */
function traceText(trace: string | undefined): string {
  return trace !== undefined && TRACE.test(trace) ? trace : '';
}

/** The trace context that a frame carries, if any. */
function traceOf(text: string): string | undefined {
  return TRACE.test(text) ? text : undefined;
}
