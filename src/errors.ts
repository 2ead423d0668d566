import { STATUS_CODES } from 'node:http';

/** What follows from a code. */
interface Facts {
  /** What the client of a refused request reads. It has no value, name or limit of this process in it. */
  readonly sentence: string;
  /** The HTTP status. Default 500: an error of the server itself. */
  readonly status?: number;
  /** Whether the same call may succeed later. Default false. */
  readonly retryable?: true;
}

const CODES = {
  INVALID_OPTION: { sentence: 'The server is not set up for this request.' },
  INVALID_CONNECTION_ID: { status: 400, sentence: 'The connection id is not valid.' },
  INVALID_USER: { status: 422, sentence: 'The user is not valid.' },
  INVALID_EVENT_NAME: { status: 422, sentence: 'The event name is not valid.' },
  INVALID_EVENT_ID: { status: 422, sentence: 'The event id is not valid.' },
  INVALID_RETRY: { status: 422, sentence: 'The reconnection time is not valid.' },
  INVALID_TOPIC: { status: 422, sentence: 'A topic is not valid, or there are too many.' },
  INVALID_REASON: { status: 422, sentence: 'The reason is not valid.' },
  INVALID_SOURCE: { sentence: 'The stream has failed.' },
  INVALID_ENDPOINT: { sentence: 'The server is not set up for this request.' },
  INVALID_REQUEST: { status: 400, sentence: 'The request cannot become a stream.' },
  NOT_SERIALIZABLE: { status: 422, sentence: 'The data cannot be sent as JSON.' },
  EVENT_TOO_LARGE: { status: 413, sentence: 'The data is too large.' },
  SEND_BUFFER_FULL: { status: 429, retryable: true, sentence: 'The client is too slow; try again later.' },
  MESSAGE_LIMIT: { status: 429, retryable: true, sentence: 'Too many requests are under way; try again later.' },
  CONNECTION_LIMIT: { status: 503, retryable: true, sentence: 'There is no room for this stream; try again later.' },
  DUPLICATE_CONNECTION: { status: 409, retryable: true, sentence: 'This connection id is connected already.' },
  // The only status that stops an EventSource for good (HTML standard, section 9.2.3).
  TAKEOVER_STORM: { status: 204, sentence: 'This connection id has an owner.' },
  RATE_LIMITED: { status: 429, retryable: true, sentence: 'Too many requests; try again later.' },
  SOURCE_ENDED: { status: 204, sentence: 'The stream has ended.' },
  CONNECTION_CLOSED: { status: 410, sentence: 'The connection was closed.' },
  NOT_ACCEPTABLE: {
    status: 406,
    sentence: 'This is a stream of type text/event-stream, which the Accept header excludes.',
  },
  METHOD_NOT_ALLOWED: { status: 405, sentence: 'This path does not answer the method; see the Allow header.' },
  FORBIDDEN: { status: 403, sentence: 'This request is not admitted.' },
  DRAINING: { status: 503, retryable: true, sentence: 'The server is going away; try again later.' },
  CLOSED: { status: 503, sentence: 'The server is going away; try again later.' },
  UNAVAILABLE: { status: 503, retryable: true, sentence: 'The server cannot answer at present; try again later.' },
  INCONSISTENT: { status: 503, retryable: true, sentence: 'The server takes no streams at present; try again later.' },
  INTERNAL: { sentence: 'The server has failed.' },
} as const satisfies Readonly<Record<string, Facts>>;

/**
 * Stable codes of everything this library throws or puts into a `rejected` receipt. A code never changes its meaning
 * within a major version; messages may. The third column is the default of `retryable`; a single error may know better.
 *
 * | code | cause | retry? | what to do |
 * |---|---|---|---|
 * | `INVALID_OPTION` | a setting is unknown, of a wrong type, out of range or contradicts another | no | correct the setting or argument that the message names |
 * | `INVALID_CONNECTION_ID` | not 1 to 256 bytes of well-formed text without control characters, or a `/` without a user | no | choose another id; let the library choose one |
 * | `INVALID_USER` | a user that is not 1 to 256 bytes of well-formed text without control characters | no | let the guard return the id of the account |
 * | `INVALID_EVENT_NAME` | CR, LF or NUL in it, too long, not well-formed, or one of the library's own names | no | choose another name |
 * | `INVALID_EVENT_ID` | CR, LF or NUL in it, too long, or not well-formed | no | leave the id out; for ids of your own use `ids: 'application'` |
 * | `INVALID_RETRY` | a reconnection time that is not a whole, non-negative number of milliseconds | no | give whole milliseconds |
 * | `INVALID_TOPIC` | a topic name that is empty, too long, or uses reserved characters; or too many topics | no | choose another name, or raise `limits.maxTopicsPerConnection` |
 * | `INVALID_REASON` | a close reason that is not a short token | no | use 1 to 64 of `A-Z a-z 0-9 . _ -` |
 * | `INVALID_SOURCE` | a handler returned something that is no source of events | no | return an iterable, a stream, or anything with `subscribe` |
 * | `INVALID_ENDPOINT` | an `@SseEndpoint` or a controller list that cannot be served | no | correct the endpoint that the message names |
 * | `INVALID_REQUEST` | broken percent-encoding, or a request that cannot become a stream (pipelined, HEAD, answered already) | no | correct the request |
 * | `NOT_SERIALIZABLE` | data that JSON cannot express: cycle, BigInt, function, `undefined`, promise, Map, Set, a throwing `toJSON` | no | send plain data |
 * | `EVENT_TOO_LARGE` | data over `limits.maxEventBytes` | no | send a link to the data, or raise `limits.maxEventBytes` |
 * | `SEND_BUFFER_FULL` | the connection is slow and its send buffer, or the process budget, is full | yes | send again later; the client is slow |
 * | `MESSAGE_LIMIT` | too many sends wait for their answer | yes | await the sends that are under way |
 * | `CONNECTION_LIMIT` | the node, or the client, has as many connections as a limit allows; `limit` names it | yes | add nodes, or raise the limit that `limit` names |
 * | `DUPLICATE_CONNECTION` | the id is connected and `connection.onDuplicate` is `reject` | yes | use an id per tab, or `takeover` |
 * | `TAKEOVER_STORM` | the id was taken over too often; the newcomer must stop | no | give each tab an id of its own |
 * | `RATE_LIMITED` | too many requests of one kind within a time, such as page loads of one id or connects of one client | yes | connect later, and once |
 * | `SOURCE_ENDED` | the resumable source has ended and this client has all of it | no | nothing: the client has everything |
 * | `CONNECTION_CLOSED` | the client was gone before its connection opened, or the connection has closed | no | nothing: the client is gone |
 * | `NOT_ACCEPTABLE` | the `Accept` header excludes `text/event-stream` | no | send `Accept: text/event-stream` |
 * | `METHOD_NOT_ALLOWED` | the endpoint does not answer this request method | no | use a method of the header `Allow` |
 * | `FORBIDDEN` | a guard refused, or the request is of a page of another site, or the connection may not follow a topic or source | no | sign in; look at guards, `limits.crossSite` and grants |
 * | `DRAINING` | the node is going away and takes no new connection | yes | connect again: another node answers |
 * | `CLOSED` | the service was closed | no | call nothing after `close` |
 * | `UNAVAILABLE` | the cluster cannot be reached | yes | try again; look at Redis and `health()` |
 * | `INCONSISTENT` | this node and the cluster differ and `consistency.inconsistencyHandlingStrategy` is `fail_fast` | yes | wait for the next check, or use `auto_correct` |
 * | `INTERNAL` | an unexpected failure; see its `cause` | no | look at the log; report it |
 */
export type SseErrorCode = keyof typeof CODES;

// The table has every code and no other key.
/** All of them, for reading a code that comes from elsewhere. */
export const SSE_ERROR_CODES: ReadonlySet<SseErrorCode> = new Set(Object.keys(CODES) as SseErrorCode[]);

/** The facts of a code, also of one that a newer copy of this package made. */
function factsOf(code: SseErrorCode): Facts {
  return Object.hasOwn(CODES, code) ? CODES[code] : CODES.INTERNAL;
}

/** The fixed sentence of an error code, for strangers. */
export function sentenceOf(code: SseErrorCode): string {
  return factsOf(code).sentence;
}

/** The HTTP status of an error code; 500 for errors of the server itself. */
export function httpStatusOf(code: SseErrorCode): number {
  return factsOf(code).status ?? 500;
}

/** The HTTP status that anything thrown asks for, as Koa reads it; 500 unless it is one of an error. */
export function statusOf(error: unknown): number {
  if (typeof error !== 'object' || error === null) return 500;
  const { status, statusCode } = error as Partial<Record<string, unknown>>;
  const wanted = status ?? statusCode;
  return typeof wanted === 'number' && wanted >= 400 && STATUS_CODES[wanted] !== undefined ? wanted : 500;
}

/**
 * Why something is `unavailable`: it was certainly not sent.
 *
 * | code | meaning |
 * |---|---|
 * | `CLUSTER_UNREACHABLE` | this node cannot reach the cluster |
 * | `WRITES_REFUSED` | the cluster can be reached, but keeps nothing at present: it is full, read-only, or lacks replicas |
 * | `KEY_UNREADABLE` | the cluster can be reached, but data that this call needs cannot be read |
 * | `NODE_UNREACHABLE` | the node that owns the connection gets nothing from the cluster |
 * | `CLOSED` | the service was closed |
 */
export type UnavailableCode =
  'CLUSTER_UNREACHABLE' | 'WRITES_REFUSED' | 'KEY_UNREADABLE' | 'NODE_UNREACHABLE' | 'CLOSED';

const BRAND = Symbol.for('distributed-sse/SseError');

/** Optional fields of an {@link SseError}. */
export interface SseErrorOptions extends ErrorOptions {
  /**
   * Whether the same call may be repeated, where that is known better than by the code alone: `false` for a call that may
   * have been carried out and must not be carried out twice. Default: the table of {@link SseErrorCode}.
   */
  readonly retryable?: boolean | undefined;
  /** Of `UNAVAILABLE`: the call certainly had no effect, for this reason. Default: it may have been carried out. */
  readonly noEffect?: UnavailableCode | undefined;
  /** The HTTP status that answers it, where the code alone does not decide it. */
  readonly status?: number | undefined;
  /** The path of the setting whose limit was reached. */
  readonly limit?: string | undefined;
}

/**
 * The only error this library throws. Its message names the rule, the value received and what to do next; programs read
 * {@link SseError.code}, never the message. A foreign error that led to it is its `cause`.
 */
export class SseError extends Error {
  override readonly name = 'SseError';
  /** Stable reason, for programs. */
  readonly code: SseErrorCode;
  /** Whether the same call may be made again later without any change, and then succeed. */
  readonly retryable: boolean;
  /** The HTTP status that answers it, as in http-errors: error handlers of Koa applications read it. */
  readonly status: number;
  /** Whether its message may be shown to the client, as in http-errors: below 500. */
  readonly expose: boolean;
  /** Of `UNAVAILABLE`: why the call certainly had no effect. `undefined`: it may have been carried out. */
  declare readonly noEffect: UnavailableCode | undefined;
  /** The path of the setting whose limit was reached, such as `limits.maxConnectionsPerUser`. */
  declare readonly limit: string | undefined;

  constructor(code: SseErrorCode, message: string, options?: SseErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryable = options?.retryable ?? factsOf(code).retryable ?? false;
    // Only where they say something: each line of a log prints them.
    if (options?.noEffect !== undefined) this.noEffect = options.noEffect;
    if (options?.limit !== undefined) this.limit = options.limit;
    this.status = options?.status ?? httpStatusOf(code);
    this.expose = this.status < 500;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** Whether the cluster answered, and could not do what was asked: no outage, and no reason to ask again at once. */
  static isRefusal(value: unknown): boolean {
    return isSseError(value) && (value.noEffect === 'WRITES_REFUSED' || value.noEffect === 'KEY_UNREADABLE');
  }

  /** Whether `value` is an `SseError` of any copy of this package, and, when given, of that code. */
  static is(value: unknown, code?: SseErrorCode): value is SseError {
    return isSseError(value, code);
  }
}

/** Outside of the class: a bundler renames a class that names itself, and stack traces would have that name. */
function isSseError(value: unknown, code?: SseErrorCode): value is SseError {
  return (
    typeof value === 'object' &&
    value !== null &&
    BRAND in value &&
    (code === undefined || (value as { code?: unknown }).code === code)
  );
}
