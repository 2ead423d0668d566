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
    ['time_out', 'timeout'],
    ['tt', 'ttl'],
    ['', undefined],
    ['xyz', undefined],
    ['clock', undefined],
  ] as const) {
    it(`finds ${expected ?? 'nothing'} for ${JSON.stringify(name)}`, () => {
      expect(nearestName(name, ['heartbeat', 'timeout', 'ttl'])).to.equal(expected);
    });
  }

  it('takes the first of equals', () => {
    expect(nearestName('abc', ['abd', 'abe'])).to.equal('abd');
  });

  it('finds nothing among nothing', () => {
    expect(nearestName('x', [])).to.be.undefined;
  });
});
