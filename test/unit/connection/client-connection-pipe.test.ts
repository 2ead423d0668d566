import { getEventListeners } from 'node:events';
import { createReadStream } from 'node:fs';
import { Readable } from 'node:stream';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { EMPTY, Observable, of, Subject, throwError } from 'rxjs';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { TurnBudget } from '../../../src/connection/scheduler.js';
import { SseError } from '../../../src/errors.js';
import { until } from '../../support/until.js';
import { Bench, type Client, dataIn, eventsIn, frameOf } from './connection-bench.js';

/** More than a piece: each such item is written at once. */
const LARGE = 'x'.repeat(70_000);

interface Observer {
  next(value: unknown): void;
  error(error: unknown): void;
  complete(): void;
}

/** A source under the control of the test, which records the calls of its methods. */
class ManualIterator implements AsyncIterableIterator<unknown> {
  pulls = 0;
  returns = 0;
  // A pump on a busy machine may pull later than the test answers.
  readonly #answers: Promise<IteratorResult<unknown>>[] = [];
  readonly #pulls: ((answer: Promise<IteratorResult<unknown>>) => void)[] = [];

  [Symbol.asyncIterator](): this {
    return this;
  }

  next(): Promise<IteratorResult<unknown>> {
    this.pulls += 1;
    return this.#answers.shift() ?? new Promise(resolve => this.#pulls.push(resolve));
  }

  return(): Promise<IteratorResult<unknown>> {
    this.returns += 1;
    return Promise.resolve({ done: true, value: undefined });
  }

  yield(value: unknown): void {
    this.#answer(Promise.resolve({ done: false, value }));
  }

  end(): void {
    this.#answer(Promise.resolve({ done: true, value: undefined }));
  }

  fail(error: Error): void {
    this.#answer(Promise.reject(error));
  }

  #answer(answer: Promise<IteratorResult<unknown>>): void {
    const pull = this.#pulls.shift();
    if (pull !== undefined) {
      pull(answer);
      return;
    }
    answer.catch(() => undefined);
    this.#answers.push(answer);
  }
}

/** Something to subscribe to that remembers its observer. */
class ManualPush {
  observer: Observer | undefined;
  unsubscribed = 0;

  subscribe(observer: Observer): () => void {
    this.observer = observer;
    return () => {
      this.unsubscribed += 1;
    };
  }
}

async function failureOf(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error('the promise was not rejected');
}

describe('ClientConnection.pipe', () => {
  let bench: Bench;
  let client: Client;

  beforeEach(() => {
    bench = new Bench();
    client = bench.open();
  });
  afterEach(() => {
    client.connection.cut('closed');
    bench.stop();
  });

  const pipe = (source: unknown): Promise<void> => client.connection.pipe(source);
  const received = (): string[] => dataIn(client.sink.text);

  describe('sends what a source yields, in order, and resolves when it ends:', () => {
    const items = ['a', 'b', 'c'];
    const sources: readonly (readonly [name: string, make: () => unknown])[] = [
      [
        'an async generator',
        async function* () {
          for (const item of items) {
            await turn();
            yield item;
          }
        },
      ],
      [
        'a generator',
        function* () {
          yield* items;
        },
      ],
      ['an array', () => items],
      ['a set', () => new Set(items)],
      ['an iterator without return', () => ({ [Symbol.iterator]: () => items.values() })],
      ['a Readable of objects', () => Readable.from(items)],
      ['a web ReadableStream', () => ReadableStream.from(items)],
      ['an Observable', () => of(...items)],
      [
        'an Observable that takes its time',
        () =>
          new Observable<string>(observer => {
            void (async () => {
              for (const item of items) {
                await turn();
                observer.next(item);
              }
              observer.complete();
            })();
          }),
      ],
      [
        'something to subscribe to that answers with a function',
        () => ({
          subscribe: (observer: Observer) => {
            for (const item of items) observer.next(item);
            observer.complete();
            return () => undefined;
          },
        }),
      ],
      [
        'something to subscribe to that answers with nothing',
        () => ({
          subscribe: (observer: Observer) => {
            for (const item of items) observer.next(item);
            observer.complete();
          },
        }),
      ],
    ];
    for (const [name, make] of sources) {
      it(name, async () => {
        await pipe(make());
        await turn();
        expect(received()).to.deep.equal(items);
      });
    }

    it('nothing at all', async () => {
      await pipe([]);
      await pipe(EMPTY);
      await turn();
      expect(client.sink.writes).to.deep.equal([]);
    });

    it('bytes, as text, with a character that was cut', async () => {
      const bytes = Buffer.from('1 € 2');
      const readable = new Readable({ read: () => undefined });
      const piped = pipe(readable);
      for (const byte of bytes) {
        readable.push(Buffer.from([byte]));
        await turn();
      }
      readable.push(null);
      await piped;
      await turn();
      expect(received().join('')).to.equal('1 € 2');
      expect(received()).to.not.include('');
    });

    it('bytes of a web ReadableStream', async () => {
      await pipe(new Response('hello').body);
      await turn();
      expect(received()).to.deep.equal(['hello']);
    });
  });

  it('treats an item with data as an event, and any other as the data of a message', async () => {
    await pipe([{ event: 'note', data: { a: 1 }, id: '7', retry: 5 }, { data: 'x' }, { b: 2 }]);
    await turn();
    expect(eventsIn(client.sink.text)).to.deep.equal([
      { event: 'note', data: '{"a":1}', id: '7' },
      { event: undefined, data: 'x', id: undefined },
      { event: undefined, data: '{"b":2}', id: undefined },
    ]);
  });

  it('leaves the connection open, and takes the next source', async () => {
    await pipe(['a']);
    await pipe(['b']);
    await turn();
    expect(received()).to.deep.equal(['a', 'b']);
    expect(client.connection.state.kind).to.equal('open');
  });

  it('runs several sources at once', async () => {
    const [one, two] = [new ManualIterator(), new Subject<string>()];
    const piped = Promise.all([pipe(one), pipe(two)]);
    await turn();
    two.next('two');
    one.yield('one');
    await turn();
    two.complete();
    one.end();
    await piped;
    expect(received()).to.have.members(['one', 'two']);
  });

  it('is piping while a source runs', async () => {
    const [one, two] = [new ManualIterator(), new ManualIterator()];
    const piped = [pipe(one), pipe(two)];
    await turn();
    expect(client.connection.piping).to.be.true;
    one.end();
    await piped[0];
    expect(client.connection.piping).to.be.true;
    two.fail(new Error('mine'));
    await failureOf(piped[1]!);
    expect(client.connection.piping).to.be.false;
  });

  it('leaves no listener on the signal', async () => {
    await pipe(['a']);
    await pipe(of('a'));
    await failureOf(pipe([undefined]));
    expect(getEventListeners(client.connection.signal, 'abort')).to.deep.equal([]);
  });

  describe('refuses what is no source:', () => {
    for (const value of ['text', 7, null, undefined, true, 1n, {}, () => [], { subscribe: 1 }]) {
      it(String(typeof value === 'object' ? JSON.stringify(value) : value), async () => {
        const error = await failureOf(pipe(value));
        expect(SseError.is(error, 'INVALID_SOURCE')).to.be.true;
        expect(client.connection.piping).to.be.false;
      });
    }
  });

  describe('backpressure', () => {
    it('asks a pull source for nothing while the socket is blocked', async () => {
      const source = new ManualIterator();
      void pipe(source);
      await turn();
      client.sink.block();
      source.yield(LARGE);
      await turn();
      await turn();
      expect(source.pulls).to.equal(1);
      client.sink.drain(true);
      client.sink.drain();
      await turn();
      expect(source.pulls).to.equal(2);
    });

    describe('while the clock stands still', () => {
      let clock: SinonFakeTimers;

      beforeEach(() => {
        // A pump also gives way by the clock, which on a busy machine may be in the middle of a piece.
        clock = useFakeTimers({ toFake: ['performance'] });
      });
      afterEach(() => {
        clock.restore();
      });

      it('asks a source that is always ready for no more than a piece can hold', async () => {
        let pulls = 0;
        client.sink.block();
        void pipe(
          (function* () {
            for (;;) {
              pulls += 1;
              yield 'x'.repeat(1000);
            }
          })(),
        );
        await turn();
        // A piece of 64 KiB, and what was pulled when it was written.
        expect(pulls).to.be.within(60, 70);
        const before = pulls;
        // The piece, and the little that was over.
        client.sink.drain(true);
        client.sink.drain(true);
        await turn();
        expect(pulls).to.be.within(before + 60, before + 70);
      });
    });

    it('does not read a Readable beyond its own high-water mark while the socket is blocked', async () => {
      let reads = 0;
      const readable = new Readable({
        objectMode: true,
        highWaterMark: 2,
        read() {
          reads += 1;
          this.push(LARGE);
        },
      });
      client.sink.block();
      void pipe(readable);
      for (let round = 0; round < 20; round += 1) await turn();
      expect(reads).to.be.at.most(4);
    });

    it('loses nothing of a pull source although others fill the send buffer meanwhile', async () => {
      for (const policy of ['drop-newest', 'drop-oldest', 'disconnect'] as const) {
        bench = new Bench({ policy, maxBytes: 1000 });
        client = bench.open();
        const source = new ManualIterator();
        const piped = pipe(source);
        await turn();
        client.sink.block();
        client.connection.deliver(frameOf(1000, 'o'));
        source.yield('mine');
        await turn();
        client.sink.drain();
        await turn();
        source.end();
        await piped;
        await turn();
        expect(received().at(-1), policy).to.equal('mine');
        expect(client.connection.state.kind).to.equal('open');
      }
    });

    it('drops events of a push source that do not fit, according to the policy', async () => {
      bench = new Bench({ policy: 'drop-newest', maxBytes: 100 });
      client = bench.open();
      const subject = new Subject<string>();
      void pipe(subject);
      await turn();
      client.sink.block();
      client.connection.deliver(frameOf(80, 'o'));
      subject.next('a');
      subject.next('too long for what is left');
      subject.next('b');
      client.sink.drain();
      expect(received().slice(1)).to.deep.equal(['a', 'b']);
    });

    it('shares the time of a turn among all sources, so that none is left behind', async () => {
      const SLICE = 5;
      const ITEM = 0.25;
      let now = 0;
      bench = new Bench({ turns: new TurnBudget(SLICE, () => now) });
      const pulls = new Array<number>(50).fill(0);
      const clients = pulls.map(() => bench.open());
      for (const [index, { connection }] of clients.entries()) {
        void connection.pipe(
          (function* () {
            for (;;) {
              now += ITEM;
              pulls[index] = (pulls[index] ?? 0) + 1;
              yield 'x';
            }
          })(),
        );
      }
      const times: number[] = [];
      for (let turns = 0; turns < 200; turns += 1) {
        const before = now;
        await turn();
        times.push(now - before);
      }
      for (const { connection } of clients) connection.cut('closed');
      expect(Math.max(...times)).to.be.at.most(SLICE + ITEM);
      expect(Math.max(...pulls)).to.be.at.most(3 * Math.min(...pulls));
    });

    it('lets other connections run while a source is always ready', async () => {
      let pulls = 0;
      const piped = pipe(
        (function* () {
          for (;;) {
            pulls += 1;
            yield pulls;
          }
        })(),
      );
      // Comes only when the event loop does.
      setTimeout(() => {
        client.connection.close('closed');
      }, 1);
      await piped;
      expect(pulls).to.be.greaterThan(0);
    });
  });

  it('awaits promises in an iterable, and fails with the first that rejects', async () => {
    const pending = (async () => {
      await turn();
      return 'later';
    })();
    await pipe(['now', pending, Promise.resolve({ event: 'named', data: 1 })]);
    await turn();
    expect(received()).to.deep.equal(['now', 'later', '1']);
    const failure = new Error('no such row');
    let closed = false;
    const rows = (function* () {
      try {
        yield Promise.reject(failure);
      } finally {
        closed = true;
      }
    })();
    expect([await pipe(rows).catch((error: unknown) => error), closed]).to.deep.equal([failure, true]);
  });

  describe('when the connection closes', () => {
    it('runs the finally of a generator, and resolves', async () => {
      let cleaned = false;
      const piped = pipe(
        (async function* () {
          try {
            for (;;) {
              await turn();
              yield 'x';
            }
          } finally {
            cleaned = true;
          }
        })(),
      );
      await turn();
      client.connection.close();
      await piped;
      await until(() => cleaned, 'the finally');
    });

    it('destroys a Readable, also one that has nothing to read', async () => {
      const readable = new Readable({ read: () => undefined });
      const piped = pipe(readable);
      await turn();
      client.connection.close();
      await piped;
      expect(readable.destroyed).to.be.true;
      await turn();
      expect(bench.logger.lines).to.deep.equal([]);
    });

    it('cancels a web ReadableStream, also one that has nothing to read', async () => {
      let cancelled = false;
      const stream = new ReadableStream({
        cancel: () => {
          cancelled = true;
        },
      });
      const piped = pipe(stream);
      await turn();
      client.connection.close();
      await piped;
      expect(cancelled).to.be.true;
    });

    it('unsubscribes from an Observable', async () => {
      let subscribers = 0;
      const observable = new Observable(() => {
        subscribers += 1;
        return () => {
          subscribers -= 1;
        };
      });
      const piped = pipe(observable);
      await turn();
      expect(subscribers).to.equal(1);
      client.connection.close();
      await piped;
      expect(subscribers).to.equal(0);
    });

    it('calls the function that a subscription answered with, once', async () => {
      const source = new ManualPush();
      const piped = pipe(source);
      client.connection.close();
      await piped;
      expect(source.unsubscribed).to.equal(1);
    });

    it('does not wait for a source that hangs', async () => {
      const source = new ManualIterator();
      const piped = pipe(source);
      await turn();
      client.connection.cut('stale');
      await piped;
      expect([source.pulls, source.returns]).to.deep.equal([1, 1]);
    });

    it('does not wait for a source that hangs in its own cleanup', async () => {
      const source = Object.assign(new ManualIterator(), {
        return: () => new Promise<never>(() => undefined),
      });
      const piped = pipe(source);
      await turn();
      client.connection.close();
      await piped;
    });

    it('resolves while the source waits for the client', async () => {
      client.sink.block();
      const source = new ManualIterator();
      const piped = pipe(source);
      await turn();
      source.yield(LARGE);
      await turn();
      client.connection.close();
      await piped;
      expect([source.pulls, source.returns]).to.deep.equal([1, 1]);
    });

    it('sends nothing of what the source yields afterwards', async () => {
      const [pull, push] = [new ManualIterator(), new ManualPush()];
      const piped = Promise.all([pipe(pull), pipe(push)]);
      await turn();
      client.connection.close('mine');
      pull.yield('late');
      push.observer?.next('late');
      await piped;
      await turn();
      expect(received()).to.deep.equal(['{"reason":"mine"}']);
      expect([pull.pulls, pull.returns]).to.deep.equal([1, 1]);
    });

    it('before a source was piped, cancels it and asks it for nothing', async () => {
      const [pull, push] = [new ManualIterator(), new ManualPush()];
      client.connection.close();
      await Promise.all([pipe(pull), pipe(push)]);
      expect([pull.pulls, pull.returns, push.observer]).to.deep.equal([0, 1, undefined]);
    });
  });

  describe('a source that fails', () => {
    const failure = new Error('mine');
    const sources: readonly (readonly [name: string, make: () => unknown])[] = [
      [
        'an async generator',
        async function* () {
          yield 'a';
          await turn();
          throw failure;
        },
      ],
      [
        'a generator',
        function* () {
          yield 'a';
          throw failure;
        },
      ],
      [
        'a Readable',
        () => {
          const readable = new Readable({ objectMode: true, read: () => undefined });
          readable.push('a');
          setImmediate(() => readable.destroy(failure));
          return readable;
        },
      ],
      [
        'a web ReadableStream',
        () => {
          let pulls = 0;
          return new ReadableStream({
            pull: controller => {
              pulls += 1;
              if (pulls === 1) controller.enqueue('a');
              else controller.error(failure);
            },
          });
        },
      ],
      ['an Observable', () => throwError(() => failure)],
      [
        'a subscribe that throws',
        () => ({
          subscribe: () => {
            throw failure;
          },
        }),
      ],
      [
        'an iterator that cannot be made',
        () => ({
          [Symbol.asyncIterator]: () => {
            throw failure;
          },
        }),
      ],
    ];
    for (const [name, make] of sources) {
      it(`rejects with its failure and logs nothing: ${name}`, async () => {
        expect(await failureOf(pipe(make()))).to.equal(failure);
        await turn();
        expect(bench.logger.lines).to.deep.equal([]);
        expect(client.connection.state.kind).to.equal('open');
      });
    }

    it('ends a Readable that waits for a socket that does not read', async () => {
      client.sink.block();
      client.connection.deliver(frameOf(1000, 'o'));
      const missing = createReadStream('/no/such/file');
      expect(await failureOf(pipe(missing))).to.include({ code: 'ENOENT' });
      const snapshot = new Readable({ read: () => undefined });
      setImmediate(() => snapshot.destroy(failure));
      expect(await failureOf(pipe(snapshot))).to.equal(failure);
    });

    it('rejects when a Readable is destroyed before its end', async () => {
      const readable = new Readable({ read: () => undefined });
      const piped = pipe(readable);
      await turn();
      readable.destroy();
      expect(await failureOf(piped)).to.include({ code: 'ERR_STREAM_PREMATURE_CLOSE' });
    });

    it('is not cancelled, since it has ended itself', async () => {
      const source = new ManualIterator();
      const piped = pipe(source);
      await turn();
      source.fail(failure);
      await failureOf(piped);
      expect(source.returns).to.equal(0);
    });

    it('is reported as the cause when a push source fails with a value that is no error', async () => {
      const error = await failureOf(pipe(throwError(() => 'text')));
      expect(error).to.be.instanceOf(Error);
      expect((error as Error).cause).to.equal('text');
    });

    it('within subscribe, is unsubscribed', async () => {
      let unsubscribed = 0;
      const source = {
        subscribe: (observer: Observer) => {
          observer.next('a');
          observer.error(failure);
          observer.next('late');
          return () => {
            unsubscribed += 1;
          };
        },
      };
      expect(await failureOf(pipe(source))).to.equal(failure);
      await turn();
      expect([received(), unsubscribed]).to.deep.equal([['a'], 1]);
    });
  });

  describe('a source that ends', () => {
    it('is not cancelled', async () => {
      const source = new ManualIterator();
      const piped = pipe(source);
      await turn();
      source.end();
      await piped;
      expect(source.returns).to.equal(0);
    });

    it('within subscribe, is unsubscribed, and none of its later events is accepted', async () => {
      let unsubscribed = 0;
      await pipe({
        subscribe: (observer: Observer) => {
          observer.next('a');
          observer.complete();
          observer.next('late');
          return {
            unsubscribe: () => {
              unsubscribed += 1;
            },
          };
        },
      });
      await turn();
      expect([received(), unsubscribed]).to.deep.equal([['a'], 1]);
    });
  });

  describe('an item that cannot be an event', () => {
    it('rejects as send does, and the source is cancelled, once', async () => {
      const source = new ManualIterator();
      const piped = pipe(source);
      await turn();
      source.yield(1n);
      expect(SseError.is(await failureOf(piped), 'NOT_SERIALIZABLE')).to.be.true;
      expect([source.pulls, source.returns]).to.deep.equal([1, 1]);
      expect(client.connection.state.kind).to.equal('open');
    });

    it('stops a push source there, even one that goes on within subscribe', async () => {
      const error = await failureOf(pipe(of('a', 1n, 'b')));
      await turn();
      expect(SseError.is(error, 'NOT_SERIALIZABLE')).to.be.true;
      expect(received()).to.deep.equal(['a']);
    });

    const codes = {
      INVALID_EVENT_NAME: { event: 'a\nb', data: 1 },
      INVALID_EVENT_ID: { id: 'a\nb', data: 1 },
      INVALID_RETRY: { retry: -1, data: 1 },
      NOT_SERIALIZABLE: { data: undefined },
    } as const;
    for (const [code, item] of Object.entries(codes)) {
      it(`is refused with ${code}`, async () => {
        expect(await failureOf(pipe([item]))).to.include({ code });
        expect(await failureOf(pipe(of(item)))).to.include({ code });
      });
    }
  });

  describe('a failure after the source was cancelled', () => {
    const failure = new Error('late');
    const expectLogged = async (): Promise<void> => {
      await turn();
      expect(bench.logger.lines).to.deep.equal([
        {
          level: 'debug',
          message: 'a source failed after it was cancelled',
          fields: { connectionId: 'c1', error: failure },
        },
      ]);
    };

    it('of a pull source is logged', async () => {
      const source = new ManualIterator();
      const piped = pipe(source);
      await turn();
      client.connection.close();
      await piped;
      source.fail(failure);
      await expectLogged();
    });

    it('of a push source is logged', async () => {
      const source = new ManualPush();
      const piped = pipe(source);
      client.connection.close();
      await piped;
      source.observer?.error(failure);
      await expectLogged();
    });

    it('of a push source that had completed is logged', async () => {
      const source = new ManualPush();
      const piped = pipe(source);
      source.observer?.complete();
      await piped;
      source.observer?.error(failure);
      await expectLogged();
    });

    it('of a Readable is logged', async () => {
      const readable = new Readable({
        read: () => undefined,
        destroy: (_error, done) => {
          done(failure);
        },
      });
      const piped = pipe(readable);
      await turn();
      client.connection.close();
      await piped;
      await expectLogged();
    });

    it('of a Readable that was not read is logged', async () => {
      client.sink.block();
      client.connection.deliver(frameOf(1000, 'o'));
      const readable = new Readable({
        destroy: (_error, done) => {
          done(failure);
        },
      });
      const piped = pipe(readable);
      await turn();
      client.connection.close();
      await piped;
      await expectLogged();
    });

    it('of a cancel is logged', async () => {
      const source = Object.assign(new ManualIterator(), { return: () => Promise.reject(failure) });
      const piped = pipe(source);
      await turn();
      client.connection.close();
      await piped;
      await expectLogged();
    });

    it('of a cancel that throws is logged', async () => {
      const stream = new ReadableStream({
        cancel: () => {
          throw failure;
        },
      });
      const piped = pipe(stream);
      client.connection.close();
      await piped;
      await expectLogged();
    });

    it('of an unsubscribe is logged', async () => {
      const piped = pipe({
        subscribe: () => () => {
          throw failure;
        },
      });
      client.connection.close();
      await piped;
      await expectLogged();
    });
  });
});
