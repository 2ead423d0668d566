import { SseError, type SseErrorCode } from '../errors.js';
import { LONGEST_MS } from '../time.js';

/** Longest connection id, topic, event name and event id, in bytes of UTF-8. */
export const MAX_NAME_BYTES = 256;

/** Longest message id and idempotency key, in bytes of UTF-8. */
const MAX_KEY_BYTES = 128;

const CONTROL = /\p{Cc}/u;
// An EventSource parser ends a field at CR or LF, and ignores an id with NUL in it (HTML standard, section 9.2.6).
const LINE_BREAKING = /[\r\n\0]/;
const TOKEN = /^[A-Za-z0-9._-]{1,64}$/;

/** @throws SseError `INVALID_CONNECTION_ID` unless it is 1 to 256 bytes of well-formed text without control characters. */
export function checkConnectionId(connectionId: unknown): asserts connectionId is string {
  checkName('INVALID_CONNECTION_ID', 'a connection id', connectionId);
}

/**
 * Reserved names: `*` (broadcasts), names that begin with `@` (mailboxes), `~` (resumable sources) or `$sse.` (the library's own),
 * and those that begin with `=` and have no `/` (the topics of users).
 * @throws SseError `INVALID_TOPIC`
 */
export function checkTopic(topic: unknown): asserts topic is string {
  checkName('INVALID_TOPIC', 'a topic', topic);
  if (topic === '*' || isInternal(topic) || isReserved(topic)) {
    throw new SseError(
      'INVALID_TOPIC',
      `'*', topics that begin with '@', '~' or '$sse.', and those that begin with '=' and have no '/', are reserved, ` +
        `got ${quote(topic)}; choose another name`,
    );
  }
}

/** Whether a topic is one that no application named: a mailbox, that of a user, or that of a source. */
export function isInternal(topic: string): boolean {
  return isOwnTopic(topic) || isSourceTopic(topic);
}

/** Message ids that one report of a client may have. */
export const MOST_REPORTED = 100;
const REPORT_TOKEN = /^[A-Za-z0-9_-]{1,64}$/;

/** Whether a value may be the token of a report. */
export function isReportToken(value: unknown): value is string {
  return typeof value === 'string' && REPORT_TOKEN.test(value);
}

/** Message ids and idempotency keys. @throws SseError with `INVALID_EVENT_ID` */
export function checkKey(name: string, key: unknown): asserts key is string {
  checkName('INVALID_EVENT_ID', name, key, MAX_KEY_BYTES);
}

/**
 * @throws SseError `INVALID_EVENT_NAME` for line breaks, NUL, ill-formed text, more than 256 bytes, or the library's own
 * names, `connected` and `sse.*`.
 */
export function checkEventName(event: unknown): asserts event is string {
  checkField('INVALID_EVENT_NAME', 'an event name', event, '; it stands in front of the data');
  if (event === 'connected' || event.startsWith('sse.')) {
    throw new SseError(
      'INVALID_EVENT_NAME',
      `'connected' and names that begin with 'sse.' belong to the library, got ${quote(event)}; choose another name`,
    );
  }
}

/** @throws SseError `INVALID_EVENT_ID` for line breaks, NUL, ill-formed text or more than 256 bytes. */
export function checkEventId(id: unknown): asserts id is string {
  checkField('INVALID_EVENT_ID', 'an event id', id);
}

// A header loses the blanks around its value (RFC 9110, section 5.5).
const BLANK_AT_END = /^[ \t]|[ \t]$/;

/**
 * The last id that a client brought, if a stream can give it back unchanged: 1 to 256 bytes of well-formed text without CR,
 * LF or NUL, and without a blank at either end. `undefined` for anything else, which counts as no last id. Refusals,
 * `connected` and replays use it alike.
 */
export function legalLastEventId(value: unknown): string | undefined {
  if (!isText(value, MAX_NAME_BYTES, LINE_BREAKING) || value === '' || BLANK_AT_END.test(value)) return undefined;
  return value;
}

/** @throws SseError `INVALID_RETRY` */
export function checkRetry(retry: unknown): asserts retry is number {
  if (Number.isInteger(retry) && (retry as number) >= 0 && (retry as number) <= LONGEST_MS) return;
  throw new SseError(
    'INVALID_RETRY',
    `retry must be a whole number of milliseconds from 0 to ${LONGEST_MS}, got ${quote(retry)}`,
  );
}

/** @throws SseError `INVALID_REASON` */
export function checkReason(reason: unknown): asserts reason is string {
  if (typeof reason !== 'string' || !TOKEN.test(reason)) {
    throw new SseError(
      'INVALID_REASON',
      `a close reason must be 1 to 64 characters of A-Z a-z 0-9 . _ -, got ${quote(reason)}`,
    );
  }
}

function checkName(
  code: SseErrorCode,
  name: string,
  value: unknown,
  maxBytes = MAX_NAME_BYTES,
): asserts value is string {
  if (isText(value, maxBytes, CONTROL) && value !== '') return;
  const rule = `1 to ${maxBytes} bytes of text without control characters`;
  throw new SseError(code, `${name} must be ${rule}, got ${quote(value)}`);
}

/** @param place where to write it, for a value that is no text: the argument may be another one */
function checkField(code: SseErrorCode, name: string, value: unknown, place = ''): asserts value is string {
  if (isText(value, MAX_NAME_BYTES, LINE_BREAKING)) return;
  const rule = `at most ${MAX_NAME_BYTES} bytes of text without CR, LF or NUL`;
  const hint = typeof value === 'string' ? '' : place;
  throw new SseError(code, `${name} must be ${rule}, got ${quote(value)}${hint}`);
}

function isText(value: unknown, maxBytes: number, forbidden: RegExp): value is string {
  if (typeof value !== 'string' || value.length > maxBytes || Buffer.byteLength(value) > maxBytes) return false;
  return !forbidden.test(value) && value.isWellFormed();
}

/** The value as an error message may show it: escaped and short. */
function quote(value: unknown): string {
  if (typeof value !== 'string') return typeof value === 'number' ? String(value) : typeof value;
  const text = JSON.stringify(value);
  return text.length > 80 ? `${text.slice(0, 80)}… (${value.length} characters)` : text;
}

/** Broadcasts are the entries of this topic of the log. */
export const EVERYONE = '*';

/** The topic that an entry was addressed to; broadcasts have none. */
export function addressed(topic: string): string | undefined {
  return topic === EVERYONE ? undefined : topic;
}

const MAILBOX_PREFIX = '@';

/** The topic of the log that only one connection follows. No application can name it. */
export function mailboxTopic(connectionId: string): string {
  return `${MAILBOX_PREFIX}${connectionId}`;
}

/** The id of the connection whose mailbox a topic is. */
export function mailboxOwner(topic: string): string {
  return topic.slice(MAILBOX_PREFIX.length);
}

/** Whether a topic is some connection's own. */
export function isMailbox(topic: string): boolean {
  return topic.startsWith(MAILBOX_PREFIX);
}

/** Begins the topic of a user, and names that only connections of a user may follow. */
const USER_PREFIX = '=';

/** Whether connections follow a topic without being asked for it: it is that of a connection, or that of a user. */
export function isOwnTopic(topic: string): boolean {
  return isMailbox(topic) || (topic.startsWith(USER_PREFIX) && !topic.includes('/'));
}

const SOURCE_PREFIX = '~';
// The library writes these events at the end of a source; applications cannot use the names.
const SOURCE_END = Buffer.from('event: sse.');
const SOURCE_LOST = 'event: sse.reset\n';
const SOURCE_FAILED = '{"reason":"failed"}';
const LINE_FEED = 0x0a;

/** How a source ended: it completed, it failed, or the node that ran it is gone. */
export type SourceEnding = 'completed' | 'failed' | 'lost';

/** The topic of the log that holds the events of a resumable source. No application can name it. */
export function sourceTopic(key: string): string {
  return `${SOURCE_PREFIX}${key}`;
}

/** Whether a topic is that of a resumable source. */
export function isSourceTopic(topic: string): boolean {
  return topic.startsWith(SOURCE_PREFIX);
}

/** The key of a resumable source's topic. */
export function sourceKey(topic: string): string {
  return topic.slice(SOURCE_PREFIX.length);
}

const RESERVED_PREFIX = '$sse.';

/** A topic of the library's own. No application can name it, and no connection follows it. */
export function reservedTopic(name: string): string {
  return `${RESERVED_PREFIX}${name}`;
}

/** Whether a topic is one of the library's own. */
export function isReserved(topic: string): boolean {
  return topic.startsWith(RESERVED_PREFIX);
}

/** How a resumable source ended, from an entry of the log with its id in front; `undefined` if the entry is not the last. */
export function endingOf(entry: Buffer): SourceEnding | undefined {
  const body = entry.indexOf(LINE_FEED) + 1;
  if (!entry.subarray(body, body + SOURCE_END.length).equals(SOURCE_END)) return undefined;
  const text = entry.toString('utf8', body);
  if (text.startsWith(SOURCE_LOST)) return 'lost';
  return text.includes(SOURCE_FAILED) ? 'failed' : 'completed';
}

/** Longest trace text that a message or publication carries. */
export const MAX_TRACE_CHARACTERS = 1024;

const PRINTABLE = /^[\x20-\x7e]+$/;

/** The trace text if a coordinator may pass it on, else `undefined`: losing it costs a link in a trace, never an event. */
export function carriedTrace(trace: string | undefined): string | undefined {
  if (trace === undefined || trace.length > MAX_TRACE_CHARACTERS) return undefined;
  return PRINTABLE.test(trace) ? trace : undefined;
}

/**
 * The id by which the cluster knows a connection of a user: `<user>/<id>` with the user percent-encoded. A client names only
 * the second part, so that no client can name a connection of another user.
 * @param user 1 to 256 bytes of well-formed text without control characters
 * @param id the second part, as the client and `connected` name it; the whole id has at most 256 bytes
 * @throws SseError `INVALID_USER`, `INVALID_CONNECTION_ID`
 */
export function connectionIdOf(user: string, id: string): string {
  checkUser(user);
  checkConnectionId(id);
  const whole = idsOf(user) + id;
  checkConnectionId(whole);
  return whole;
}

/**
 * A name for a topic, or for the key of a resumable source, that only connections of this user may follow: every other
 * connection that names it gets 403. It has the form `=<user>/<name>` with the user percent-encoded.
 * @throws SseError `INVALID_USER`, `INVALID_TOPIC`
 */
export function privateName(user: string, name: string): string {
  const topic = `${userTopic(user)}/${name}`;
  checkTopic(topic);
  return topic;
}

/** @throws SseError `INVALID_USER` unless it is 1 to 256 bytes of well-formed text without control characters */
export function checkUser(user: unknown): asserts user is string {
  try {
    checkConnectionId(user);
  } catch {
    const got = typeof user === 'string' ? `${user.length} characters that are not` : typeof user;
    const rule = `1 to ${MAX_NAME_BYTES} bytes of text without control characters`;
    throw new SseError('INVALID_USER', `a user must be ${rule}, got ${got}`);
  }
}

/** @throws SseError `INVALID_CONNECTION_ID` for an id that the cluster could take for that of a user's connection */
export function checkIdWithoutUser(id: string): void {
  checkConnectionId(id);
  if (!id.includes('/')) return;
  throw new SseError(
    'INVALID_CONNECTION_ID',
    "the id of a connection without a user must have no '/', which ends the user in the ids of users' connections; " +
      'choose another id, or let a guard answer with a user',
  );
}

/** The beginning of the ids of all connections of a user. */
export function idsOf(user: string): string {
  return `${encodeURIComponent(user)}/`;
}

/** Whether text is what {@link idsOf} gives, and not the id of one connection. */
export function isForUser(text: string): boolean {
  return text.indexOf('/') === text.length - 1;
}

/** The user in the id of a connection; `undefined` for a connection without one. */
export function userOf(connectionId: string): string | undefined {
  const end = connectionId.indexOf('/');
  return end < 0 ? undefined : decoded(connectionId.slice(0, end));
}

/** What the client calls its connection: the id without the user. */
export function clientIdOf(connectionId: string): string {
  return connectionId.slice(connectionId.indexOf('/') + 1);
}

/** The topic that every connection of a user follows. No application can name it. @throws SseError `INVALID_USER` */
export function userTopic(user: string): string {
  checkUser(user);
  return USER_PREFIX + encodeURIComponent(user);
}

/** The only user whose connections may follow a topic or source with this name; `undefined` where the name has none. */
export function ownerInName(name: string): string | undefined {
  if (!name.startsWith(USER_PREFIX)) return undefined;
  const end = name.indexOf('/');
  return decoded(name.slice(USER_PREFIX.length, end < 0 ? undefined : end));
}

/** Text that does not decode stands for itself: a name of Redis or of a client may be anything. */
function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
