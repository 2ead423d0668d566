import { expect } from 'chai';
import { nearestName } from '../../../src/options/problems.js';

describe('nearestName', () => {
  for (const [name, expected] of [
    ['heartbeat', 'heartbeat'],
    ['hartbeat', 'heartbeat'],
    ['heartbeatt', 'heartbeat'],
    ['heartbaet', 'heartbeat'],
    ['HEARTBEAT', 'heartbeat'],
    ['timeot', 'timeout'],
    ['', 'ttl'],
  ] as const) {
    it(`finds ${expected} for ${JSON.stringify(name)}`, () => {
      expect(nearestName(name, ['heartbeat', 'timeout', 'ttl'])).to.equal(expected);
    });
  }

  it('takes the first of equals', () => {
    expect(nearestName('x', ['a', 'b'])).to.equal('a');
  });

  it('finds nothing among nothing', () => {
    expect(nearestName('x', [])).to.be.undefined;
  });
});
