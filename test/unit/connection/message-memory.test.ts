import { expect } from 'chai';
import { useFakeTimers } from 'sinon';
import { MAX_REMEMBERED, MessageMemories, MessageMemory, REMEMBER_MS } from '../../../src/connection/direct-send.js';
import type { LocalResult } from '../../../src/contracts/events.js';

const DELIVERED: LocalResult = { outcome: 'delivered' };
const BUFFERED: LocalResult = { outcome: 'buffered' };

describe('MessageMemory', () => {
  let memory: MessageMemory;

  beforeEach(() => {
    memory = new MessageMemory();
  });

  it('remembers for a minute', () => {
    memory.remember('a', DELIVERED, 5);
    expect(memory.recall('a', 5 + REMEMBER_MS)).to.equal(DELIVERED);
    expect(memory.recall('a', 6 + REMEMBER_MS)).to.equal(undefined);
  });

  it('remembers so many and no more; the oldest goes', () => {
    for (let index = 0; index <= MAX_REMEMBERED; index += 1) {
      memory.remember(`m${index}`, DELIVERED, 0);
    }
    expect(memory.recall('m0', 0)).to.equal(undefined);
    expect(memory.recall('m1', 0)).to.equal(DELIVERED);
    expect(memory.recall(`m${MAX_REMEMBERED}`, 0)).to.equal(DELIVERED);
  });

  it('counts a message id that comes again as the newest', () => {
    memory.remember('again', DELIVERED, 0);
    for (let index = 1; index < MAX_REMEMBERED; index += 1) {
      memory.remember(`m${index}`, DELIVERED, 0);
    }
    memory.remember('again', BUFFERED, 1);
    memory.remember('one more', DELIVERED, 1);
    expect([memory.recall('again', 1), memory.recall('m1', 1)]).to.deep.equal([BUFFERED, undefined]);
  });

  it('goes on with the oldest that is left, after it forgot some and got one again', () => {
    const remember = (from: number, to: number, now: number): void => {
      for (let index = from; index < to; index += 1) memory.remember(`m${index}`, DELIVERED, now);
    };
    const known = (now: number, ...ids: number[]): number[] => {
      return ids.filter(id => memory.recall(`m${id}`, now) !== undefined);
    };
    remember(0, 10, 0);
    remember(10, MAX_REMEMBERED + 5, 1);
    memory.remember('m5', DELIVERED, 2);
    expect(known(2, 4, 5, 6)).to.deep.equal([5, 6]);
    memory.expire(REMEMBER_MS + 1);
    expect(known(2, 5, 6, 9, 10)).to.deep.equal([5, 10]);
    remember(MAX_REMEMBERED + 5, MAX_REMEMBERED + 15, 3);
    expect(memory.size).to.equal(MAX_REMEMBERED);
    expect(known(3, 5, 15, 16)).to.deep.equal([5, 16]);
  });

  it('forgets message ids that are too old', () => {
    for (let index = 0; index < MAX_REMEMBERED; index += 1) {
      memory.remember(`m${index}`, DELIVERED, 0);
    }
    memory.remember('later', DELIVERED, 1);
    memory.expire(REMEMBER_MS + 1);
    expect(memory.size).to.equal(1);
  });

  it('of connections that have stopped is kept for 10,000 ids; the one that stopped first goes', () => {
    const memories = new MessageMemories();
    const memory = new MessageMemory();
    memory.remember('a', DELIVERED, 0);
    for (let index = 0; index < 10_000; index += 1) memories.end(`c${index}`, memory);
    const known = (...ids: number[]): number[] => {
      return ids.filter(id => memories.recall(`c${id}`, 'a', 0) !== undefined);
    };
    memories.end('c0', memory);
    expect(known(0, 1, 9_999)).to.deep.equal([0, 1, 9_999]);
    memories.end('c10000', memory);
    memories.end('c10001', memory);
    expect(known(0, 1, 2, 3, 10_001)).to.deep.equal([0, 3, 10_001]);
  });

  it('of a quiet connection is emptied by the one job of its node, which ends with the last of them', () => {
    const clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] });
    try {
      const memories = new MessageMemories();
      const all = Array.from({ length: 3 }, () => new MessageMemory());
      for (const one of all) {
        one.remember('a', DELIVERED, performance.now());
        memories.watch(one);
      }
      expect(clock.countTimers()).to.equal(1);
      clock.tick(REMEMBER_MS);
      expect(all.map(({ size }) => size)).to.deep.equal([1, 1, 1]);
      clock.tick(REMEMBER_MS / 4);
      expect(all.map(({ size }) => size)).to.deep.equal([0, 0, 0]);
      expect(clock.countTimers()).to.equal(0);
    } finally {
      clock.restore();
    }
  });
});
