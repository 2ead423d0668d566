import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { type Flushable, WriteScheduler } from '../../../src/connection/scheduler.js';
import { frame } from './connection-bench.js';

describe('WriteScheduler', () => {
  let scheduler: WriteScheduler;
  let flushed: string[];

  beforeEach(() => {
    scheduler = new WriteScheduler(5);
    flushed = [];
  });

  const flushable = (name: string, also: () => void = () => undefined): Flushable => ({
    flush: () => {
      flushed.push(name);
      also();
    },
  });

  it('flushes nothing before the end of the tick', () => {
    scheduler.schedule(flushable('a'));
    expect(flushed).to.deep.equal([]);
  });

  it('flushes at the end of the tick, before the event loop goes on', async () => {
    const order: string[] = [];
    const seen = new Promise<void>(resolve => {
      setImmediate(() => {
        order.push('loop');
        resolve();
      });
    });
    scheduler.schedule(flushable('a', () => order.push('flush')));
    await seen;
    expect(order).to.deep.equal(['flush', 'loop']);
  });

  it('flushes each connection once, in the order in which they were scheduled', async () => {
    for (const name of ['a', 'b', 'c']) scheduler.schedule(flushable(name));
    await turn();
    expect(flushed).to.deep.equal(['a', 'b', 'c']);
  });

  it('flushes in the next tick as well', async () => {
    scheduler.schedule(flushable('a'));
    await turn();
    scheduler.schedule(flushable('b'));
    await turn();
    expect(flushed).to.deep.equal(['a', 'b']);
  });

  it('flushes what a flush schedules, after what was there before, and once', async () => {
    const again = flushable('again');
    scheduler.schedule(
      flushable('a', () => {
        scheduler.schedule(again);
      }),
    );
    scheduler.schedule(flushable('b'));
    await turn();
    expect(flushed).to.deep.equal(['a', 'b', 'again']);
    await turn();
    expect(flushed).to.have.length(3);
  });

  it('remembers no frame of a tick that is over', async () => {
    const last = frame('last');
    const batch = scheduler.empty.append(last);
    scheduler.schedule(flushable('a'));
    await turn();
    expect(scheduler.empty.append(last)).to.not.equal(batch);
  });

  describe('with more to write than fits into one turn of the loop', () => {
    let clock: number;

    /** Each flush takes a millisecond. */
    const slow = (name: string, also: () => void = () => undefined): Flushable =>
      flushable(name, () => {
        clock += 1;
        also();
      });
    const scheduleMany = (count: number): void => {
      for (let index = 0; index < count; index += 1) scheduler.schedule(slow(String(index)));
    };
    const flushedAll = async (count: number): Promise<number> => {
      let turns = 0;
      for (; flushed.length < count; turns += 1) await turn();
      return turns;
    };

    beforeEach(() => {
      clock = 0;
      scheduler = new WriteScheduler(5, () => clock);
    });

    it('lets the loop turn between slices of at most 8 ms, and keeps the order', async () => {
      scheduleMany(100);
      let last = 0;
      const slices: number[] = [];
      while (flushed.length < 100) {
        await turn();
        slices.push(flushed.length - last);
        last = flushed.length;
      }
      expect(Math.max(...slices.slice(1))).to.be.at.most(8);
      expect(slices.length).to.be.greaterThan(10);
      expect(flushed).to.deep.equal(Array.from({ length: 100 }, (_, index) => String(index)));
    });

    it('lets the loop turn as often as it is set to', async () => {
      scheduleMany(100);
      const turns = await flushedAll(100);
      flushed.length = 0;
      scheduler = new WriteScheduler(50, () => clock);
      scheduleMany(100);
      expect(await flushedAll(100)).to.be.lessThan(turns / 4);
    });

    it('takes newcomers after those that wait', async () => {
      scheduleMany(30);
      await turn();
      scheduler.schedule(slow('newcomer'));
      await flushedAll(31);
      expect(flushed.indexOf('newcomer')).to.equal(30);
    });

    it('goes on with the others after a flush that throws', async () => {
      const failures: unknown[] = [];
      const listeners = process.rawListeners('uncaughtException');
      process.removeAllListeners('uncaughtException');
      process.once('uncaughtException', error => failures.push(error));
      try {
        scheduler.schedule(
          slow('bad', () => {
            throw new Error('broken');
          }),
        );
        scheduleMany(3);
        await flushedAll(4);
      } finally {
        for (const listener of listeners) process.on('uncaughtException', listener as () => void);
      }
      expect(failures).to.have.length(1);
      expect(flushed).to.deep.equal(['bad', '0', '1', '2']);
    });
  });
});
