import { expect } from 'chai';
import { SseError, type SseErrorCode } from '../../src/errors.js';

/** Every code, and whether the same call may succeed later; a record, so that the compiler misses none. */
const CODES: Readonly<Record<SseErrorCode, boolean>> = {
  INVALID_OPTION: false,
  INVALID_CONNECTION_ID: false,
  INVALID_EVENT_NAME: false,
  INVALID_EVENT_ID: false,
  INVALID_RETRY: false,
  INVALID_TOPIC: false,
  INVALID_REASON: false,
  INVALID_SOURCE: false,
  INVALID_ENDPOINT: false,
  INVALID_REQUEST: false,
  NOT_SERIALIZABLE: false,
  EVENT_TOO_LARGE: false,
  SEND_BUFFER_FULL: true,
  MESSAGE_LIMIT: true,
  CONNECTION_LIMIT: true,
  DUPLICATE_CONNECTION: true,
  TAKEOVER_STORM: false,
  SOURCE_ENDED: false,
  CONNECTION_CLOSED: false,
  NOT_ACCEPTABLE: false,
  METHOD_NOT_ALLOWED: false,
  FORBIDDEN: false,
  DRAINING: true,
  CLOSED: false,
  UNAVAILABLE: true,
  INCONSISTENT: true,
  INTERNAL: false,
};
const BRAND = Symbol.for('distributed-sse/SseError');

describe('SseError', () => {
  for (const [code, retryable] of Object.entries(CODES) as [SseErrorCode, boolean][]) {
    it(`${code} says ${retryable ? 'that a later call may succeed' : 'that a later call fails as well'}`, () => {
      const error = new SseError(code, 'the rule');
      expect(error).to.include({ code, retryable, message: 'the rule' });
    });
  }

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
