import { expect } from 'chai';
import type { SseErrorCode } from '../../../src/errors.js';
import { httpStatusOf } from '../../../src/koa/middleware.js';

/** Every code; a record, so that the compiler misses none. */
const STATUS: Readonly<Record<SseErrorCode, number>> = {
  INVALID_OPTION: 500,
  INVALID_CONNECTION_ID: 400,
  INVALID_EVENT_NAME: 422,
  INVALID_EVENT_ID: 422,
  INVALID_RETRY: 422,
  INVALID_TOPIC: 422,
  INVALID_REASON: 422,
  INVALID_SOURCE: 500,
  INVALID_ENDPOINT: 500,
  INVALID_REQUEST: 400,
  NOT_SERIALIZABLE: 422,
  EVENT_TOO_LARGE: 413,
  SEND_BUFFER_FULL: 429,
  MESSAGE_LIMIT: 429,
  CONNECTION_LIMIT: 503,
  DUPLICATE_CONNECTION: 409,
  TAKEOVER_STORM: 204,
  SOURCE_ENDED: 204,
  CONNECTION_CLOSED: 410,
  NOT_ACCEPTABLE: 406,
  METHOD_NOT_ALLOWED: 405,
  FORBIDDEN: 403,
  DRAINING: 503,
  CLOSED: 503,
  UNAVAILABLE: 503,
  INCONSISTENT: 503,
  INTERNAL: 500,
};

describe('httpStatusOf', () => {
  for (const [code, status] of Object.entries(STATUS)) {
    it(`says ${status} for ${code}`, () => {
      expect(httpStatusOf(code as SseErrorCode)).to.equal(status);
    });
  }

  it('says 500 for a code of a newer copy', () => {
    expect(httpStatusOf('FROM_THE_FUTURE' as SseErrorCode)).to.equal(500);
  });
});
