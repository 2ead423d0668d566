import { expect } from 'chai';
import sinon from 'sinon';
import { Periodic, retry, whenOver, withTimeout } from '../../src/time.js';

describe('time', () => {
  let clock: sinon.SinonFakeTimers;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'],
    });
  });

  afterEach(() => clock.restore());

  describe('a periodic job', () => {
    it('runs once per period between start and stop', () => {
      let runs = 0;
      const periodic = new Periodic(() => void (runs += 1), { everyMs: 100 });
      clock.tick(500);
      expect(runs).to.equal(0);
      periodic.start();
      periodic.start();
      clock.tick(350);
      expect(runs).to.equal(3);
      periodic.stop();
      clock.tick(500);
      expect(runs).to.equal(3);
    });

    it('runs after 24 days when its period is longer than a timer can be', () => {
      let runs = 0;
      const everyMs = 365 * 24 * 3_600_000;
      for (const period of [{ everyMs }, { everyMs: 2 ** 31 - 1, jitter: 0.1 }]) {
        const periodic = new Periodic(() => void (runs += 1), period);
        periodic.start();
        clock.tick(1_000_000);
        expect(runs).to.equal(0);
        periodic.stop();
      }
    });

    it('never overlaps itself', async () => {
      let running = 0;
      let most = 0;
      const periodic = new Periodic(
        async () => {
          running += 1;
          most = Math.max(most, running);
          await new Promise(resolve => setTimeout(resolve, 250));
          running -= 1;
        },
        { everyMs: 100 },
      );
      periodic.start();
      await clock.tickAsync(2_000);
      expect(most).to.equal(1);
      periodic.stop();
    });

    it('varies its pause by the jitter and no more', () => {
      const at: number[] = [];
      const periodic = new Periodic(() => void at.push(Date.now()), { everyMs: 100, jitter: 0.1 });
      periodic.start();
      clock.tick(10_000);
      const pauses = at.map((time, index) => time - (at[index - 1] ?? 0));
      expect(Math.min(...pauses)).to.be.at.least(89);
      expect(Math.max(...pauses)).to.be.at.most(111);
      expect(new Set(pauses).size).to.be.above(1);
      periodic.stop();
    });

    it('runs earlier when asked to, never later', () => {
      let runs = 0;
      const periodic = new Periodic(() => void (runs += 1), { everyMs: 1_000 });
      periodic.runWithin(10);
      clock.tick(100);
      expect(runs).to.equal(0);
      periodic.start();
      periodic.runWithin(50);
      periodic.runWithin(500);
      clock.tick(60);
      expect(runs).to.equal(1);
      clock.tick(900);
      expect(runs).to.equal(1);
      clock.tick(100);
      expect(runs).to.equal(2);
      periodic.stop();
    });

    it('runs again soon when asked to while it runs', async () => {
      let runs = 0;
      const periodic = new Periodic(
        async () => {
          runs += 1;
          if (runs === 1) periodic.runWithin(5);
          await Promise.resolve();
        },
        { everyMs: 1_000 },
      );
      periodic.start();
      await clock.tickAsync(1_050);
      expect(runs).to.equal(2);
      periodic.stop();
    });
  });

  describe('a bounded wait', () => {
    it('rejects with what is thrown when the time is over', async () => {
      const late = withTimeout(new Promise(() => undefined), 100, () => {
        throw new Error('too late');
      }).catch((error: unknown) => error);
      await clock.tickAsync(100);
      expect(await late)
        .to.be.an('error')
        .with.property('message', 'too late');
    });

    it('has the result, or the failure, that comes in time', async () => {
      expect(await withTimeout(Promise.resolve(1), 100, () => 2)).to.equal(1);
      const failure = new Error('no');
      const caught = await withTimeout(Promise.reject(failure), 100, () => 2).catch((error: unknown) => error);
      expect(caught).to.equal(failure);
      expect(clock.countTimers()).to.equal(0);
    });

    it('resolves to the substitute when the time is over, and ignores a later failure', async () => {
      const work = new Promise<number>((_resolve, reject) => {
        setTimeout(() => reject(new Error('late')), 200);
      });
      const waiting = withTimeout(work, 100, () => 'late');
      await clock.tickAsync(300);
      expect(await waiting).to.equal('late');
    });
  });

  describe('the end of a wait', () => {
    // The fake clock leaves setImmediate as it is.
    const read = () => new Promise(resolve => setImmediate(resolve));

    it('comes when the time is over and the sockets were read', async () => {
      const over = sinon.spy();
      whenOver(over, 100);
      clock.tick(99);
      await read();
      clock.tick(1);
      expect(over.called).to.equal(false);
      await read();
      expect(over.callCount).to.equal(1);
    });

    it('is prevented by an answer that is read when the time is over', async () => {
      const over = sinon.spy();
      const stop = whenOver(over, 100);
      clock.tick(100);
      stop();
      await read();
      expect(over.called).to.equal(false);
      whenOver(over, 100)();
      expect(clock.countTimers()).to.equal(0);
    });
  });

  describe('a repeated step', () => {
    it('is called until it succeeds, with pauses', async () => {
      const retried: unknown[] = [];
      let calls = 0;
      const step = async (): Promise<string> => {
        calls += 1;
        if (calls < 3) throw new Error(String(calls));
        return 'done';
      };
      const result = retry(step, { tries: 5, pauseMs: 100, onRetry: error => retried.push(error) });
      await clock.tickAsync(49);
      expect(calls).to.equal(1);
      await clock.tickAsync(400);
      expect(await result).to.equal('done');
      expect(retried).to.have.length(2);
    });

    it('rejects with the last failure, or with one that will not pass', async () => {
      const last = retry(() => Promise.reject(new Error('again')), { tries: 2, pauseMs: 10 });
      const caught = last.catch((error: unknown) => error);
      await clock.tickAsync(100);
      expect(await caught).to.have.property('message', 'again');
      let calls = 0;
      const fatal = await retry(
        () => {
          calls += 1;
          return Promise.reject(new Error('fatal'));
        },
        { tries: 5, pauseMs: 10, passing: () => false },
      ).catch((error: unknown) => error);
      expect(fatal).to.have.property('message', 'fatal');
      expect(calls).to.equal(1);
    });
  });
});
