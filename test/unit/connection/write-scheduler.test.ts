import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { WriteScheduler, type Flushable } from '../../../src/connection/write-scheduler.js';
import { frame } from './connection-bench.js';

describe('WriteScheduler', () => {
  let scheduler: WriteScheduler;
  let flushed: string[];

  beforeEach(() => {
    scheduler = new WriteScheduler();
    flushed = [];
  });

  const member = (name: string, also: () => void = () => undefined): Flushable => ({
    flush: () => {
      flushed.push(name);
      also();
    },
  });

  it('flushes nothing before the end of the tick', () => {
    scheduler.schedule(member('a'));
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
    scheduler.schedule(member('a', () => order.push('flush')));
    await seen;
    expect(order).to.deep.equal(['flush', 'loop']);
  });

  it('flushes each member once, in the order in which they came', async () => {
    for (const name of ['a', 'b', 'c']) scheduler.schedule(member(name));
    await turn();
    expect(flushed).to.deep.equal(['a', 'b', 'c']);
  });

  it('flushes in the next tick as well', async () => {
    scheduler.schedule(member('a'));
    await turn();
    scheduler.schedule(member('b'));
    await turn();
    expect(flushed).to.deep.equal(['a', 'b']);
  });

  it('flushes what a flush schedules, after what was there before, and once', async () => {
    const again = member('again');
    scheduler.schedule(
      member('a', () => {
        scheduler.schedule(again);
      }),
    );
    scheduler.schedule(member('b'));
    await turn();
    expect(flushed).to.deep.equal(['a', 'b', 'again']);
    await turn();
    expect(flushed).to.have.length(3);
  });

  it('takes one task for a tick, whatever the number of members', async () => {
    let ticks = 0;
    const count = (): void => {
      ticks += 1;
    };
    const original = process.nextTick.bind(process);
    // Counted where it happens: a task per member is what the scheduler is there to avoid.
    process.nextTick = (task: (...args: never[]) => void, ...args: never[]): void => {
      count();
      original(task, ...args);
    };
    try {
      for (let index = 0; index < 1000; index += 1) scheduler.schedule(member('m'));
    } finally {
      process.nextTick = original;
    }
    await turn();
    expect([ticks, flushed.length]).to.deep.equal([1, 1000]);
  });

  it('remembers no frame of a tick that is over', async () => {
    const last = frame('last');
    const batch = scheduler.empty.append(last);
    scheduler.schedule(member('a'));
    await turn();
    expect(scheduler.empty.append(last)).to.not.equal(batch);
  });
});
