import { expect } from 'chai';
import fc from 'fast-check';
import { SourceItemReader } from '../../../src/connection/source.js';
import { amount } from '../../support/extent.js';

describe('SourceItemReader', () => {
  const read = (item: unknown): unknown => new SourceItemReader().read(item);

  it('treats an object with only data, event, id and retry as an event', () => {
    for (const item of [
      { data: 1 },
      { data: undefined },
      { event: 'a', data: 'x', id: '1', retry: 5 },
      { id: '1', data: null },
    ]) {
      expect(read(item)).to.equal(item);
    }
  });

  it('treats any other item as the data of a message', () => {
    class Row {
      readonly event = 'a';
    }
    for (const item of [
      'text',
      7,
      null,
      undefined,
      [1, 2],
      {},
      { event: 'a' },
      { data: 1, more: 2 },
      Object.create({ data: 1 }) as object,
      new Row(),
    ]) {
      expect(read(item)).to.deep.equal({ data: item });
    }
  });

  it('joins characters that were cut between pieces of bytes', () => {
    const pieces = fc.tuple(
      fc.string({ unit: 'binary', minLength: 1, maxLength: 20 }),
      fc.array(fc.nat(80), { maxLength: 6 }),
    );
    fc.assert(
      fc.property(pieces, ([text, cuts]) => {
        const bytes = Buffer.from(text);
        const reader = new SourceItemReader();
        const offsets = [0, ...cuts, bytes.length].sort((a, b) => a - b);
        const data = offsets.slice(1).map((to, index) => {
          const event = reader.read(bytes.subarray(offsets[index], to));
          return event === undefined ? '' : String(event.data);
        });
        expect(data.join('')).to.equal(bytes.toString());
      }),
      { numRuns: amount(200, 1_000) },
    );
  });

  it('makes no event of bytes that complete no character', () => {
    const reader = new SourceItemReader();
    const [first, second] = [Buffer.from('é').subarray(0, 1), Buffer.from('é').subarray(1)];
    expect([reader.read(first), reader.read(second)]).to.deep.equal([undefined, { data: 'é' }]);
  });

  it('keeps a byte order mark, which is text like any other', () => {
    expect(read(Buffer.from('\ufeffa'))).to.deep.equal({ data: '\ufeffa' });
  });
});
