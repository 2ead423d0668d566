import { AsyncLocalStorage } from 'node:async_hooks';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import sinon from 'sinon';
import type { CloseReason } from '../../../src/contracts/connection.js';
import { SseError } from '../../../src/errors.js';
import { comebackOf, ENDED, formatCursor } from '../../../src/protocol/cursor.js';
import { amount } from '../../support/extent.js';
import { FakeSink } from '../../support/fake-sink.js';
import { Bench, type Client, dataIn, entry, eventsIn, FIRST, frame, frameOf, START } from './connection-bench.js';

const PIECE = 64 * 1024;

/** A sink that reports its end from within the call that ends it, as a socket of the user's own may. */
class HastySink extends FakeSink {
  override end(): void {
    super.end();
    this.leave();
  }

  override destroy(): void {
    super.destroy();
    this.leave();
  }
}

describe('ClientConnection at its end', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench({ heartbeat: 1000, maxAge: 100_000 });
  });
  afterEach(() => {
    bench.stop();
  });

  /** Nothing of the connection is left anywhere. */
  const expectNothingLeft = (): void => {
    expect(bench.used).to.equal(0);
    expect([...bench.environment.wheel!.connections()].length).to.equal(0);
    expect([...bench.environment.watchdog.connections()].length).to.equal(0);
  };

  describe('close', () => {
    it('drains, and is closed when the socket is gone', async () => {
      const { connection } = bench.open();
      connection.close('mine');
      expect(connection.state).to.deep.equal({ kind: 'draining', reason: 'mine' });
      await turn();
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'mine' });
      expectNothingLeft();
    });

    it('writes what waits and then, as its last event, sse.closed with the reason', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      connection.deliver(frame('b'));
      connection.close('mine');
      sink.drain();
      await turn();
      expect(eventsIn(sink.text)).to.deep.equal([
        { event: undefined, data: 'a', id: undefined },
        { event: undefined, data: 'b', id: undefined },
        { event: 'sse.closed', data: '{"reason":"mine"}', id: formatCursor(START) },
      ]);
      expect([sink.ended, sink.destroyed]).to.deep.equal([true, true]);
    });

    it('writes what came earlier in the tick before the last event', async () => {
      const { connection, sink } = bench.open();
      connection.enqueue(frame('a'));
      connection.close();
      connection.enqueue(frame('late'));
      await turn();
      expect(dataIn(sink.text)).to.deep.equal(['a', '{"reason":"closed"}']);
    });

    it('writes the rest of a large frame before the last event', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(PIECE * 2, 'a'));
      connection.close();
      while (!sink.ended) sink.drain(true);
      await turn();
      expect(dataIn(sink.text).map(({ length }) => length)).to.deep.equal([PIECE * 2 - 8, 19]);
      expectNothingLeft();
    });

    it('ends the sink only once the last event was accepted', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      connection.close();
      expect(sink.calls).to.not.include('end');
      sink.drain(true);
      expect(sink.calls.slice(-2)).to.deep.equal(['write', 'end']);
      expect(sink.ended).to.be.false;
    });

    it('sends the client a reconnection time, if there is one', () => {
      bench = new Bench({ retry: 4321 });
      const { connection, sink } = bench.open();
      connection.close('draining');
      expect(sink.text).to.equal(
        `id: ${formatCursor(START)}\nretry: 4321\nevent: sse.closed\ndata: {"reason":"draining"}\n\n`,
      );
    });

    it('repeats in its last event where the client stands, for clients that forget it at an event without an id', () => {
      const { connection, sink } = bench.open();
      connection.deliver(entry(3));
      connection.close();
      const { epoch, ms, sequence } = START;
      expect(eventsIn(sink.text).at(-1)?.id).to.equal(formatCursor({ epoch, ms, sequence: sequence + 3 }));
    });

    it('ends a completed stream with an id that says so, whatever the client has', () => {
      const { connection, sink } = bench.open();
      connection.close('completed');
      expect(eventsIn(sink.text).at(-1)?.id).to.equal(ENDED);
    });

    it('counts failures in a row in the id of the last event, and doubles the reconnection time with each', () => {
      bench = new Bench({ retry: 1000 });
      const waits = [0, 1, 2, 3, 20].map(failures => {
        const { connection, sink } = bench.open(undefined, undefined, { failures });
        connection.close('failed');
        const id = eventsIn(sink.text).at(-1)?.id;
        expect(comebackOf(id)).to.deep.equal({ failures: failures + 1, lastEventId: formatCursor(START) });
        return Number(/^retry: (\d+)$/m.exec(sink.text)?.[1]);
      });
      expect(waits[0]).to.be.within(1000, 2000);
      expect(waits[1]).to.be.within(2000, 4000);
      expect(waits[3]).to.be.within(8000, 16_000);
      expect(waits[4]).to.be.within(300_000, 600_000);
    });

    it('leaves the client the id that it has where a failure breaks a replay off', async () => {
      const { connection, sink } = bench.opening(undefined, undefined, {
        lastEventId: formatCursor(START),
        failures: 1,
      });
      connection.open(FIRST);
      connection.replay(entry(1));
      connection.close('failed');
      await turn();
      const last = eventsIn(sink.text).at(-1);
      expect(last?.data).to.equal('{"reason":"failed"}');
      expect(last?.id).to.equal(undefined);
    });

    it('begins to count anew after a minute without a failure', () => {
      const clock = sinon.useFakeTimers({ toFake: ['performance'] });
      const { connection, sink } = bench.open(undefined, undefined, { failures: 7 });
      clock.tick(60_000);
      connection.close('failed');
      clock.restore();
      expect(comebackOf(eventsIn(sink.text).at(-1)?.id)).to.include({ failures: 1 });
    });

    it('refuses a reason that is no token, and stays open', () => {
      const { connection, sink } = bench.open();
      let thrown: unknown;
      try {
        connection.close('a\nb');
      } catch (error) {
        thrown = error;
      }
      expect(SseError.is(thrown, 'INVALID_REASON')).to.be.true;
      expect([connection.state.kind, sink.writes.length]).to.deep.equal(['open', 0]);
    });

    it('is a cut when the socket is gone and the news has not come', async () => {
      const { connection, sink } = bench.open();
      sink.break();
      connection.close('mine');
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'mine' });
      await turn();
      expect([sink.writes, bench.news]).to.deep.equal([[], ['c1 stopped mine', 'c1 closed']]);
    });
  });

  describe('cut', () => {
    it('closes at once, without a last event, and discards waiting bytes', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      connection.deliver(frame('b'));
      connection.enqueue(frame('c'));
      connection.cut('stale');
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'stale' });
      await turn();
      expect([sink.destroyed, dataIn(sink.text)]).to.deep.equal([true, ['a']]);
      expectNothingLeft();
    });

    it('discards events of the same tick', async () => {
      const { connection, sink } = bench.open();
      connection.enqueue(frame('a'));
      connection.cut('failed');
      expect(connection.sendBufferBytes).to.equal(0);
      await turn();
      expect(sink.writes).to.deep.equal([]);
    });

    it('ends a connection that drains, which keeps its reason', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      connection.close('draining');
      connection.cut('shutdown');
      await turn();
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'draining' });
      expect(bench.news).to.deep.equal(['c1 stopped draining', 'c1 closed']);
      expectNothingLeft();
    });

    it('ignores a socket that drains afterwards', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      connection.deliver(frame('b'));
      connection.cut('failed');
      sink.drain();
      await turn();
      expect(dataIn(sink.text)).to.deep.equal(['a']);
      expectNothingLeft();
    });
  });

  describe('signal', () => {
    it('aborts with the reason when the connection stops taking events', () => {
      const { connection } = bench.open();
      const { signal } = connection;
      expect(signal.aborted).to.be.false;
      connection.close('mine');
      expect([signal.aborted, signal.reason]).to.deep.equal([true, 'mine']);
    });

    it('is one object', () => {
      const { connection } = bench.open();
      expect(connection.signal).to.equal(connection.signal);
    });

    it('is aborted when it is asked for afterwards', () => {
      const [draining, closed] = [bench.open(), bench.open()];
      draining.sink.block();
      draining.connection.close('one');
      closed.connection.cut('two');
      expect([draining.connection.signal.reason, closed.connection.signal.reason]).to.deep.equal(['one', 'two']);
    });

    it('aborts when the connection takes nothing any more: its listeners can send nothing', () => {
      const { connection, sink } = bench.open();
      let outcome: string | undefined;
      connection.signal.addEventListener('abort', () => {
        outcome = connection.send('late', 'x').outcome;
        connection.close('again');
      });
      connection.close('mine');
      expect(outcome).to.equal('not-connected');
      expect(eventsIn(sink.text)).to.have.length(1);
    });

    it('runs its listeners in the context of its first reader, not of the call that closes the connection', () => {
      const { connection } = bench.open();
      const context = new AsyncLocalStorage<string>();
      const seen: (string | undefined)[] = [];
      context.run('handler', () => {
        connection.signal.addEventListener('abort', () => seen.push(context.getStore()));
      });
      context.run('publisher', () => connection.close('mine'));
      expect(seen).to.deep.equal(['handler']);
    });
  });

  describe('closed', () => {
    it('settles with the reason, not before the socket is gone', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      let settled: CloseReason | undefined;
      void connection.closed.then(reason => (settled = reason));
      connection.close('mine');
      await turn();
      expect(settled).to.equal(undefined);
      sink.drain();
      await turn();
      expect(settled).to.equal('mine');
    });

    it('is settled when it is asked for afterwards', async () => {
      const { connection } = bench.open();
      connection.cut('mine');
      expect(await connection.closed).to.equal('mine');
    });

    it('settles with client when the client leaves', async () => {
      const { connection, sink } = bench.open();
      sink.leave();
      expect(await connection.closed).to.equal('client');
      expectNothingLeft();
    });
  });

  describe('a sink that reports its end while it is ended', () => {
    it('is reported in order and once', () => {
      const closed = bench.opening('closed', new HastySink());
      const cut = bench.opening('cut', new HastySink());
      for (const { connection } of [closed, cut]) {
        connection.open(FIRST);
        connection.goLive(START);
      }
      closed.connection.close('one');
      cut.connection.cut('two');
      expect(bench.news).to.deep.equal(['closed stopped one', 'closed closed', 'cut stopped two', 'cut closed']);
      expectNothingLeft();
    });

    it('leaves nothing behind when it ends in the middle of a write', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      sink.onNextWrite(() => {
        sink.leave();
      });
      connection.enqueue(frameOf(PIECE * 3));
      await turn();
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'client' });
      expectNothingLeft();
    });
  });

  describe('a sink that throws', () => {
    const failure = new Error('broken sink');
    const broken = (): Client => {
      const client = bench.open();
      client.sink.failWith(failure);
      return client;
    };

    it('costs its own connection and no other', async () => {
      const [before, culprit, after] = [bench.open(), broken(), bench.open()];
      for (const { connection } of [before, culprit, after]) connection.enqueue(frame('a'));
      await turn();
      expect([dataIn(before.sink.text), dataIn(after.sink.text)]).to.deep.equal([['a'], ['a']]);
      expect(culprit.connection.state).to.deep.equal({ kind: 'closed', reason: 'failed' });
      expect(culprit.sink.destroyed).to.be.true;
    });

    it('is logged with its error and the connection', async () => {
      const { connection } = broken();
      connection.enqueue(frame('a'));
      await turn();
      expect(bench.logger.lines).to.deep.equal([
        {
          level: 'error',
          message: 'a sink threw; its connection is cut',
          fields: { connectionId: 'c1', error: failure },
        },
      ]);
    });

    it('is closed to a delivery', () => {
      expect(broken().connection.deliver(frame('a'))).to.deep.equal({ outcome: 'not-connected' });
      expectNothingLeft();
    });

    it('is closed to a delivery in pieces', () => {
      expect(broken().connection.deliver(frameOf(PIECE * 3))).to.deep.equal({
        outcome: 'not-connected',
      });
      expectNothingLeft();
    });

    it('leaves nothing behind when it throws at the last event', () => {
      const { connection } = broken();
      connection.close('mine');
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'mine' });
      expect(bench.news).to.deep.equal(['c1 stopped mine', 'c1 closed']);
      expectNothingLeft();
    });

    it('leaves nothing behind when it throws at a replay that is closed behind a blocked socket', async () => {
      const { connection, sink } = bench.opening();
      sink.block();
      connection.open(FIRST);
      await turn();
      connection.replay(frame('a'));
      connection.deliver(frame('held'));
      sink.failWith(failure);
      connection.close('mine');
      sink.drain();
      expect(connection.state.kind).to.equal('closed');
      expectNothingLeft();
    });

    it('leaves nothing behind when it throws at what was held', async () => {
      const { connection, sink } = bench.opening();
      connection.open(FIRST);
      for (let index = 0; index < 5; index += 1) connection.enqueue(frameOf(PIECE - 1));
      sink.failWith(failure);
      connection.goLive(START);
      await turn();
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'failed' });
      expectNothingLeft();
    });
  });

  it('ends exactly once, with the first reason, whatever happens in whatever order', async () => {
    const reasons = fc.constantFrom('one', 'two', 'three');
    const steps = fc.array(
      fc.oneof(
        fc.record({ kind: fc.constantFrom('close' as const, 'cut' as const), reason: reasons }),
        fc.record({
          kind: fc.constantFrom(
            'leave' as const,
            'break' as const,
            'fail' as const,
            'block' as const,
            'drain' as const,
            'deliver' as const,
            'tick' as const,
          ),
        }),
      ),
      { maxLength: 14 },
    );
    const settings = fc.record({
      opened: fc.constantFrom('no' as const, 'opening' as const, 'open' as const),
      hasty: fc.boolean(),
      asked: fc.boolean(),
    });

    await fc.assert(
      fc.asyncProperty(settings, steps, async ({ opened, hasty, asked }, sequence) => {
        bench = new Bench({ heartbeat: 1000, maxAge: 100_000, maxBytes: 300_000 });
        const sink = hasty ? new HastySink() : new FakeSink();
        const { connection } = bench.opening('c', sink);
        const signal = asked ? connection.signal : undefined;
        if (opened !== 'no') connection.open(FIRST);
        if (opened === 'open') connection.goLive(START);
        let first: CloseReason | undefined;
        for (const step of sequence) {
          switch (step.kind) {
            case 'close':
            case 'cut':
              connection[step.kind](step.reason);
              break;
            case 'deliver':
              connection.deliver(frameOf(100_000));
              break;
            case 'leave':
            case 'break':
            case 'block':
            case 'drain':
              sink[step.kind]();
              break;
            case 'fail':
              sink.failWith(new Error('broken sink'));
              break;
            case 'tick':
              await turn();
              break;
          }
          const { state } = connection;
          if (first === undefined) {
            if ('reason' in state) {
              first = state.reason;
              if ('reason' in step) expect(first).to.equal(step.reason);
            }
          } else {
            expect(state).to.include({ reason: first });
          }
        }
        sink.leave();
        first ??= 'client';
        await turn();
        expect(connection.state).to.deep.equal({ kind: 'closed', reason: first });
        expect(bench.news).to.deep.equal([`c stopped ${first}`, 'c closed']);
        expect((signal ?? connection.signal).reason).to.equal(first);
        expect(await connection.closed).to.equal(first);
        const events = eventsIn(sink.text).map(({ event }) => event);
        expect(events.slice(0, -1)).to.not.include('sse.closed');
        expectNothingLeft();
      }),
      { numRuns: amount(300, 1_500) },
    );
  });
});
