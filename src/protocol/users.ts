import { SseError } from '../errors.js';
import { checkConnectionId, checkTopic, MAX_NAME_BYTES, USER_PREFIX } from './names.js';

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
