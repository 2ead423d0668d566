import { expect } from 'chai';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { RedisClock } from '../../../../src/cluster/redis/signing.js';

const BEGIN = 1_800_000_000_000;

describe('RedisClock', () => {
  let time: SinonFakeTimers;
  let clock: RedisClock;
  beforeEach(() => {
    time = useFakeTimers({ toFake: ['performance', 'Date'] });
    clock = new RedisClock();
  });
  afterEach(() => time.restore());

  /** An answer of Redis, whose clock is BEGIN ahead. */
  const answer = (thereMs: number, backMs: number): void => {
    const sentAt = performance.now();
    time.tick(thereMs);
    const redis = BEGIN + performance.now();
    time.tick(backMs);
    clock.observe(redis, sentAt);
  };
  const now = (): number => BEGIN + performance.now();

  it('knows no time before the first answer', () => {
    expect([clock.begin, clock.earliest, clock.latest]).to.deep.equal([undefined, undefined, undefined]);
  });

  it("has Redis' time between its bounds, however slow the answers were", () => {
    for (const [there, back] of [
      [300, 5],
      [2, 400],
      [1, 1],
      [50, 50],
    ] as const) {
      answer(there, back);
      time.tick(5_000);
      expect(clock.earliest).to.be.at.most(now());
      expect(clock.latest).to.be.at.least(now());
    }
  });

  it('is as exact as its fastest answers', () => {
    answer(1, 1);
    answer(300, 5);
    answer(5, 300);
    expect((clock.latest ?? 0) - (clock.earliest ?? 0)).to.be.below(5);
  });

  it("follows a step of Redis' clock", () => {
    answer(1, 1);
    const sentAt = performance.now();
    clock.observe(now() + 3_600_000, sentAt);
    expect(clock.earliest).to.be.at.least(now() + 3_599_999);
  });

  it('is raised by the time of another node, within its own bounds', () => {
    answer(300, 300);
    const [earliest = 0, latest = 0] = [clock.earliest, clock.latest];
    clock.raise(earliest - 10);
    clock.raise(latest + 10);
    expect([clock.earliest, clock.latest]).to.deep.equal([earliest, latest]);
    clock.raise(earliest + 100);
    expect([clock.earliest, clock.latest]).to.deep.equal([earliest + 100, latest]);
  });

  it('keeps the time of the first answer', () => {
    answer(1, 1);
    const begin = clock.begin;
    time.tick(10_000);
    answer(1, 1);
    expect(clock.begin).to.equal(begin);
    expect(begin).to.equal(BEGIN + 1);
  });
});
