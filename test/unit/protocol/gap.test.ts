import { expect } from 'chai';
import { gapOf } from '../../../src/protocol/event-stream.js';

describe('gapOf', () => {
  const resumedFrom = { epoch: 'e', ms: 1, sequence: 1 };
  const at = (sequence: number) => ({ ms: 1, sequence });

  it('is none where nothing is missing', () => {
    expect(gapOf(new Map(), resumedFrom)).to.equal(undefined);
  });

  it('is one of all topics, up to the newest missing entry of any', () => {
    const topics = new Map([3, 7, 5].map(n => [`topic-${n}`, at(n)]));
    const gap = gapOf(topics, resumedFrom);
    expect(gap).to.deep.equal({
      reason: 'GAP',
      topics,
      resumedFrom,
      until: at(7),
    });
  });
});
