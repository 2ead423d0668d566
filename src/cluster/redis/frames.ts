import { randomBytes } from 'node:crypto';
import type { LocalResult, Position } from '../../contracts/events.js';
import { SSE_ERROR_CODES, type SseErrorCode } from '../../errors.js';
import { checkConnectionId, checkKey } from '../../protocol/names.js';
import { parsePosition } from './script.js';
import { type Authentic, type FrameSigner, SIGNATURE_BYTES } from './signing.js';

// The formats of everything that nodes publish but commands, each with its parser. A parser returns `undefined` for bytes
// that this version cannot have written. The first two bytes of a frame name its kind and version.

/** What to do about frames that this node cannot read, to end a line of the log. */
export const SAME_NODES = 'see whether all nodes have one control.secret and one version';

const LF = 0x0a;
const BLANK = 0x20;

const INCARNATION = /^[A-Za-z0-9_.-]{1,80}~[0-9a-f]{20}$/;

/**
 * Names one life of a node: its id and 80 random bits, so that a process that is started again under the same id inherits
 * no rights from the one before.
 */
export function newIncarnation(nodeId: string): string {
  return `${nodeId}~${randomBytes(10).toString('hex')}`;
}

/** Whether a value from elsewhere can be an incarnation. */
export function isIncarnation(value: unknown): value is string {
  return typeof value === 'string' && INCARNATION.test(value);
}

/** The id of the node whose incarnation it is. */
export function nodeIdOf(incarnation: string): string {
  return incarnation.slice(0, Math.max(0, incarnation.lastIndexOf('~')));
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
  /** The event, encoded by the sender; a slice of the frame when it was parsed. */
  readonly bytes: Buffer;
}

/** Kind of a message. */
const MESSAGE_KIND = 'm1';

// Kind, incarnation, attempt and numbers together stay far below.
const MAX_MESSAGE_HEADER = 256;
const ATTEMPT_NAME = /^[0-9a-z]{1,12}\.[0-9]$/;
const LENGTH = /^[0-9]{1,4}$/;

/** `m1 <from> <attempt> <ack> <lengths of id, message id, trace>` LF id message-id trace event. */
export function encodeMessage(message: MessageFrame): Buffer {
  const { from, attempt, ack, connectionId, messageId, bytes } = message;
  const trace = traceText(message.trace);
  const [idLength, messageIdLength] = [Buffer.byteLength(connectionId), Buffer.byteLength(messageId)];
  const lengths = `${idLength} ${messageIdLength} ${trace.length}`;
  const header = `${MESSAGE_KIND} ${from} ${attempt} ${ack ? 1 : 0} ${lengths}\n`;
  const frame = Buffer.allocUnsafe(header.length + idLength + messageIdLength + trace.length + bytes.length);
  let at = frame.write(header, 'latin1');
  at += frame.write(connectionId, at);
  at += frame.write(messageId, at);
  at += frame.write(trace, at, 'latin1');
  frame.set(bytes, at);
  return frame;
}

/** `undefined` for bytes that `encodeMessage` cannot have written. */
export function parseMessage(frame: Buffer): MessageFrame | undefined {
  const end = frame.subarray(0, MAX_MESSAGE_HEADER).indexOf(LF);
  if (end < 0) return undefined;
  const fields = frame.toString('latin1', 0, end).split(' ');
  const [kind, from = '', attempt = '', ack, ...lengths] = fields;
  if (kind !== MESSAGE_KIND || !isIncarnation(from) || !ATTEMPT_NAME.test(attempt)) return undefined;
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

/** The owner's answer to one attempt. */
export interface Ack {
  readonly attempt: string;
  readonly result: LocalResult;
}

/** Kind of a frame of acks. */
export const ACK_KIND = 'a1';

/** Acks that one frame may carry. */
export const MAX_ACKS = 10_000;
const LETTERS = { delivered: 'd', buffered: 'b', 'not-connected': 'c', rejected: 'r' } as const;
const OUTCOMES = { d: 'delivered', b: 'buffered', c: 'not-connected' } as const;

/** One line of a frame of acks. */
export function encodeAck({ attempt, result }: Ack): string {
  const code = result.outcome === 'rejected' ? ` ${result.code}` : '';
  return `${attempt} ${LETTERS[result.outcome]}${code}`;
}

/** `a1 <from>`, then a line per ack. */
export function encodeAcks(from: string, lines: readonly string[]): Buffer {
  return Buffer.from(`${ACK_KIND} ${from}\n${lines.join('\n')}`);
}

/** `undefined` for bytes that `encodeAcks` cannot have written. */
export function parseAcks(frame: Buffer): { from: string; acks: Ack[] } | undefined {
  const [header = '', ...lines] = frame.toString('latin1').split('\n', MAX_ACKS + 2);
  const [kind, from = '', ...rest] = header.split(' ');
  if (kind !== ACK_KIND || rest.length > 0 || !isIncarnation(from)) return undefined;
  if (lines.length > MAX_ACKS) return undefined;
  const acks: Ack[] = [];
  for (const line of lines) {
    const result = parseResult(line.split(' '));
    if (result === undefined) return undefined;
    acks.push({ attempt: line.slice(0, line.indexOf(' ')), result });
  }
  return { from, acks };
}

function parseResult([, letter, code, ...rest]: readonly string[]): LocalResult | undefined {
  if (rest.length > 0) return undefined;
  if (letter === 'd' || letter === 'b' || letter === 'c') {
    return code === undefined ? { outcome: OUTCOMES[letter] } : undefined;
  }
  if (letter !== 'r' || !isCode(code)) return undefined;
  return { outcome: 'rejected', code };
}

/** Whether a value of another node is an error code. */
export function isCode(text: unknown): text is SseErrorCode {
  return SSE_ERROR_CODES.has(text as SseErrorCode);
}

/** Another registration took an id over; `register.lua` publishes the frame in the same step. */
export interface SupersededFrame {
  readonly connectionId: string;
  readonly token: string;
  /** Of the registration that took the id over. */
  readonly fencingToken: number;
  /** Of the opening of that registration. */
  readonly trace: string | undefined;
}

const MAX_SUPERSEDED = 4096;

/** `{"v":1,"t":"superseded","c":id,"k":token,"f":fencing token}`, perhaps with `"x":trace`; `undefined` for other bytes. */
export function parseSuperseded(frame: Buffer): SupersededFrame | undefined {
  const fields = frame.length > MAX_SUPERSEDED ? undefined : parseJson(frame.toString());
  if (fields === undefined || !hasKeys(fields, ['v', 't', 'c', 'k', 'f'], ['x'])) return undefined;
  const { v, t, c: connectionId, k: token, f, x = '' } = fields;
  if (v !== 1 || t !== 'superseded' || !isText(connectionId, 256) || !isText(token, 16) || !isText(f, 20)) {
    return undefined;
  }
  const fencingToken = Number(f);
  if (!Number.isSafeInteger(fencingToken) || !isText(x, MAX_SUPERSEDED)) return undefined;
  return { connectionId, token, fencingToken, trace: traceOf(x) };
}

/** A JSON object as another node wrote it; only own keys are read. */
export type JsonFields = Readonly<Record<string, unknown>>;

/** The object of a JSON text; `undefined` when the text is not JSON or no object. */
export function parseJson(text: string): JsonFields | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return asObject(value);
  } catch {
    return undefined;
  }
}

/** The value as an object that is no array; its prototype is cut off, so that no inherited key is read. */
export function asObject(value: unknown): JsonFields | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  // Object.create is typed any.
  return Object.assign(Object.create(null) as Record<string, unknown>, value);
}

/** Whether an object has each of these keys, perhaps the optional ones, and no other. */
export function hasKeys(fields: JsonFields, required: readonly string[], optional: readonly string[] = []): boolean {
  return (
    required.every(key => Object.hasOwn(fields, key)) &&
    Object.keys(fields).every(key => required.includes(key) || optional.includes(key))
  );
}

/** Whether a value is text of at most so many characters. */
export function isText(value: unknown, maxCharacters: number): value is string {
  return typeof value === 'string' && value.length <= maxCharacters;
}

/** An event as the log keeps it, and as subscribers get it behind its position in the log. */
interface Payload {
  readonly trace?: string | undefined;
  /** Names the publication for its receivers. */
  readonly id?: string | undefined;
  /** The event without an id; a slice when it was parsed. */
  readonly body: Buffer;
}

/** An event of the log. */
export interface EventPayload extends Payload {
  readonly kind: 'event';
  /** Names the publication, where publications are signed. */
  readonly origin: Buffer | undefined;
  /** Redis' time of its signature in milliseconds; 0 without a secret. */
  readonly at: number;
}

/** A payload of another version, or without the signature that it must have. Its event is missing for this node. */
interface UnreadablePayload {
  readonly kind: 'unreadable';
}

/** A publication as it comes from a channel. */
export type PublicationFrame =
  | (Payload & {
      readonly kind: 'kept';
      readonly entry: {
        readonly epoch: string;
        readonly position: Position;
        /** The topic's entry before it, or a bound. */
        readonly previous: Position;
      };
    })
  /** It has no entry. */
  | (Payload & { readonly kind: 'unkept' })
  /** No data, but a reason to read the log: signed before the subscription, and perhaps published after it. */
  | { readonly kind: 'early' }
  /** No data, but a reason to read the log once for a run of them: of another version, forged, or recorded. */
  | { readonly kind: 'doubtful' }
  /** Received before, or no publication. */
  | { readonly kind: 'ignored' };

/** What a subscriber knows of a topic. */
export interface TopicState {
  readonly topic: string;
  /** Redis' time in milliseconds from which on every frame of the topic arrived or was read. */
  readonly since: number;
  /** Redis' time at the last read of the log. */
  readonly readAt: number;
  /** Milliseconds of the newest entry that was delivered. */
  readonly headMs: number;
}

// Epoch, two ids of at most 2 x 16 digits, blanks.
const MAX_PUBLICATION_HEADER = 100;
const EPOCH = /^[0-9a-z]{1,16}$/;
const UNKEPT = '-';
/** First bytes of a payload: the version of its format, and whether a signature follows. */
const SIGNED = '2s';
const UNSIGNED = '2-';
const PAYLOAD_KIND_BYTES = 2;
/** Milliseconds between the signature of an event and its entry in the log. */
const MAX_FLIGHT = 5_000;
/** Milliseconds before its subscription from which on a node accepts an event that is not kept: no other way brings it. */
const UNKEPT_SLACK = 50;

const TAB = '\t';
const PUBLICATION_ID = /^[A-Za-z0-9_-]{1,32}$/;
// A trace, a tab, an id.
const MAX_EVENT_HEADER = 1024 + 1 + 32;

/** `2-<trace>` LF event, or `2s<signature><trace>` LF event; a publication with an id has TAB and the id behind the trace. */
export function encodePayload(signer: FrameSigner, topic: string, { trace, id, body }: Payload, head = ''): Buffer {
  const named = id !== undefined && PUBLICATION_ID.test(id) ? TAB + id : '';
  const line = `${traceText(trace)}${named}\n`;
  if (!signer.signs) return Buffer.concat([Buffer.from(head + UNSIGNED + line), body]);
  return signer.sign({ kind: 'publication', topic }, Buffer.concat([Buffer.from(line), body]), head + SIGNED);
}

/** The event of an entry of this topic, whenever it was published. */
export function parsePayload(signer: FrameSigner, topic: string, payload: Buffer): EventPayload | UnreadablePayload {
  const rest = signedPart(signer, payload);
  const authentic = rest && signer.authentic({ kind: 'publication', topic }, rest);
  return (authentic && eventOf(authentic)) ?? { kind: 'unreadable' };
}

/** The frame of an event that is not kept: `- <payload>`. Frames of kept events are written by `publish.lua`. */
export function encodeUnkept(signer: FrameSigner, topic: string, payload: Payload): Buffer {
  return encodePayload(signer, topic, payload, `${UNKEPT} `);
}

/** `<epoch> <id> <previous> <payload>` or `- <payload>`. */
export function parsePublication(signer: FrameSigner, state: TopicState, frame: Buffer): PublicationFrame {
  const first = frame.subarray(0, MAX_PUBLICATION_HEADER).indexOf(BLANK);
  const epoch = frame.toString('latin1', 0, Math.max(0, first));
  if (epoch === UNKEPT) {
    const since = Math.max(0, state.since - UNKEPT_SLACK);
    const event = liveEvent(signer, { ...state, since }, frame.subarray(first + 1));
    return event.kind === 'event'
      ? { kind: 'unkept', trace: event.trace, id: event.id, body: event.body }
      : { kind: 'ignored' };
  }
  if (!EPOCH.test(epoch)) return { kind: 'doubtful' };
  const second = frame.indexOf(BLANK, first + 1);
  const third = second < 0 ? -1 : frame.indexOf(BLANK, second + 1);
  if (third < 0 || third > MAX_PUBLICATION_HEADER) return { kind: 'doubtful' };
  const position = parsePosition(frame.toString('latin1', first + 1, second));
  const previous = parsePosition(frame.toString('latin1', second + 1, third));
  if (position === undefined || previous === undefined) return { kind: 'doubtful' };
  const event = liveEvent(signer, state, frame.subarray(third + 1));
  if (event.kind !== 'event') return event;
  const { trace, id, body, at } = event;
  // Scripts write the position behind the signature.
  if (signer.signs && position.ms > Math.max(at, state.headMs) + MAX_FLIGHT) return { kind: 'doubtful' };
  return { kind: 'kept', trace, id, body, entry: { epoch, position, previous } };
}

/** The event of a live frame, if it is authentic and new. */
function liveEvent(
  signer: FrameSigner,
  { topic, since, readAt }: TopicState,
  payload: Buffer,
): EventPayload | Exclude<PublicationFrame, { kind: 'kept' | 'unkept' }> {
  const rest = signedPart(signer, payload);
  if (rest === undefined) return { kind: 'doubtful' };
  const verdict = signer.verify({ kind: 'publication', topic }, rest, since, readAt - MAX_FLIGHT);
  if (verdict.kind === 'seen') return { kind: 'ignored' };
  if (verdict.kind !== 'fresh') return verdict;
  return eventOf(verdict) ?? { kind: 'doubtful' };
}

/** The part of a payload that the signer verifies; of a signed one without the signature when this node has no secret. */
function signedPart(signer: FrameSigner, payload: Buffer): Buffer | undefined {
  const kind = payload.toString('latin1', 0, PAYLOAD_KIND_BYTES);
  if (kind === SIGNED) return payload.subarray(PAYLOAD_KIND_BYTES + (signer.signs ? 0 : SIGNATURE_BYTES));
  return kind === UNSIGNED && !signer.signs ? payload.subarray(PAYLOAD_KIND_BYTES) : undefined;
}

function eventOf({ body: text, origin, at }: Authentic): EventPayload | undefined {
  const end = text.indexOf(LF);
  const body = text.subarray(end + 1);
  if (end < 0 || end > MAX_EVENT_HEADER || !isEventText(body)) return undefined;
  const [trace = '', name] = text.toString('latin1', 0, end).split(TAB, 2);
  const id = name !== undefined && PUBLICATION_ID.test(name) ? name : undefined;
  return { kind: 'event', trace: traceOf(trace), id, body, origin, at };
}

/** Whether bytes of another node are exactly one block of event-stream text, so that they cannot begin a second event. */
function isEventText(bytes: Buffer): boolean {
  return bytes.length > 2 && bytes[0] !== LF && bytes.indexOf('\n\n') === bytes.length - 2 && bytes.indexOf('\r') < 0;
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
