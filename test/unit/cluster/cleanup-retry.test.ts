import { expect } from 'chai';
import sinon from 'sinon';
import { CleanupRetry } from '../../../src/cluster/redis/reaper.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';

const SETTINGS = { enabled: true, cleanupRetryCount: 2, cleanupRetryInterval: 10 };

describe('CleanupRetry', () => {
  const retrying = sinon.fake();
  let tries: number;

  const failing = (times: number, code: 'UNAVAILABLE' | 'INTERNAL' = 'UNAVAILABLE') => {
    tries = 0;
    return async (): Promise<string> => {
      tries += 1;
      if (tries <= times) throw new SseError(code, 'no');
      return 'done';
    };
  };

  beforeEach(() => retrying.resetHistory());

  it('answers what the first try that succeeds answers, and tells of each repetition', async () => {
    expect(await new CleanupRetry(SETTINGS, { retrying }).run(failing(2))).to.equal('done');
    expect(tries).to.equal(3);
    expect(retrying.args.map(([kind]) => String(kind))).to.deep.equal([
      'maintenance',
      'maintenance',
    ]);
  });

  it('tries no more often than it may', async () => {
    const retry = new CleanupRetry(SETTINGS, { retrying });
    expect(await codeOf(retry.run(failing(9)))).to.equal('UNAVAILABLE');
    expect(tries).to.equal(3);
  });

  it('does not repeat what no repetition cures', async () => {
    const retry = new CleanupRetry(SETTINGS, { retrying });
    expect(await codeOf(retry.run(failing(9, 'INTERNAL')))).to.equal('INTERNAL');
    expect(tries).to.equal(1);
  });

  it('does not repeat anything when reliability is off, or the count is 0', async () => {
    for (const settings of [{ enabled: false }, { cleanupRetryCount: 0 }]) {
      const retry = new CleanupRetry({ ...SETTINGS, ...settings }, { retrying });
      expect(await codeOf(retry.run(failing(1)))).to.equal('UNAVAILABLE');
      expect(tries).to.equal(1);
    }
  });
});
