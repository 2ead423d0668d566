import { STATUS_CODES } from 'node:http';

const CODES = [
  'INVALID_OPTION',
  'INVALID_CONNECTION_ID',
  'INVALID_USER',
  'INVALID_EVENT_NAME',
  'INVALID_EVENT_ID',
  'INVALID_RETRY',
  'INVALID_TOPIC',
  'INVALID_REASON',
  'INVALID_SOURCE',
  'INVALID_ENDPOINT',
  'INVALID_REQUEST',
  'NOT_SERIALIZABLE',
  'EVENT_TOO_LARGE',
  'SEND_BUFFER_FULL',
  'MESSAGE_LIMIT',
  'CONNECTION_LIMIT',
  'DUPLICATE_CONNECTION',
  'TAKEOVER_STORM',
  'RATE_LIMITED',
  'SOURCE_ENDED',
  'CONNECTION_CLOSED',
  'NOT_ACCEPTABLE',
  'METHOD_NOT_ALLOWED',
  'FORBIDDEN',
  'DRAINING',
  'CLOSED',
  'UNAVAILABLE',
  'INCONSISTENT',
  'INTERNAL',
] as const;

/**
 * Stable codes of everything this library throws or puts into a `rejected` receipt. A code never changes its meaning
 * within a major version; messages may. The last column is the default of `retryable`; a single error may know better.
 *
 * | code | cause | retry? |
 * |---|---|---|
 * | `INVALID_OPTION` | a setting is unknown, of a wrong type, out of range or contradicts another | no |
 * | `INVALID_CONNECTION_ID` | not 1 to 256 bytes of well-formed text without control characters, or a `/` without a user | no |
 * | `INVALID_USER` | a user that is not 1 to 256 bytes of well-formed text without control characters | no |
 * | `INVALID_EVENT_NAME` | CR, LF or NUL in it, too long, not well-formed, or one of the library's own names | no |
 * | `INVALID_EVENT_ID` | CR, LF or NUL in it, too long, or not well-formed | no |
 * | `INVALID_RETRY` | a reconnection time that is not a whole, non-negative number of milliseconds | no |
 * | `INVALID_TOPIC` | a topic name that is empty, too long, or uses reserved characters; or too many topics | no |
 * | `INVALID_REASON` | a close reason that is not a short token | no |
 * | `INVALID_SOURCE` | a handler returned something that is no source of events | no |
 * | `INVALID_ENDPOINT` | an `@SseEndpoint` or a controller list that cannot be served | no |
 * | `INVALID_REQUEST` | broken percent-encoding, or a request that cannot become a stream (pipelined, HEAD, answered already) | no |
 * | `NOT_SERIALIZABLE` | data that JSON cannot express: cycle, BigInt, function, `undefined`, a throwing `toJSON` | no |
 * | `EVENT_TOO_LARGE` | data over `limits.maxEventBytes` | no |
 * | `SEND_BUFFER_FULL` | the connection is slow and its send buffer, or the process budget, is full | yes |
 * | `MESSAGE_LIMIT` | too many sends wait for their answer | yes |
 * | `CONNECTION_LIMIT` | the node holds `connection.maxConnections` connections | yes |
 * | `DUPLICATE_CONNECTION` | the id is connected and `connection.onDuplicate` is `reject` | yes |
 * | `TAKEOVER_STORM` | the id was taken over too often; the newcomer must stop | no |
 * | `RATE_LIMITED` | too many requests of one kind within a time, such as page loads of one id | yes |
 * | `SOURCE_ENDED` | the resumable source has ended and this client has all of it | no |
 * | `CONNECTION_CLOSED` | the client was gone before its connection opened, or the connection has closed | no |
 * | `NOT_ACCEPTABLE` | the `Accept` header excludes `text/event-stream` | no |
 * | `METHOD_NOT_ALLOWED` | the endpoint does not answer this request method | no |
 * | `FORBIDDEN` | a guard refused, or the connection may not follow a topic or source | no |
 * | `DRAINING` | the node is going away and takes no new connection | yes |
 * | `CLOSED` | the service was closed | no |
 * | `UNAVAILABLE` | the cluster cannot be reached | yes |
 * | `INCONSISTENT` | this node and the cluster differ and `consistency.inconsistencyHandlingStrategy` is `fail_fast` | yes |
 * | `INTERNAL` | an unexpected failure; see its `cause` | no |
 */
export type SseErrorCode = (typeof CODES)[number];

/** All of them, for reading a code that comes from elsewhere. */
export const SSE_ERROR_CODES: ReadonlySet<SseErrorCode> = new Set(CODES);

const RETRYABLE: ReadonlySet<SseErrorCode> = new Set<SseErrorCode>([
  'SEND_BUFFER_FULL',
  'MESSAGE_LIMIT',
  'CONNECTION_LIMIT',
  'DUPLICATE_CONNECTION',
  'RATE_LIMITED',
  'DRAINING',
  'UNAVAILABLE',
  'INCONSISTENT',
]);

const STATUS: Readonly<Partial<Record<SseErrorCode, number>>> = {
  INVALID_REQUEST: 400,
  INVALID_CONNECTION_ID: 400,
  FORBIDDEN: 403,
  METHOD_NOT_ALLOWED: 405,
  NOT_ACCEPTABLE: 406,
  DUPLICATE_CONNECTION: 409,
  CONNECTION_CLOSED: 410,
  EVENT_TOO_LARGE: 413,
  INVALID_EVENT_NAME: 422,
  INVALID_EVENT_ID: 422,
  INVALID_RETRY: 422,
  INVALID_TOPIC: 422,
  INVALID_USER: 422,
  INVALID_REASON: 422,
  NOT_SERIALIZABLE: 422,
  SEND_BUFFER_FULL: 429,
  MESSAGE_LIMIT: 429,
  RATE_LIMITED: 429,
  CONNECTION_LIMIT: 503,
  DRAINING: 503,
  CLOSED: 503,
  UNAVAILABLE: 503,
  INCONSISTENT: 503,
  // The only status that stops an EventSource for good (HTML standard, section 9.2.3).
  TAKEOVER_STORM: 204,
  SOURCE_ENDED: 204,
};

/** The HTTP status of an error code; 500 for errors of the server itself. */
export function httpStatusOf(code: SseErrorCode): number {
  return STATUS[code] ?? 500;
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
  readonly noEffect: UnavailableCode | undefined;

  constructor(code: SseErrorCode, message: string, options?: SseErrorOptions) {
    super(message, options);
    this.code = code;
    this.retryable = options?.retryable ?? RETRYABLE.has(code);
    this.noEffect = options?.noEffect;
    this.status = options?.status ?? httpStatusOf(code);
    this.expose = this.status < 500;
    Object.defineProperty(this, BRAND, { value: true });
  }

  /** Whether the cluster answered, and could not do what was asked: no outage, and no reason to ask again at once. */
  static isRefusal(value: unknown): boolean {
    return SseError.is(value) && (value.noEffect === 'WRITES_REFUSED' || value.noEffect === 'KEY_UNREADABLE');
  }

  /** Whether `value` is an `SseError` of any copy of this package, and, when given, of that code. */
  static is(value: unknown, code?: SseErrorCode): value is SseError {
    return (
      typeof value === 'object' &&
      value !== null &&
      BRAND in value &&
      (code === undefined || (value as { code?: unknown }).code === code)
    );
  }
}
