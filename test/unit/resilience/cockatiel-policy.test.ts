import { AsyncLocalStorage } from 'node:async_hooks';
import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import type { OperationContext, OperationKind, ResilienceObserver } from '../../../src/contracts/policy.js';
import { SseError } from '../../../src/errors.js';
import { resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';
import { CockatielPolicy } from '../../../src/resilience/policies.js';
import { turns } from '../../support/turns.js';

const KINDS: readonly OperationKind[] = ['register', 'send', 'publish', 'command', 'maintenance'];

/** No call is repeated. */
const ONCE = {
  script: { retryCount: 0 },
  atomicOperation: { luaScriptRetryCount: 0 },
  reliability: { cleanupRetryCount: 0 },
};

/** An operation that a test ends, and that records its runs. */
class Operation {
  readonly contexts: OperationContext[] = [];
  readonly times: number[] = [];
  readonly #running: { resolve: (value: string) => void; reject: (error: unknown) => void }[] = [];

  readonly run = (context: OperationContext): Promise<string> => {
    this.contexts.push(context);
    this.times.push(performance.now());
    return new Promise((resolve, reject) => this.#running.push({ resolve, reject }));
  };

  get runs(): number {
    return this.contexts.length;
  }

  /** Ends the oldest run that has not ended. */
  async end(outcome: unknown = 'done'): Promise<void> {
    const run = this.#running.shift();
    if (outcome instanceof Error) run?.reject(outcome);
    else run?.resolve(String(outcome));
    await turns(2);
  }
}

const away = (): SseError => new SseError('UNAVAILABLE', 'away');

describe('CockatielPolicy', () => {
  let clock: SinonFakeTimers;
  let news: string[];
  let policy: CockatielPolicy;

  beforeEach(() => {
    clock = useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    news = [];
  });
  afterEach(() => {
    expect(clock.countTimers(), 'timers left behind').to.equal(0);
    clock.restore();
  });

  const observer: ResilienceObserver = {
    onRetry: (kind, attempt, error) => news.push(`retry ${kind} ${attempt} ${String(error)}`),
    onCircuit: (kind, state) => news.push(`circuit ${kind} ${state}`),
    onRefused: (kind, reason) => news.push(`refused ${kind} ${reason}`),
  };
  const make = (options: SseOptions = {}): CockatielPolicy => {
    policy = new CockatielPolicy(resolveOptions(options), observer);
    return policy;
  };
  const failing = (error: unknown) => async (): Promise<never> => {
    throw error;
  };
  const failureOf = async (call: Promise<unknown>): Promise<SseError> => {
    const error: unknown = await call.then(
      () => undefined,
      (reason: unknown) => reason,
    );
    if (!SseError.is(error)) throw new Error(`no SseError: ${String(error)}`);
    return error;
  };
  /** Fails so many calls, one after the other. */
  const fail = async (kind: OperationKind, times: number, error: unknown = away()) => {
    for (let call = 0; call < times; call += 1) {
      await policy.execute(kind, failing(error)).catch(() => undefined);
    }
  };

  describe('a retryable failure', () => {
    const settings: Readonly<Record<OperationKind, SseOptions>> = {
      register: {
        ...ONCE,
        atomicOperation: { luaScriptRetryCount: 2, luaScriptRetryInterval: 400 },
      },
      replay: { ...ONCE, script: { retryCount: 2, retryInterval: 400 } },
      send: { ...ONCE, script: { retryCount: 2, retryInterval: 400 } },
      publish: { ...ONCE, script: { retryCount: 2, retryInterval: 400 } },
      command: { ...ONCE, script: { retryCount: 2, retryInterval: 400 } },
      maintenance: { ...ONCE, reliability: { cleanupRetryCount: 2, cleanupRetryInterval: 400 } },
    };

    for (const kind of KINDS) {
      it(`of a ${kind} is repeated as often, and after such pauses, as its settings say`, async () => {
        make(settings[kind]);
        const operation = new Operation();
        const failure = failureOf(policy.execute(kind, operation.run));
        for (const run of [1, 2]) {
          await operation.end(new SseError('UNAVAILABLE', `try ${run}`));
          await clock.tickAsync(199);
          expect(operation.runs).to.equal(run);
          await clock.tickAsync(401);
          expect(operation.runs).to.equal(run + 1);
        }
        const last = new SseError('UNAVAILABLE', 'try 3');
        await operation.end(last);
        expect(await failure).to.equal(last);
        expect(news).to.deep.equal([`retry ${kind} 1 SseError: try 1`, `retry ${kind} 2 SseError: try 2`]);
      });

      it(`of a ${kind} is passed on when its settings say 0, whatever those of other kinds say`, async () => {
        make({
          script: { retryCount: kind === 'register' || kind === 'maintenance' ? 3 : 0 },
          atomicOperation: { luaScriptRetryCount: kind === 'register' ? 0 : 3 },
          reliability: { cleanupRetryCount: kind === 'maintenance' ? 0 : 3 },
        });
        const failure = away();
        expect(await failureOf(policy.execute(kind, failing(failure)))).to.equal(failure);
        expect(news).to.deep.equal([]);
      });
    }

    it('of a maintenance is passed on when reliability is off', async () => {
      make({ reliability: { enabled: false } });
      const failure = away();
      expect(await failureOf(policy.execute('maintenance', failing(failure)))).to.equal(failure);
    });

    it('is reported, and repeated, in the asynchronous context of its caller', async () => {
      const storage = new AsyncLocalStorage<string>();
      const seen: (string | undefined)[] = [];
      policy = new CockatielPolicy(resolveOptions(), {
        onRetry: () => seen.push(storage.getStore()),
      });
      const operation = async (): Promise<void> => {
        seen.push(storage.getStore());
        if (seen.length === 1) throw away();
      };
      const call = storage.run('mine', () => policy.execute('send', operation));
      await turns();
      await clock.tickAsync(150);
      await call;
      expect(seen).to.deep.equal(['mine', 'mine', 'mine']);
    });

    it('is over with the first success', async () => {
      make();
      const operation = new Operation();
      const answer = policy.execute('send', operation.run);
      await operation.end(away());
      await clock.tickAsync(150);
      await operation.end('late');
      expect(await answer).to.equal('late');
      expect(operation.runs).to.equal(2);
    });

    it('of many calls at once is not repeated by all at once', async () => {
      make({ script: { retryInterval: 1000 }, resilience: { send: { breakerFailures: 1000 } } });
      const operation = new Operation();
      const calls = Array.from({ length: 50 }, () => policy.execute('send', operation.run));
      for (let n = 0; n < 50; n += 1) await operation.end(away());
      await clock.tickAsync(1500);
      expect(new Set(operation.times.slice(50)).size).to.be.greaterThan(10);
      for (let n = 0; n < 50; n += 1) await operation.end();
      await Promise.all(calls);
    });

    it('is not repeated for a caller that gave up during the pause', async () => {
      make();
      const operation = new Operation();
      const caller = new AbortController();
      const failure = failureOf(policy.execute('send', operation.run, caller));
      await operation.end(away());
      caller.abort('left');
      await clock.tickAsync(150);
      expect(await failure).to.include({ code: 'UNAVAILABLE', cause: 'left' });
      expect(operation.runs).to.equal(1);
    });
  });

  describe('a try that takes too long', () => {
    beforeEach(() => make({ resilience: { send: { timeout: 500 } } }));

    it('is abandoned, its signal aborts, and it is not repeated, since it may be carried out all the same', async () => {
      const operation = new Operation();
      const failure = failureOf(policy.execute('send', operation.run));
      const { signal } = operation.contexts[0]!;
      await clock.tickAsync(499);
      expect(signal.aborted).to.equal(false);
      await clock.tickAsync(1);
      const error = await failure;
      expect(error).to.include({ code: 'UNAVAILABLE', retryable: false });
      expect(error.message).to.include('resilience.send.timeout');
      expect(signal.reason).to.equal(error);
      await clock.tickAsync(60_000);
      expect(operation.runs).to.equal(1);
      expect(news).to.deep.equal(['refused send timeout']);
    });

    it('aborts a signal that the operation reads only then', async () => {
      const operation = new Operation();
      const failure = failureOf(policy.execute('send', operation.run));
      await clock.tickAsync(500);
      await failure;
      expect(operation.contexts[0]?.signal.aborted).to.equal(true);
    });

    for (const outcome of ['an answer', new Error('a failure')]) {
      it(`changes nothing when it ends with ${String(outcome)} later`, async () => {
        const operation = new Operation();
        const failure = failureOf(policy.execute('send', operation.run));
        await clock.tickAsync(500);
        await failure;
        await operation.end(outcome);
        expect(policy.circuit('send')).to.equal('closed');
      });
    }

    it('has the whole time again when it is a repetition', async () => {
      const operation = new Operation();
      const answer = policy.execute('send', operation.run);
      await clock.tickAsync(499);
      await operation.end(away());
      await clock.tickAsync(150 + 400);
      await operation.end('in time');
      expect(await answer).to.equal('in time');
    });
  });

  describe('the circuit', () => {
    beforeEach(() =>
      make({
        ...ONCE,
        resilience: { send: { breakerFailures: 3, breakerCooldown: 1000, timeout: 500 } },
      }),
    );

    it('opens after so many failures in a row, for its kind alone', async () => {
      await fail('send', 2);
      expect(policy.circuit('send')).to.equal('closed');
      await fail('send', 1);
      const open = KINDS.filter(kind => policy.circuit(kind) === 'open');
      expect(open).to.deep.equal(['send']);
      expect(news).to.deep.equal(['circuit send open']);
    });

    it('fails calls at once while it is open, and says why and until when', async () => {
      await fail('send', 2);
      const last = new SseError('UNAVAILABLE', 'the last one');
      await fail('send', 1, last);
      const operation = new Operation();
      const error = await failureOf(policy.execute('send', operation.run));
      expect(error).to.include({ code: 'UNAVAILABLE', retryable: true, cause: last });
      expect(error.message)
        .to.include('resilience.send.breakerFailures')
        .and.include('1000 ms (resilience.send.breakerCooldown)');
      expect(operation.runs).to.equal(0);
      expect(news.at(-1)).to.equal('refused send circuit');
    });

    it('counts from the beginning after a success', async () => {
      await fail('send', 2);
      await policy.execute('send', async () => 'well');
      await fail('send', 2);
      expect(policy.circuit('send')).to.equal('closed');
    });

    it('counts tries that take too long', async () => {
      for (let call = 0; call < 3; call += 1) {
        const failure = failureOf(policy.execute('send', () => new Promise(() => undefined)));
        await clock.tickAsync(500);
        await failure;
      }
      expect(policy.circuit('send')).to.equal('open');
    });

    for (const error of [
      new SseError('DUPLICATE_CONNECTION', 'an answer'),
      new SseError('INVALID_TOPIC', 'a mistake'),
      new SseError('CLOSED', 'over'),
      new SseError('INTERNAL', 'broken'),
      new TypeError('a mistake'),
    ]) {
      it(`does not count ${error instanceof SseError ? error.code : error.name}, which is no failure of the cluster`, async () => {
        await fail('send', 20, error);
        expect(policy.circuit('send')).to.equal('closed');
      });
    }

    it('lets one call try after the cooldown, and fails the others at once', async () => {
      await fail('send', 3);
      await clock.tickAsync(999);
      expect(policy.circuit('send')).to.equal('open');
      await clock.tickAsync(1);
      // No call has tried yet, but one would be let through.
      expect(policy.circuit('send')).to.equal('half-open');
      const operation = new Operation();
      const trying = policy.execute('send', operation.run);
      const [one, two] = [0, 1].map(() => failureOf(policy.execute('send', operation.run)));
      expect(await one).to.include({ code: 'UNAVAILABLE' });
      expect(await two).to.include({ code: 'UNAVAILABLE' });
      expect(operation.runs).to.equal(1);
      await operation.end('it works');
      expect(await trying).to.equal('it works');
      expect(policy.circuit('send')).to.equal('closed');
      expect(await policy.execute('send', async () => 'as before')).to.equal('as before');
      expect(news).to.deep.equal([
        'circuit send open',
        'circuit send half-open',
        'refused send circuit',
        'refused send circuit',
        'circuit send closed',
      ]);
    });

    it('opens again for another cooldown when that call fails', async () => {
      await fail('send', 3);
      for (let round = 0; round < 3; round += 1) {
        await clock.tickAsync(1000);
        await fail('send', 1);
        expect(policy.circuit('send')).to.equal('open');
        await clock.tickAsync(999);
        expect(policy.circuit('send')).to.equal('open');
        await clock.tickAsync(1);
      }
      expect(await policy.execute('send', async () => 'well')).to.equal('well');
      expect(policy.circuit('send')).to.equal('closed');
    });

    it('is not held open by a clock that is set back', async () => {
      await fail('send', 3);
      clock.setSystemTime(Date.now() - 3_600_000);
      await clock.tickAsync(1000);
      expect(await policy.execute('send', async () => 'well')).to.equal('well');
    });

    it('that opened meanwhile ends the repetitions of a call with the error of its latest try', async () => {
      make({ script: { retryCount: 5 }, resilience: { send: { breakerFailures: 4 } } });
      const latest = new SseError('UNAVAILABLE', 'the latest');
      const operation = new Operation();
      const failure = failureOf(policy.execute('send', operation.run));
      await operation.end(away());
      await clock.tickAsync(150);
      await operation.end(latest);
      const others = [0, 1].map(() => failureOf(policy.execute('send', operation.run)));
      await operation.end(away());
      await operation.end(away());
      expect(policy.circuit('send')).to.equal('open');
      await clock.tickAsync(150);
      expect(await failure).to.equal(latest);
      await Promise.all(others);
    });

    it('opens once for calls that began before and fail after', async () => {
      make({ ...ONCE, resilience: { send: { breakerFailures: 2 } } });
      const operation = new Operation();
      const calls = [0, 1, 2, 3].map(() => failureOf(policy.execute('send', operation.run)));
      for (const own of calls.map((_, number) => new SseError('UNAVAILABLE', String(number)))) await operation.end(own);
      expect((await Promise.all(calls)).map(({ message }) => message)).to.deep.equal(['0', '1', '2', '3']);
      expect(news).to.deep.equal(['circuit send open']);
    });

    it('that opened meanwhile ends the repetitions of a call, which fails with its own error', async () => {
      make({ script: { retryCount: 5 }, resilience: { send: { breakerFailures: 3 } } });
      const own = new SseError('UNAVAILABLE', 'its own');
      const operation = new Operation();
      const failure = failureOf(policy.execute('send', operation.run));
      await operation.end(own);
      const others = [0, 1].map(() => failureOf(policy.execute('send', operation.run)));
      await operation.end(away());
      await operation.end(away());
      expect(policy.circuit('send')).to.equal('open');
      await clock.tickAsync(150);
      expect(await failure).to.equal(own);
      await Promise.all(others);
      expect(operation.runs).to.equal(3);
    });
  });

  describe('the circuit, when no further call may run,', () => {
    const hold = (): Operation => {
      const operation = new Operation();
      void policy.execute('send', operation.run).catch(() => undefined);
      return operation;
    };

    it('fails calls at once while it is open', async () => {
      make({
        script: { retryCount: 1, retryInterval: 10_000 },
        resilience: { send: { concurrency: 2, breakerFailures: 1 } },
      });
      const [running, pausing] = [hold(), hold()];
      await pausing.end(away());
      expect(policy.circuit('send')).to.equal('open');
      expect(await failureOf(policy.execute('send', running.run))).to.include({
        code: 'UNAVAILABLE',
      });
      expect(news.at(-1)).to.equal('refused send circuit');
      await running.end();
      while (pausing.runs < 2) await clock.tickAsync(1000);
      await pausing.end();
    });

    it('fails calls at once while another one tries', async () => {
      make({ ...ONCE, resilience: { send: { concurrency: 1, breakerFailures: 1 } } });
      await fail('send', 1);
      await clock.tickAsync(1000);
      const trying = hold();
      expect(await failureOf(policy.execute('send', trying.run))).to.include({
        code: 'UNAVAILABLE',
      });
      expect(news.at(-1)).to.equal('refused send circuit');
      await trying.end();
    });

    it('ends a repetition that comes while another one tries', async () => {
      make({
        script: { retryCount: 1, retryInterval: 1000 },
        resilience: { send: { breakerFailures: 1, breakerCooldown: 100 } },
      });
      const own = new SseError('UNAVAILABLE', 'its own');
      const pausing = new Operation();
      const failure = failureOf(policy.execute('send', pausing.run));
      await pausing.end(own);
      await clock.tickAsync(100);
      const trying = hold();
      await clock.tickAsync(1400);
      expect(await failure).to.equal(own);
      expect(pausing.runs).to.equal(1);
      await trying.end();
    });
  });

  describe('calls at once', () => {
    beforeEach(() =>
      make({
        ...ONCE,
        resilience: { send: { concurrency: 2, queue: 3, timeout: 500, breakerFailures: 3 } },
      }),
    );

    /** Calls that say when they begin. */
    const start = (names: string, begun: string[], operation: Operation, caller?: OperationContext) =>
      Array.from(names, name =>
        policy.execute(
          'send',
          context => {
            begun.push(name);
            return operation.run(context);
          },
          caller,
        ),
      );

    it('wait for their turn, and begin in the order of the calls', async () => {
      const begun: string[] = [];
      const operation = new Operation();
      const calls = start('abcde', begun, operation);
      expect(begun).to.deep.equal(['a', 'b']);
      await operation.end();
      expect(begun).to.deep.equal(['a', 'b', 'c']);
      for (let n = 0; n < 4; n += 1) await operation.end();
      expect(begun).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
      await Promise.all(calls);
    });

    it('are not overtaken by a call that arrives as another one ends', async () => {
      const begun: string[] = [];
      const operation = new Operation();
      const first = start('ab', begun, operation);
      const waiting = start('c', begun, operation);
      const newcomer = first[0]!.then(() => start('d', begun, operation)[0]);
      for (let n = 0; n < 4; n += 1) await operation.end();
      await Promise.all([...first, ...waiting, newcomer]);
      expect(begun).to.deep.equal(['a', 'b', 'c', 'd']);
    });

    it('are refused when as many wait as may, and admitted again later', async () => {
      const begun: string[] = [];
      const operation = new Operation();
      const calls = start('abcde', begun, operation);
      const error = await failureOf(start('f', begun, operation)[0]!);
      expect(error).to.include({ code: 'UNAVAILABLE', retryable: true });
      expect(error.message)
        .to.include('2 calls of kind send run (resilience.send.concurrency)')
        .and.include('3 wait (resilience.send.queue)');
      expect(news).to.deep.equal(['refused send queue']);
      await operation.end();
      calls.push(...start('g', begun, operation));
      for (let n = 0; n < 5; n += 1) await operation.end();
      await Promise.all(calls);
      expect(begun.join('')).to.equal('abcdeg');
    });

    it('bound their own kind alone', async () => {
      const operation = new Operation();
      const calls = start('abcde', [], operation);
      expect(await policy.execute('publish', async () => 'well')).to.equal('well');
      for (let n = 0; n < 5; n += 1) await operation.end();
      await Promise.all(calls);
    });

    it('wait no longer than a try may take', async () => {
      make({
        script: { retryCount: 1, retryInterval: 2000 },
        resilience: { send: { concurrency: 1, timeout: 500 } },
      });
      const begun: string[] = [];
      const operation = new Operation();
      // It keeps its turn while it pauses.
      const running = start('a', begun, operation);
      await operation.end(away());
      const waiting = failureOf(start('b', begun, operation)[0]!);
      await clock.tickAsync(499);
      expect(news).to.have.length(1);
      await clock.tickAsync(1);
      const error = await waiting;
      expect(error).to.include({ code: 'UNAVAILABLE', retryable: true });
      expect(error.message)
        .to.include('within 500 ms (resilience.send.timeout)')
        .and.include('resilience.send.concurrency');
      expect(news.at(-1)).to.equal('refused send turn');
      while (operation.runs < 2) await clock.tickAsync(100);
      await operation.end();
      await Promise.all(running);
      expect(begun.join('')).to.equal('aa');
    });

    it('that fail, or take too long, make room as well', async () => {
      const begun: string[] = [];
      const operation = new Operation();
      const calls = Promise.allSettled(start('ab', begun, operation));
      await operation.end(new SseError('CLOSED', 'over'));
      await clock.tickAsync(500);
      await calls;
      const more = start('cd', begun, operation);
      expect(begun.join('')).to.equal('abcd');
      for (let n = 0; n < 3; n += 1) await operation.end();
      await Promise.all(more);
    });

    it('that wait leave the queue at once when their caller gives up, and keep no listener', async () => {
      const begun: string[] = [];
      const operation = new Operation();
      const running = start('ab', begun, operation);
      const caller = new AbortController();
      const waiting = failureOf(start('c', begun, operation, caller)[0]!);
      const behind = start('d', begun, operation);
      caller.abort('left');
      expect(await waiting).to.include({ code: 'UNAVAILABLE', cause: 'left' });
      expect(getEventListeners(caller.signal, 'abort')).to.deep.equal([]);
      for (let n = 0; n < 3; n += 1) await operation.end();
      await Promise.all([...running, ...behind]);
      expect(begun.join('')).to.equal('abd');
    });

    it('do not wait for a caller that gave up beforehand', async () => {
      const operation = new Operation();
      const running = start('ab', [], operation);
      const late = start('c', [], operation, { signal: AbortSignal.abort('left') })[0]!;
      expect(await failureOf(late)).to.include({ code: 'UNAVAILABLE', cause: 'left' });
      for (let n = 0; n < 2; n += 1) await operation.end();
      await Promise.all(running);
    });

    it('that waited keep no listener on the signal of their caller when they begin', async () => {
      const operation = new Operation();
      const caller = new AbortController();
      const calls = start('abc', [], operation, caller);
      for (let n = 0; n < 3; n += 1) await operation.end();
      await Promise.all(calls);
      expect(getEventListeners(caller.signal, 'abort')).to.deep.equal([]);
    });

    it('that waited run in the asynchronous context of their own caller', async () => {
      const storage = new AsyncLocalStorage<string>();
      const operation = new Operation();
      const seen: (string | undefined)[] = [];
      const calls = Array.from('abcd', name =>
        storage.run(name, () =>
          policy.execute('send', context => {
            seen.push(storage.getStore());
            return operation.run(context);
          }),
        ),
      );
      for (let n = 0; n < 4; n += 1) await operation.end();
      await Promise.all(calls);
      expect(seen).to.deep.equal(['a', 'b', 'c', 'd']);
    });

    it('that wait are refused, and do not run, when the circuit opens before their turn', async () => {
      const begun: string[] = [];
      const operation = new Operation();
      const calls = Promise.allSettled(start('abcde', begun, operation));
      for (let n = 0; n < 3; n += 1) await operation.end(away());
      expect(policy.circuit('send')).to.equal('open');
      await operation.end('the one that ran');
      const outcomes = await calls;
      expect(outcomes.map(({ status }) => status).join(' ')).to.match(/^(rejected ){3}fulfilled rejected$/);
      expect(begun.join('')).to.equal('abcd');
    });
  });

  it('needs no observer', async () => {
    policy = new CockatielPolicy(resolveOptions({ ...ONCE, resilience: { send: { breakerFailures: 1 } } }));
    await fail('send', 2);
    expect(policy.circuit('send')).to.equal('open');
  });
});
