import { expect } from 'chai';
import { createParser } from 'eventsource-parser';
import fc from 'fast-check';
import type { Block } from '../../../src/client/index.js';
import { EventStreamParser } from '../../../src/client/parser.js';
import { amount } from '../../support/extent.js';

const MAX = 1_000;

function parse(...chunks: string[]): { blocks: Block[]; retries: number[] } {
  const blocks: Block[] = [];
  const retries: number[] = [];
  const onBlock = ({ confirm, ...block }: Block): unknown =>
    blocks.push(confirm === undefined ? block : { ...block, confirm });
  const parser = new EventStreamParser({ onBlock, onRetry: ms => retries.push(ms) }, MAX);
  for (const chunk of chunks) parser.feed(chunk);
  return { blocks, retries };
}

describe('client: event-stream text', () => {
  it('reports events, ids without data and reconnection times', () => {
    const text = ': hi\nretry: 50\nid: 1\nevent: a\ndata: x\ndata:  y\n\nid: 2\n\ndata\n\nretry: 5x\n\n';
    expect(parse(text)).to.deep.equal({
      blocks: [
        { event: 'a', data: 'x\n y', id: '1' },
        { event: 'message', data: undefined, id: '2' },
        { event: 'message', data: '', id: undefined },
      ],
      retries: [50],
    });
  });

  it('reports the message id that its event asks to confirm, and not for the next event', () => {
    const { blocks } = parse('confirm: m 1\nevent: a\ndata: x\n\ndata: y\n\n');
    expect(blocks.map(({ confirm }) => confirm)).to.deep.equal(['m 1', undefined]);
  });

  it('ignores an id with NUL, unknown fields, and a block that is not complete', () => {
    expect(parse('id: a\0b\nnews: 1\ndata: x\n\ndata: y\n').blocks).to.deep.equal([
      { event: 'message', data: 'x', id: undefined },
    ]);
  });

  it('reads the same from pieces of any size, with line breaks of any kind', () => {
    const line = fc.oneof(
      fc.constantFrom('', '', 'data', 'data:', 'event: a', 'id: 7', 'id', ': c', 'x: y', 'datax: 1'),
      fc.string({ maxLength: 6 }).map(text => `data: ${text}`),
    );
    const text = fc
      .array(fc.tuple(line, fc.constantFrom('\n', '\r', '\r\n')), { maxLength: 20 })
      .map(lines => `${lines.flat().join('')}\n\n`);
    fc.assert(
      fc.property(text, fc.array(fc.nat(100)), (whole, cuts) => {
        const at = [0, ...cuts.map(cut => cut % (whole.length + 1)).sort((a, b) => a - b), whole.length];
        const { blocks } = parse(...at.slice(1).map((end, index) => whole.slice(at[index], end)));
        expect(blocks).to.deep.equal(parse(whole).blocks);
        const events: unknown[] = [];
        createParser({
          onEvent: ({ event = 'message', data, id }) => events.push({ event, data, id }),
        }).feed(whole);
        expect(blocks.filter(({ data }) => data !== undefined)).to.deep.equal(events);
      }),
      { numRuns: amount(200, 5_000) },
    );
  });

  it('refuses an event over the bound, complete or not, and counts each event alone', () => {
    expect(() => parse(...Array.from({ length: 11 }, () => 'data: '.padEnd(100, 'x')))).to.throw(RangeError);
    expect(() => parse(...Array.from({ length: 11 }, () => `data: ${'x'.repeat(100)}\n`))).to.throw(RangeError);
    const { blocks } = parse(...Array.from({ length: 50 }, () => `data: ${'x'.repeat(100)}\n\n: c\n`));
    expect(blocks).to.have.length(50);
  });
});
