import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import sinon from 'sinon';
import { MemoryConnectionStore } from '../../../src/node/store.js';
import { pause } from '../../../src/time.js';
import { FakeSink } from '../../support/fake-sink.js';
import { Bench, type Client, frame } from './connection-bench.js';

const CLIENTS = 500;
// Bytes of a number that is no small integer, the least that V8 allocates.
const SMALLEST_OBJECT = 12;

/** Takes everything and keeps nothing. */
class QuietSink extends FakeSink {
  override write(): boolean {
    return true;
  }
}

/** Counted, not timed: what a broadcast costs must not grow with anything but the number of writes. */
describe('the work of a broadcast', () => {
  let bench: Bench;
  let store: MemoryConnectionStore;
  let clients: Client[];

  beforeEach(async () => {
    bench = new Bench();
    store = new MemoryConnectionStore();
    clients = Array.from({ length: CLIENTS }, () => bench.open());
    for (const { connection } of clients) {
      store.add(connection);
      store.promote(connection);
    }
    // What the openings scheduled may take several slices; the last to be scheduled is the last to be flushed.
    await new Promise<void>(resolve => {
      bench.environment.scheduler.schedule({ flush: () => resolve() });
    });
    await turn();
    for (const { sink } of clients) sink.writes.length = 0;
  });
  afterEach(() => {
    bench.stop();
  });

  const flushed = async (): Promise<void> => {
    while (clients.some(({ sink }) => sink.writes.length === 0)) await turn();
  };
  /** Here and not in its own turn, so that a count has nothing of what else the process does. */
  const flushNow = (): void => {
    bench.environment.scheduler.flushSlice();
    expect(clients.every(({ sink }) => sink.writes.length === 1)).to.equal(true);
  };
  /** How often a function is called while some work is done. */
  const counting = (owner: object, name: string, work: () => void): number => {
    const original: unknown = Reflect.get(owner, name);
    if (typeof original !== 'function') throw new Error(`${name} is no function`);
    let calls = 0;
    const counted = (...args: unknown[]): unknown => {
      calls += 1;
      return Reflect.apply(original, owner, args);
    };
    Reflect.set(owner, name, counted);
    try {
      work();
    } finally {
      Reflect.set(owner, name, original);
    }
    return calls;
  };

  it('is one write per connection and tick, whatever the number of events', async () => {
    for (let event = 0; event < 10; event += 1) store.deliverToAll(frame(`event ${event}`));
    await flushed();
    expect(clients.map(({ sink }) => sink.writes.length)).to.deep.equal(clients.map(() => 1));
  });

  it('joins the events of a tick once for all connections', () => {
    const joins = counting(Buffer, 'concat', () => {
      for (let event = 0; event < 10; event += 1) store.deliverToAll(frame(`event ${event}`));
      flushNow();
    });
    expect(joins).to.equal(1);
    expect(new Set(clients.map(({ sink }) => sink.writes[0])).size).to.equal(1);
  });

  it('writes the bytes of a lone event as they are, without a copy', async () => {
    const event = frame('alone');
    store.deliverToAll(event);
    await flushed();
    expect(clients.every(({ sink }) => sink.writes[0] === event.bytes)).to.equal(true);
  });

  it('takes one task for all connections', async () => {
    const ticks = counting(process, 'nextTick', () => {
      store.deliverToAll(frame('one'));
    });
    expect(ticks).to.equal(1);
    await flushed();
  });

  it('reads the clocks of the machine once for eight connections', () => {
    const clocks = [sinon.spy(performance, 'now'), sinon.spy(Date, 'now')];
    try {
      store.deliverToAll(frame('one'));
      flushNow();
      const reads = clocks.reduce((sum, { callCount }) => sum + callCount, 0);
      expect(reads).to.be.lessThan(CLIENTS / 7);
    } finally {
      for (const clock of clocks) clock.restore();
    }
  });

  it('allocates no object per delivery', async () => {
    const quiet = Array.from({ length: CLIENTS }, () => bench.open(undefined, new QuietSink()));
    const others = new MemoryConnectionStore();
    for (const { connection } of quiet) {
      others.add(connection);
      others.promote(connection);
    }
    const broadcast = (): void => {
      others.deliverToAll(frame('one'));
      bench.environment.scheduler.flushSlice();
    };
    for (let round = 0; round < 500; round += 1) broadcast();
    // What else the process does, and collections of garbage, show in some rounds only.
    const growthOf = (rounds: number): number => {
      const growths = Array.from({ length: rounds }, () => {
        const before = process.memoryUsage().heapUsed;
        broadcast();
        return process.memoryUsage().heapUsed - before;
      });
      return Math.min(...growths.filter(bytes => bytes > 0)) / CLIENTS;
    };
    // Code that is not compiled yet allocates numbers, and on a busy machine the compiler has to wait for its turn.
    let growth = growthOf(50);
    for (let tries = 0; tries < 100 && growth >= SMALLEST_OBJECT; tries += 1) {
      await pause(20);
      growth = growthOf(50);
    }
    expect(growth).to.be.lessThan(SMALLEST_OBJECT);
  });

  it('starts no timer', () => {
    let intervals = 0;
    const timeouts = counting(globalThis, 'setTimeout', () => {
      intervals = counting(globalThis, 'setInterval', () => {
        store.deliverToAll(frame('one'));
        flushNow();
      });
    });
    expect([timeouts, intervals]).to.deep.equal([0, 0]);
  });
});
