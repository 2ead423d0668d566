import { expect } from 'chai';
import { RequestGuard } from '../../../../src/cluster/redis/commands.js';

const BEGIN = 1_800_000_000_000;

describe('RequestGuard', () => {
  let now: number | undefined = BEGIN;
  let guard = new RequestGuard(() => now);
  beforeEach(() => {
    now = BEGIN;
    guard = new RequestGuard(() => now);
  });
  const asks = (id: string, at = BEGIN): boolean => guard.admits({ id, at, deadline: 1_500 });

  it('admits a request once', () => {
    expect([asks('a'), asks('a'), asks('b'), asks('a')]).to.deep.equal([true, false, true, false]);
  });

  it('admits no request after its deadline, and none of the future, but allows for clocks that differ', () => {
    const waited = [11_499, 11_501, -9_999, -10_001].map((ms, n) => asks(`r${n}`, BEGIN - ms));
    expect(waited).to.deep.equal([true, false, true, false]);
  });

  it('never admits a request again, however long after', () => {
    expect(asks('a')).to.equal(true);
    for (const ms of [1, 11_499, 11_501, 60_000, 3_600_000]) {
      now = BEGIN + ms;
      expect(asks('a'), `${ms} ms after`).to.equal(false);
      asks(`other ${ms}`, now);
    }
  });

  it('knows no age before the first heartbeat, and still admits a request once', () => {
    now = undefined;
    expect([asks('a', 5), asks('a', 5)]).to.deep.equal([true, false]);
  });

  it('remembers ten thousand requests at most', () => {
    for (let n = 0; n < 10_000; n += 1) asks(`r${n}`);
    expect(asks('r0')).to.equal(false);
    asks('one more');
    expect(asks('r1')).to.equal(false);
    expect(asks('r0')).to.equal(true);
  });
});
