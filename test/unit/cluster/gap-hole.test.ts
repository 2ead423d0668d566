import { expect } from 'chai';
import { gapHole } from '../../../src/protocol/gap.js';

describe('gapHole', () => {
  const resumedFrom = { epoch: 'e', ms: 1, sequence: 1 };
  const at = (sequence: number) => ({ ms: 1, sequence });

  it('is none where nothing is missing', () => {
    expect(gapHole([], resumedFrom)).to.equal(undefined);
  });

  it('is one of all topics, up to the newest missing entry of any', () => {
    const parts = [3, 7, 5].map(n => ({ topic: `topic-${n}`, until: at(n) }));
    const hole = gapHole(parts, resumedFrom);
    expect(hole).to.deep.equal({
      reason: 'GAP',
      topics: undefined,
      resumedFrom,
      until: at(7),
      parts,
    });
  });
});
