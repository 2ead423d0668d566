import { expect } from 'chai';
import sinon from 'sinon';
import { Bench, dataIn, eventsIn, FIRST, frame, frameOf, START } from './connection-bench.js';

const TIMEOUT = 1000;
/** The watchdog looks eight times per timeout; a stall is seen with the next look. */
const LOOK = TIMEOUT / 8;

describe('ClientConnection over time', () => {
  let clock: sinon.SinonFakeTimers;
  let bench: Bench;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    bench = new Bench({ timeout: TIMEOUT });
  });
  afterEach(() => {
    bench.stop();
    clock.restore();
  });

  describe('timeout', () => {
    it('cuts a connection whose socket takes nothing although bytes wait', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      clock.tick(TIMEOUT);
      expect(connection.state.kind).to.equal('open');
      clock.tick(2 * LOOK);
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'stale' });
      expect([sink.destroyed, bench.used, [...bench.environment.watchdog.connections()].length]).to.deep.equal([
        true,
        0,
        0,
      ]);
    });

    it('leaves a quiet connection alone', () => {
      const { connection } = bench.open();
      clock.tick(1000 * TIMEOUT);
      expect(connection.state.kind).to.equal('open');
      expect([...bench.environment.watchdog.connections()].length).to.equal(0);
    });

    it('begins again with every byte the socket takes', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(100));
      for (let round = 0; round < 20; round += 1) {
        clock.tick(TIMEOUT - LOOK);
        sink.progress(1);
      }
      expect(connection.state.kind).to.equal('open');
      clock.tick(TIMEOUT + 2 * LOOK);
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'stale' });
    });

    it('begins again when the socket drains and blocks at once', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(10));
      for (let round = 0; round < 20; round += 1) {
        connection.deliver(frameOf(10));
        clock.tick(TIMEOUT - LOOK);
        sink.drain(true);
      }
      expect(connection.state.kind).to.equal('open');
    });

    it('counts a new stall from its own beginning', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      clock.tick(TIMEOUT - LOOK);
      sink.drain();
      clock.tick(10 * TIMEOUT);
      sink.block();
      connection.deliver(frame('b'));
      clock.tick(TIMEOUT - LOOK);
      expect(connection.state.kind).to.equal('open');
      clock.tick(4 * LOOK);
      expect(connection.state.kind).to.equal('closed');
    });

    it('notices bytes that wait although the socket did not ask to wait', () => {
      const { connection, sink } = bench.open();
      sink.block(1000);
      connection.deliver(frame('a'));
      clock.tick(TIMEOUT + 2 * LOOK);
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'stale' });
    });

    it('cuts a connection that blocks while opening', () => {
      const { connection, sink } = bench.opening();
      sink.block();
      connection.open(FIRST);
      bench.environment.scheduler.flushSlice();
      clock.tick(TIMEOUT + 2 * LOOK);
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'stale' });
    });

    it('cuts a closing connection whose last bytes are not written, which keeps its reason', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      connection.close('draining');
      clock.tick(TIMEOUT + 2 * LOOK);
      expect(sink.destroyed).to.be.true;
      expect(await connection.closed).to.equal('draining');
      expect([bench.used, [...bench.environment.watchdog.connections()].length]).to.deep.equal([0, 0]);
    });

    it('lets a closing client read at any pace', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      for (let index = 0; index < 10; index += 1) connection.enqueue(frameOf(64 * 1024));
      connection.close('draining');
      for (let piece = 0; piece < 12; piece += 1) {
        clock.tick(TIMEOUT - LOOK);
        sink.drain(true);
      }
      expect(await connection.closed).to.equal('draining');
      expect(eventsIn(sink.writtenText)).to.have.length(11);
      expect([sink.ended, bench.used]).to.deep.equal([true, 0]);
    });
  });

  describe('maxAge', () => {
    it('ends a connection with a last event when it is old enough, counted from going live', () => {
      bench = new Bench({ maxAge: 60_000, retry: 1234 });
      const { connection, sink } = bench.opening();
      connection.open(FIRST);
      clock.tick(5000);
      connection.goLive(START);
      clock.tick(59_000);
      expect(connection.state.kind).to.equal('open');
      clock.tick(1000);
      expect(connection.state).to.deep.equal({ kind: 'draining', reason: 'max-age' });
      expect(sink.text.endsWith('retry: 1234\nevent: sse.closed\ndata: {"reason":"max-age"}\n\n')).to.be.true;
    });

    it('means nothing to a connection that is closing', () => {
      bench = new Bench({ maxAge: 60_000 });
      const { connection } = bench.open();
      connection.close('draining');
      expect([...bench.environment.watchdog.connections()].length).to.equal(0);
      clock.tick(100_000);
      expect(connection.state).to.include({ reason: 'draining' });
    });
  });

  describe('heartbeat', () => {
    beforeEach(() => {
      bench = new Bench({ heartbeat: 1000, timeout: 60_000 });
    });

    const beat = (): void => {
      clock.tick(900);
      bench.environment.scheduler.flushSlice();
    };

    it('is a comment at least once per interval, which fires no event', () => {
      const { sink } = bench.open();
      clock.tick(10_000);
      bench.environment.scheduler.flushSlice();
      expect(sink.text).to.match(/^(:\n){11,13}$/);
      expect(dataIn(sink.text)).to.deep.equal([]);
    });

    it('is not written to a blocked socket, and again once it has drained', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      for (let round = 0; round < 5; round += 1) beat();
      expect(connection.sendBufferBytes).to.equal(frame('a').bytes.length);
      sink.drain();
      beat();
      expect(sink.text).to.equal('data: a\n\n:\n');
    });

    it('is not written while opening', () => {
      const { connection, sink } = bench.opening();
      connection.open(FIRST);
      bench.environment.scheduler.flushSlice();
      beat();
      expect(sink.text).to.equal(FIRST.bytes.toString());
    });

    for (const end of ['close', 'cut'] as const) {
      it(`is not written any more after ${end}`, () => {
        const { connection, sink } = bench.open();
        connection[end]('closed');
        const before = sink.text;
        beat();
        expect(sink.text).to.equal(before);
        expect([...bench.environment.wheel!.connections()].length).to.equal(0);
      });
    }

    it('finds a client that vanished without closing its socket', () => {
      bench = new Bench({ heartbeat: 1000, timeout: TIMEOUT });
      const { connection, sink } = bench.open();
      sink.block();
      clock.tick(1000);
      bench.environment.scheduler.flushSlice();
      clock.tick(TIMEOUT + 2 * LOOK);
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'stale' });
    });
  });

  describe('a replay', () => {
    it('of a large event to a client that reads slowly but steadily is not stale', () => {
      bench = new Bench({ timeout: TIMEOUT });
      const { connection, sink } = bench.opening();
      connection.open(FIRST);
      bench.environment.scheduler.flushSlice();
      sink.block();
      connection.replay(frameOf(12_000_000));
      bench.environment.scheduler.flushSlice();
      let drains = 0;
      for (; sink.pendingBytes > 0; drains += 1) {
        clock.tick(TIMEOUT / 2);
        sink.drain(true);
      }
      expect([connection.state.kind, drains]).to.deep.equal(['opening', Math.ceil(12_000_000 / 65_536)]);
    });
  });

  describe('lastProgressAt', () => {
    it('is the time of its creation while nothing was written', () => {
      clock.tick(500);
      const { connection } = bench.opening();
      clock.tick(500);
      expect([connection.openedAt, connection.lastProgressAt]).to.deep.equal([500, 500]);
    });

    it('is the time of a write that the socket took', () => {
      const { connection } = bench.open();
      clock.tick(700);
      connection.deliver(frame('a'));
      clock.tick(700);
      expect(connection.lastProgressAt).to.equal(700);
    });

    it('does not move while the socket takes nothing', () => {
      const { connection, sink } = bench.open();
      clock.tick(100);
      sink.block();
      connection.deliver(frameOf(100));
      clock.tick(700);
      expect(connection.lastProgressAt).to.equal(0);
    });

    it('is the time of a drain', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      clock.tick(700);
      sink.drain();
      expect(connection.lastProgressAt).to.equal(700);
    });

    it('follows the progress of a slow socket', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(100));
      clock.tick(500);
      sink.progress(10);
      clock.tick(LOOK);
      expect(connection.lastProgressAt).to.equal(500 + LOOK);
    });

    it('follows a socket that takes bytes later and reports no drain', () => {
      const { connection, sink } = bench.open();
      sink.block(1000);
      clock.tick(5000);
      connection.deliver(frame('a'));
      sink.progress(1000);
      clock.tick(LOOK);
      expect(connection.lastProgressAt).to.be.within(5000, 5000 + LOOK);
    });
  });
});
