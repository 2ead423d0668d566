import { expect } from 'chai';
import { describeFailure, redisErrorCode, toSseError } from '../../../../src/cluster/redis/failures.js';
import { SseError } from '../../../../src/errors.js';

function reply(message: string): Error {
  return Object.assign(new Error(message), { name: 'ReplyError' });
}

describe('toSseError', () => {
  const passing = {
    WRITES_REFUSED: ['OOM', 'NOREPLICAS', 'MISCONF', 'READONLY'],
    CLUSTER_UNREACHABLE: ['LOADING', 'CLUSTERDOWN', 'TRYAGAIN', 'MASTERDOWN', 'BUSY'],
  };
  for (const [noEffect, codes] of Object.entries(passing)) {
    for (const code of codes) {
      it(`makes ${code} UNAVAILABLE, without an effect because of ${noEffect}`, () => {
        const cause = reply(`${code} for some reason`);
        expect(toSseError(cause, 'x')).to.include({ code: 'UNAVAILABLE', retryable: true, noEffect, cause });
        expect(toSseError(cause, 'x', false)).to.include({ retryable: true });
      });
    }
  }

  it('makes WRONGTYPE UNAVAILABLE without an effect, and not retryable', () => {
    const error = toSseError(reply('WRONGTYPE Operation against a key holding the wrong kind of value'), 'x');
    expect(error).to.include({ code: 'UNAVAILABLE', retryable: false, noEffect: 'KEY_UNREADABLE' });
  });

  for (const code of ['NOPERM', 'NOAUTH', 'WRONGPASS', 'ERR', 'NOSCRIPT']) {
    it(`makes ${code} INTERNAL`, () => {
      const cause = reply(`${code} for some reason`);
      expect(toSseError(cause, 'x')).to.include({ code: 'INTERNAL', retryable: false, cause });
    });
  }

  it('finds the code inside a script error of Redis 6, and the advice', () => {
    const script = 'ERR Error running script (call to f_1a): @user_script:1: ';
    for (const [text, code] of [
      [`${script}@user_script: 1: -READONLY You can't write`, 'READONLY'],
      ["@user_script: 40: -OOM command not allowed when used memory > 'maxmemory'.", 'OOM'],
      [`${script}WRONGTYPE Operation against a key holding the wrong kind of value`, 'WRONGTYPE'],
    ] as const) {
      expect(redisErrorCode(reply(text))).to.equal(code);
      expect(toSseError(reply(text), 'x')).to.include({ code: 'UNAVAILABLE' });
    }
    expect(describeFailure(reply(`${script}WRONGTYPE Operation`))).to.include('redis.prefix');
    expect(redisErrorCode(reply(`${script}attempt to index a nil value`))).to.equal('ERR');
  });

  it('makes everything that is no reply UNAVAILABLE, but mistakes of programs INTERNAL', () => {
    for (const message of ['Command timed out', 'Connection is closed.', 'connect ECONNREFUSED']) {
      expect(toSseError(new Error(message), 'x')).to.include({ code: 'UNAVAILABLE' });
    }
    expect(toSseError(new TypeError('x is not a function'), 'x')).to.include({ code: 'INTERNAL' });
    expect(toSseError('thrown text', 'x')).to.include({ code: 'INTERNAL', cause: 'thrown text' });
  });

  it('leaves an SseError as it is', () => {
    const error = new SseError('CLOSED', 'closed');
    expect(toSseError(error, 'x')).to.equal(error);
  });
});
