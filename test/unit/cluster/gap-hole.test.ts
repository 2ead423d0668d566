import { expect } from 'chai';
import { gapOf } from '../../../src/protocol/gap.js';

describe('gapOf', () => {
  const resumedFrom = { epoch: 'e', ms: 1, sequence: 1 };
  const at = (sequence: number) => ({ ms: 1, sequence });

  it('is none where nothing is missing', () => {
    expect(gapOf([], resumedFrom)).to.equal(undefined);
  });

  it('is one of all topics, up to the newest missing entry of any', () => {
    const parts = [3, 7, 5].map(n => ({ topic: `topic-${n}`, until: at(n) }));
    const gap = gapOf(parts, resumedFrom);
    expect(gap).to.deep.equal({
      reason: 'GAP',
      topics: undefined,
      resumedFrom,
      until: at(7),
      parts,
    });
  });
});
