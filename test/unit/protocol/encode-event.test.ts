import { expect } from 'chai';
import fc from 'fast-check';
import { encodeComment, encodeEvent, type EventFields, prependId } from '../../../src/protocol/event-stream.js';
import { amount } from '../../support/extent.js';
import { cutAt, type Noticed, readStream } from './client-parser.js';
import { codeOf } from './code-of.js';
import { hostileField, hostileText, received } from './hostile-text.js';

const RUNS = { numRuns: amount(1_000, 10_000) };
const MEBIBYTE = 1024 * 1024;

const fields: fc.Arbitrary<EventFields> = fc.record({
  event: hostileField,
  data: hostileText,
  id: fc.option(hostileField, { nil: undefined }),
  retry: fc.option(fc.nat(), { nil: undefined }),
});
const places = fc.array(fc.nat(), { maxLength: 6 });

/** What a client notices of an event. */
function noticedOf({ event, data, id, retry }: EventFields): Noticed[] {
  const fired = { event: event === '' ? 'message' : event, data: received(data), id };
  return retry === undefined ? [fired] : [{ retry }, fired];
}

describe('encodeEvent', () => {
  it('gives a client the encoded event, for any text and any cut of the bytes', () => {
    fc.assert(
      fc.property(fields, places, (event, cuts) => {
        expect(readStream(cutAt(encodeEvent(event), cuts))).to.deep.equal(noticedOf(event));
      }),
      RUNS,
    );
  });

  it('keeps several events in a row apart, with comments and reconnection times between them', () => {
    const part = fc.oneof(
      fields.map(event => ({ bytes: encodeEvent(event), noticed: noticedOf(event) })),
      hostileText.map(text => ({ bytes: encodeComment(text), noticed: [] })),
    );
    fc.assert(
      fc.property(fc.array(part, { maxLength: 8 }), places, (parts, cuts) => {
        const stream = Buffer.concat(parts.map(({ bytes }) => bytes));
        expect(readStream(cutAt(stream, cuts))).to.deep.equal(parts.flatMap<Noticed>(({ noticed }) => noticed));
      }),
      { numRuns: amount(500, 3_000) },
    );
  });

  const large: readonly (readonly [name: string, text: string])[] = [
    ['letters', 'x'.repeat(MEBIBYTE)],
    ['LF', '\n'.repeat(MEBIBYTE)],
    ['CR', '\r'.repeat(MEBIBYTE)],
    ['CR LF', '\r\n'.repeat(MEBIBYTE / 2)],
    ['NUL', '\0'.repeat(MEBIBYTE)],
    ['lone surrogates', '\ud800'.repeat(MEBIBYTE / 4)],
    ['emoji', '\u{1f600}'.repeat(MEBIBYTE / 4)],
    ['field names', 'data: x\n'.repeat(MEBIBYTE / 8)],
  ];
  for (const [name, data] of large) {
    it(`gives a client 1 MiB of ${name} unchanged`, () => {
      const bytes = encodeEvent({ event: 'big', data });
      const chunks = cutAt(bytes, [1, 100_000, 100_001, 777_777]);
      const [event, ...more] = readStream(chunks);
      expect(more).to.deep.equal([]);
      // Compared as a whole: a difference of 1 MiB strings is no help to anybody.
      expect(event !== undefined && 'data' in event && event.data === received(data)).to.be.true;
    });
  }

  it('separates each line of the data, CR and LF alike', () => {
    const bytes = encodeEvent({ event: 'a', data: 'one\rtwo\r\nthree\n' });
    expect(bytes.toString()).to.equal('event: a\ndata: one\ndata: two\ndata: three\ndata: \n\n');
  });

  for (const event of ['message', '']) {
    it(`leaves the name '${event}' out, since it is the default`, () => {
      expect(encodeEvent({ event, data: 'x' }).toString()).to.equal('data: x\n\n');
    });
  }

  it('lets an empty id through, which makes the client forget its last one', () => {
    expect(encodeEvent({ event: 'a', data: 'x', id: '' }).toString()).to.equal('id: \nevent: a\ndata: x\n\n');
  });

  it('refuses an id that would break the framing', () => {
    for (const id of ['a\nb', 'a\rb', 'a\0b', '\ud800', 'x'.repeat(257)]) {
      expect(codeOf(() => encodeEvent({ event: 'a', data: 'x', id }))).to.equal('INVALID_EVENT_ID');
    }
  });

  it('refuses a reconnection time that is no whole number of milliseconds', () => {
    for (const retry of [-1, 1.5, Number.NaN, Infinity, 2 ** 31]) {
      expect(codeOf(() => encodeEvent({ event: 'a', data: 'x', retry }))).to.equal('INVALID_RETRY');
    }
  });
});

describe('encodeComment', () => {
  it('never fires an event, whatever its text', () => {
    fc.assert(
      fc.property(hostileText, places, (text, cuts) => {
        expect(readStream(cutAt(encodeComment(text), cuts))).to.deep.equal([]);
      }),
      RUNS,
    );
  });

  it('leaves the event behind it as it is', () => {
    fc.assert(
      fc.property(hostileText, text => {
        const stream = Buffer.concat([encodeComment(text), encodeEvent({ event: 'a', data: 'x' })]);
        expect(readStream([stream])).to.deep.equal([{ event: 'a', data: 'x', id: undefined }]);
      }),
      { numRuns: 1000 },
    );
  });

  it('makes a comment of each line', () => {
    expect(encodeComment('one\r\ntwo\rthree\n').toString()).to.equal(': one\n: two\n: three\n: \n');
  });
});

describe('prependId', () => {
  it('gives the id to an event that was encoded without one, and changes nothing else', () => {
    fc.assert(
      fc.property(hostileField, hostileField, hostileText, (id, event, data) => {
        expect(readStream([prependId(id, encodeEvent({ event, data }))])).to.deep.equal(noticedOf({ event, data, id }));
      }),
      { numRuns: 1000 },
    );
  });

  it('leaves the shared body as it was', () => {
    const body = encodeEvent({ event: 'a', data: 'x' });
    const before = Buffer.from(body);
    prependId('e.1-1', body);
    expect(body.equals(before)).to.be.true;
  });
});
