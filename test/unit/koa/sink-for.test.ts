import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { sinkFor } from '../../../src/koa/stream-request.js';

describe('sinkFor', () => {
  it('refuses what is no request of Node', () => {
    expect(() => sinkFor({}, {}))
      .to.throw()
      .that.satisfies((error: unknown) => SseError.is(error, 'INVALID_REQUEST'));
  });
});
