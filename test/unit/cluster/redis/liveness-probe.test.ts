import { expect } from 'chai';
import sinon from 'sinon';
import { LivenessProbe } from '../../../../src/cluster/redis/subscriber.js';

const WINDOW = 5_000;

describe('LivenessProbe', () => {
  let clock: sinon.SinonFakeTimers;
  let published: number;
  let lostAt: number[];
  let works: boolean;
  let probe: LivenessProbe;

  beforeEach(() => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date'] });
    [published, lostAt, works] = [0, [], true];
    probe = new LivenessProbe(
      {
        publish: async () => {
          published += 1;
          if (!works) throw new Error('no');
        },
        onDead: () => lostAt.push(clock.now),
      },
      WINDOW,
    );
  });
  afterEach(() => {
    probe.stop();
    clock.restore();
  });

  it('finds out within two windows', async () => {
    probe.start();
    await clock.tickAsync(2 * WINDOW);
    expect(lostAt).to.deep.equal([2 * WINDOW]);
    await clock.tickAsync(10 * WINDOW);
    expect(lostAt).to.have.length(1);
  });

  it('concludes nothing while messages come', async () => {
    probe.start();
    for (let n = 0; n < 20; n += 1) {
      await clock.tickAsync(WINDOW - 1);
      probe.heard();
    }
    expect(lostAt).to.deep.equal([]);
  });

  it('hears first what came while the event loop stood still', async () => {
    probe.start();
    await clock.tickAsync(WINDOW);
    clock.jump(4 * WINDOW);
    probe.heard();
    await clock.tickAsync(1);
    expect(lostAt).to.deep.equal([]);
  });

  it('concludes nothing while publishing fails, and begins again when it works', async () => {
    works = false;
    probe.start();
    await clock.tickAsync(5 * WINDOW);
    expect(lostAt).to.deep.equal([]);
    works = true;
    await clock.tickAsync(2 * WINDOW);
    expect(lostAt).to.deep.equal([7 * WINDOW]);
  });

  it('waits longer after each verdict, to ten windows, until a message is received', async () => {
    const lives: number[] = [];
    for (let life = 0; life < 6; life += 1) {
      const begin = clock.now;
      probe.start();
      while (lostAt.length === life) await clock.tickAsync(WINDOW);
      lives.push((clock.now - begin) / WINDOW);
    }
    expect(lives).to.deep.equal([2, 4, 8, 16, 20, 20]);
    probe.start();
    probe.heard();
    await clock.tickAsync(10 * WINDOW);
    expect(published).to.be.greaterThan(6);
  });

  it('does nothing after stop', async () => {
    probe.start();
    probe.stop();
    probe.stop();
    await clock.tickAsync(10 * WINDOW);
    expect([published, lostAt]).to.deep.equal([0, []]);
  });
});
