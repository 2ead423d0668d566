import type { SseErrorCode } from '../errors/sse-error.js';

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
  OUTBOX_FULL: 429,
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
