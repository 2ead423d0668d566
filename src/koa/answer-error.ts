import type { Context } from 'koa';
import type { SseError, SseErrorCode } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';

const RETRY_LATER: ReadonlySet<number> = new Set([429, 503]);

/**
 * Answers a request with an error: `{"error":{"code","message"}}`, and for 429 and 503 a `Retry-After` of its own for
 * each client, so that those who are refused together do not come back together.
 */
export function answerError(
  ctx: Context,
  error: SseError,
  reconnect: ResolvedSseOptions['reconnect'],
  status: number = httpStatusOf(error.code),
): void {
  ctx.status = status;
  if (RETRY_LATER.has(status)) ctx.set('Retry-After', String(retryAfter(reconnect)));
  ctx.body = { error: { code: error.code, message: error.message } };
}

/** Whole seconds, at least one, since `reconnect.retry` is at least a millisecond. */
function retryAfter({ retry, jitter }: ResolvedSseOptions['reconnect']): number {
  return Math.ceil((retry + Math.random() * jitter) / 1000);
}

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
  INVALID_REASON: 422,
  NOT_SERIALIZABLE: 422,
  SEND_BUFFER_FULL: 429,
  MESSAGE_LIMIT: 429,
  CONNECTION_LIMIT: 503,
  DRAINING: 503,
  CLOSED: 503,
  UNAVAILABLE: 503,
  INCONSISTENT: 503,
  // The only status that stops an EventSource for good (HTML standard, section 9.2.3).
  TAKEOVER_STORM: 204,
  SOURCE_ENDED: 204,
};

/** The HTTP status that says the same as an error code; 500 for what is the server's own mistake. */
export function httpStatusOf(code: SseErrorCode): number {
  return STATUS[code] ?? 500;
}
