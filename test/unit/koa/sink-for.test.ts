import { expect } from 'chai';
import { SseError } from '../../../src/errors/sse-error.js';
import { sinkFor } from '../../../src/koa/sink-for.js';

describe('sinkFor', () => {
  it('refuses what is no request of Node', () => {
    expect(() => sinkFor({}, {}))
      .to.throw()
      .that.satisfies((error: unknown) => SseError.is(error, 'INVALID_REQUEST'));
  });
});
