import { expect } from 'chai';
import fc from 'fast-check';
import type { Cursor, Position } from '../../../src/contracts/events.js';
import { formatCursor, isAfter, parseCursor } from '../../../src/protocol/cursor.js';
import { hostileText } from './hostile-text.js';

const epochs = fc.stringMatching(/^[0-9a-z]{1,16}$/);
const cursors: fc.Arbitrary<Cursor> = fc.record({
  epoch: epochs,
  ms: fc.maxSafeNat(),
  sequence: fc.maxSafeNat(),
});
// Few different values, so that equal parts are common.
const positions: fc.Arbitrary<Position> = fc.record({ ms: fc.nat(3), sequence: fc.nat(3) });

describe('parseCursor', () => {
  it('reads what formatCursor wrote', () => {
    fc.assert(
      fc.property(cursors, cursor => {
        expect(parseCursor(formatCursor(cursor))).to.deep.equal(cursor);
      }),
      { numRuns: 2000 },
    );
  });

  it('is either undefined or a cursor whose text is exactly what was read', () => {
    const almost = fc
      .tuple(fc.stringMatching(/^[0-9a-z.-]{0,20}$/), hostileText, cursors.map(formatCursor))
      .chain(parts => fc.shuffledSubarray([...parts]))
      .map(parts => parts.join(''));
    fc.assert(
      fc.property(fc.oneof(hostileText, almost), text => {
        const cursor = parseCursor(text);
        if (cursor !== undefined) expect(formatCursor(cursor)).to.equal(text);
      }),
      { numRuns: 5000 },
    );
  });

  const hostile = [
    '',
    'e',
    'e.1',
    'e.1-',
    'e.-1',
    '.1-1',
    'e.1-1-1',
    'e.1.1-1',
    ' e.1-1',
    'e.1-1 ',
    'e.1-1\n',
    'e.1-1\0',
    'E.1-1',
    'e.A-1',
    'é.1-1',
    'e.01-1',
    'e.1-00',
    'e.+1-1',
    'e.1e5-1.0',
    '12345678901234567.1-1',
    'e.zzzzzzzzzzz-1',
    'e.1-zzzzzzzzzzz',
    'e.1-111111111111',
  ];
  for (const text of hostile) {
    it(`takes ${JSON.stringify(text)} for no cursor`, () => {
      expect(parseCursor(text)).to.equal(undefined);
    });
  }

  it('answers a very long text at once', () => {
    const before = performance.now();
    expect(parseCursor(`e.${'1'.repeat(10_000_000)}-1`)).to.equal(undefined);
    expect(performance.now() - before).to.be.lessThan(1000);
  });
});

describe('formatCursor', () => {
  it('gives different cursors different ids', () => {
    fc.assert(
      fc.property(cursors, cursors, (a, b) => {
        const same = a.epoch === b.epoch && a.ms === b.ms && a.sequence === b.sequence;
        expect(formatCursor(a) === formatCursor(b)).to.equal(same);
      }),
    );
  });
});

describe('isAfter', () => {
  const equal = (a: Position, b: Position): boolean => a.ms === b.ms && a.sequence === b.sequence;

  it('puts exactly one of two different positions after the other', () => {
    fc.assert(
      fc.property(positions, positions, (a, b) => {
        const truths = [isAfter(a, b), isAfter(b, a), equal(a, b)].filter(Boolean);
        expect(truths).to.have.length(1);
      }),
      { numRuns: 2000 },
    );
  });

  it('is transitive', () => {
    fc.assert(
      fc.property(positions, positions, positions, (a, b, c) => {
        fc.pre(isAfter(a, b) && isAfter(b, c));
        expect(isAfter(a, c)).to.be.true;
      }),
      { numRuns: 1000 },
    );
  });

  it('looks at the time first, and at the sequence within one time', () => {
    expect(isAfter({ ms: 2, sequence: 0 }, { ms: 1, sequence: 9 })).to.be.true;
    expect(isAfter({ ms: 1, sequence: 2 }, { ms: 1, sequence: 1 })).to.be.true;
    expect(isAfter({ ms: 1, sequence: 9 }, { ms: 2, sequence: 0 })).to.be.false;
  });
});
