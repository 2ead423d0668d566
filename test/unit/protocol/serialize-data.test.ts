import { expect } from 'chai';
import fc from 'fast-check';
import { SseError } from '../../../src/errors.js';
import { serializeData } from '../../../src/protocol/event-stream.js';
import { codeOf } from './code-of.js';
import { hostileText } from './hostile-text.js';

function causeOf(data: unknown): unknown {
  try {
    serializeData(data);
  } catch (error) {
    if (SseError.is(error, 'NOT_SERIALIZABLE')) return error.cause;
    throw error;
  }
  throw new Error('the data was not refused');
}

describe('serializeData', () => {
  it('leaves a string as it is', () => {
    fc.assert(
      fc.property(hostileText, text => {
        expect(serializeData(text)).to.equal(text);
      }),
    );
  });

  it('makes JSON of any other value', () => {
    fc.assert(
      fc.property(fc.jsonValue(), value => {
        const text = serializeData(value);
        if (typeof value !== 'string') expect(text).to.equal(JSON.stringify(value));
      }),
    );
  });

  it('asks a value for its own form', () => {
    expect(serializeData(new Date(0))).to.equal('"1970-01-01T00:00:00.000Z"');
    expect(serializeData({ toJSON: () => ({ kept: 1 }) })).to.equal('{"kept":1}');
    expect(serializeData(Object.assign(new Map(), { toJSON: () => ({ kept: 1 }) }))).to.equal('{"kept":1}');
    expect(serializeData({})).to.equal('{}');
  });

  it('makes null and false of null and false', () => {
    expect([serializeData(null), serializeData(false)]).to.deep.equal(['null', 'false']);
  });

  const cycle: Record<string, unknown> = {};
  cycle['self'] = cycle;
  const refused: readonly (readonly [name: string, data: unknown])[] = [
    ['undefined', undefined],
    ['a function', () => 1],
    ['a symbol', Symbol('s')],
    ['a BigInt', 1n],
    ['a BigInt deep inside', { a: [{ b: 1n }] }],
    ['a cycle', cycle],
    ['a toJSON that returns undefined', { toJSON: () => undefined }],
    ['a promise, whose value nobody awaited', Promise.resolve(1)],
    ['a Map, of which nothing would be sent', new Map([['a', 1]])],
    ['a Set, of which nothing would be sent', new Set([1])],
  ];
  for (const [name, data] of refused) {
    it(`refuses ${name}`, () => {
      expect(codeOf(() => serializeData(data))).to.equal('NOT_SERIALIZABLE');
    });
  }

  it('refuses a throwing toJSON, whose error is the cause', () => {
    const failure = new Error('mine');
    const data = {
      toJSON: () => {
        throw failure;
      },
    };
    expect(causeOf(data)).to.equal(failure);
  });

  it('refuses a throwing getter, whose error is the cause', () => {
    const failure = new Error('mine');
    const data = {
      get value(): never {
        throw failure;
      },
    };
    expect(causeOf(data)).to.equal(failure);
  });

  it('refuses a toJSON that throws something that is no error', () => {
    const data = {
      toJSON: () => {
        // As hostile data may.
        // eslint-disable-next-line @typescript-eslint/only-throw-error
        throw null;
      },
    };
    expect(causeOf(data)).to.equal(null);
  });
});
