import { EventEmitter } from 'node:events';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import sinon from 'sinon';
import { RedisSubscriber } from '../../../../src/cluster/redis/subscriber.js';

/** A connection on which everything works and nothing arrives. */
class QuietConnection extends EventEmitter {
  readonly status = 'ready';
  connect = (): Promise<void> => Promise.resolve();
  subscribe = (): Promise<number> => Promise.resolve(1);
  disconnect(): void {}
}

describe('RedisSubscriber', () => {
  let clock: sinon.SinonFakeTimers;
  beforeEach(() => (clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })));
  afterEach(() => clock.restore());

  /** The milliseconds for which it was away, each time that its connection was ended after a life of so many. */
  async function pausesBetween(lives: readonly number[]): Promise<number[]> {
    let connection = new QuietConnection();
    const subscriber = new RedisSubscriber(
      {
        connect: () => Promise.resolve((connection = new QuietConnection()) as unknown as Redis),
        publish: () => Promise.resolve(),
        probeChannel: 'probe',
        mode: 'classic',
      },
      { onMessage: () => undefined },
    );
    subscriber.open();
    const untilUp = async (): Promise<number> => {
      const from = performance.now();
      while (!subscriber.up) await clock.tickAsync(10);
      return performance.now() - from;
    };
    await untilUp();
    const pauses: number[] = [];
    for (const life of lives) {
      await clock.tickAsync(life);
      connection.emit('end');
      pauses.push(await untilUp());
    }
    subscriber.close();
    return pauses;
  }

  it('comes back soon whenever a quiet connection that lived for a while is ended', async () => {
    const pauses = await pausesBetween(Array.from({ length: 12 }, () => 500));
    expect(Math.max(...pauses)).to.be.below(500);
  });

  it('waits longer and longer, to two seconds, while connections are ended at once', async () => {
    const pauses = await pausesBetween(Array.from({ length: 12 }, () => 5));
    expect(pauses.slice(7).every(each => each >= 2_000)).to.equal(true);
  });

  it('has forgotten such a row once a connection lived for a while', async () => {
    const [after] = (await pausesBetween([...Array.from({ length: 12 }, () => 5), 300])).slice(-1);
    expect(after).to.be.below(500);
  });
});
