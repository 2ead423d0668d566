import { expect } from 'chai';
import { EventEncoder } from '../../../src/protocol/event-stream.js';
import { readStream } from './client-parser.js';
import { codeOf } from './code-of.js';

describe('EventEncoder', () => {
  const encoder = new EventEncoder(10);

  it('puts name, data, id and reconnection time into one frame', () => {
    const { bytes } = encoder.encode('note', { a: 1 }, { id: '7', retry: 5 });
    expect(readStream([bytes])).to.deep.equal([{ retry: 5 }, { event: 'note', data: '{"a":1}', id: '7' }]);
  });

  it('gives the frame no position in the log', () => {
    expect(encoder.encode('note', 'x')).to.not.have.property('position');
  });

  it('takes data of exactly the limit, counted in bytes of UTF-8', () => {
    expect(codeOf(() => encoder.encode('note', 'x'.repeat(10)))).to.equal(undefined);
    expect(codeOf(() => encoder.encode('note', 'é'.repeat(5)))).to.equal(undefined);
    expect(codeOf(() => encoder.encode('note', 'x'.repeat(11)))).to.equal('EVENT_TOO_LARGE');
    expect(codeOf(() => encoder.encode('note', `${'é'.repeat(5)}x`))).to.equal('EVENT_TOO_LARGE');
  });

  it('counts the JSON of a value, not the value', () => {
    expect(codeOf(() => encoder.encode('note', ['xxxxxx']))).to.equal(undefined);
    expect(codeOf(() => encoder.encode('note', ['xxxxxxx']))).to.equal('EVENT_TOO_LARGE');
  });

  it('refuses a bad name, id, reconnection time or data with the code of each', () => {
    expect([
      codeOf(() => encoder.encode('a\nb', 'x')),
      codeOf(() => encoder.encode('sse.reset', 'x')),
      codeOf(() => encoder.encode('a', 'x', { id: 'a\nb' })),
      codeOf(() => encoder.encode('a', 'x', { retry: -1 })),
      codeOf(() => encoder.encode('a', undefined)),
    ]).to.deep.equal([
      'INVALID_EVENT_NAME',
      'INVALID_EVENT_NAME',
      'INVALID_EVENT_ID',
      'INVALID_RETRY',
      'NOT_SERIALIZABLE',
    ]);
  });
});
