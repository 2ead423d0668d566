import { expect } from 'chai';
import { httpStatusOf, SseError, type SseErrorCode } from '../../src/errors.js';

/** Facts of a code: whether the same call may succeed later, and the HTTP status. */
interface Facts {
  readonly retryable: boolean;
  readonly status: number;
}

/** Every code; a record, so that the compiler misses none. */
const CODES: Readonly<Record<SseErrorCode, Facts>> = {
  INVALID_OPTION: { retryable: false, status: 500 },
  INVALID_CONNECTION_ID: { retryable: false, status: 400 },
  INVALID_USER: { retryable: false, status: 422 },
  INVALID_EVENT_NAME: { retryable: false, status: 422 },
  INVALID_EVENT_ID: { retryable: false, status: 422 },
  INVALID_RETRY: { retryable: false, status: 422 },
  INVALID_TOPIC: { retryable: false, status: 422 },
  INVALID_REASON: { retryable: false, status: 422 },
  INVALID_SOURCE: { retryable: false, status: 500 },
  INVALID_ENDPOINT: { retryable: false, status: 500 },
  INVALID_REQUEST: { retryable: false, status: 400 },
  NOT_SERIALIZABLE: { retryable: false, status: 422 },
  EVENT_TOO_LARGE: { retryable: false, status: 413 },
  SEND_BUFFER_FULL: { retryable: true, status: 429 },
  MESSAGE_LIMIT: { retryable: true, status: 429 },
  CONNECTION_LIMIT: { retryable: true, status: 503 },
  DUPLICATE_CONNECTION: { retryable: true, status: 409 },
  TAKEOVER_STORM: { retryable: false, status: 204 },
  RATE_LIMITED: { retryable: true, status: 429 },
  SOURCE_ENDED: { retryable: false, status: 204 },
  CONNECTION_CLOSED: { retryable: false, status: 410 },
  NOT_ACCEPTABLE: { retryable: false, status: 406 },
  METHOD_NOT_ALLOWED: { retryable: false, status: 405 },
  FORBIDDEN: { retryable: false, status: 403 },
  DRAINING: { retryable: true, status: 503 },
  CLOSED: { retryable: false, status: 503 },
  UNAVAILABLE: { retryable: true, status: 503 },
  INCONSISTENT: { retryable: true, status: 503 },
  INTERNAL: { retryable: false, status: 500 },
};
const BRAND = Symbol.for('distributed-sse/SseError');

describe('SseError', () => {
  for (const [code, { retryable, status }] of Object.entries(CODES) as [SseErrorCode, Facts][]) {
    it(`${code} says ${retryable ? 'that a later call may succeed' : 'that a later call fails as well'}`, () => {
      const error = new SseError(code, 'the rule');
      expect(error).to.include({ code, retryable, message: 'the rule' });
    });

    it(`${code} is answered with ${status}`, () => {
      expect(new SseError(code, 'the rule')).to.include({ status, expose: status < 500 });
    });
  }

  it('is answered with 500 when a newer copy of the package made its code', () => {
    expect(httpStatusOf('FROM_THE_FUTURE' as SseErrorCode)).to.equal(500);
  });

  it('is not retryable when its creator knows that the call must not be repeated', () => {
    const error = new SseError('UNAVAILABLE', 'no answer', { retryable: false });
    expect(error).to.include({ code: 'UNAVAILABLE', retryable: false });
  });

  it('is retryable when its creator knows that a repeated call may succeed', () => {
    expect(new SseError('INTERNAL', 'passing', { retryable: true }).retryable).to.equal(true);
  });

  it('has the default of its code otherwise', () => {
    const options = { cause: 'why', retryable: undefined };
    expect(new SseError('UNAVAILABLE', 'x', options)).to.include({ retryable: true, cause: 'why' });
    expect(new SseError('CLOSED', 'x', options)).to.include({ retryable: false, cause: 'why' });
  });

  it('is an Error with a name of its own and a stack', () => {
    const error = new SseError('INTERNAL', 'broken');
    expect(error).to.be.instanceOf(Error);
    expect(error.name).to.equal('SseError');
    expect(String(error)).to.equal('SseError: broken');
    expect(error.stack).to.contain('sse-error.test');
  });

  it('keeps the error that led to it', () => {
    const cause = new Error('foreign');
    expect(new SseError('UNAVAILABLE', 'broken', { cause }).cause).to.equal(cause);
  });

  it('has no cause of its own', () => {
    expect(new SseError('UNAVAILABLE', 'broken')).to.not.have.property('cause');
  });

  it('shows its code and no brand when it is printed', () => {
    const keys = Object.keys(new SseError('UNAVAILABLE', 'broken'));
    expect(keys).to.include.members(['code', 'retryable']);
    expect(Object.getOwnPropertySymbols(new SseError('INTERNAL', 'x'))).to.deep.equal([BRAND]);
    expect(Object.getOwnPropertyDescriptor(new SseError('INTERNAL', 'x'), BRAND)).to.include({
      enumerable: false,
      writable: false,
    });
  });

  describe('is', () => {
    it('knows its own', () => {
      expect(SseError.is(new SseError('CLOSED', 'x'))).to.equal(true);
    });

    it('knows those of another copy of the package', () => {
      const foreign = Object.assign(new Error('x'), { code: 'CLOSED', [BRAND]: true });
      expect(SseError.is(foreign)).to.equal(true);
      expect(SseError.is(foreign, 'CLOSED')).to.equal(true);
      expect(SseError.is(foreign, 'DRAINING')).to.equal(false);
    });

    it('compares the code with the expected one', () => {
      const error = new SseError('CLOSED', 'x');
      expect(SseError.is(error, 'CLOSED')).to.equal(true);
      expect(SseError.is(error, 'DRAINING')).to.equal(false);
    });

    it('knows those of subclasses', () => {
      class Special extends SseError {}
      expect(SseError.is(new Special('CLOSED', 'x'), 'CLOSED')).to.equal(true);
    });

    for (const [what, value] of Object.entries({
      undefined,
      null: null,
      'a string': 'CLOSED',
      'a number': 42,
      'an empty object': {},
      'an object that looks like one': { code: 'CLOSED', name: 'SseError' },
      'another error': new Error('CLOSED'),
      'a function': () => undefined,
    })) {
      it(`does not take ${what} for one`, () => {
        expect(SseError.is(value)).to.equal(false);
        expect(SseError.is(value, 'CLOSED')).to.equal(false);
      });
    }
  });
});
