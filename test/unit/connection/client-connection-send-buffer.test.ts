import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import type { SendBufferPolicy } from '../../../src/connection/environment.js';
import { Bench, type Client, dataIn, entry, frame, frameOf } from './connection-bench.js';

const PIECE = 64 * 1024;

describe('ClientConnection with a slow client', () => {
  let bench: Bench;

  afterEach(() => {
    bench.stop();
  });

  /** A connection whose socket is blocked by a frame of 20 bytes. */
  const blocked = (): Client => {
    const client = bench.open();
    client.sink.block();
    client.connection.deliver(frameOf(20, 'a'));
    return client;
  };

  for (const policy of ['disconnect', 'drop-oldest', 'drop-newest'] satisfies SendBufferPolicy[]) {
    describe(`under ${policy}`, () => {
      it('takes up to sendBuffer.maxBytes, what the socket holds included, and loses nothing', () => {
        bench = new Bench({ policy, maxBytes: 100 });
        const { connection, sink } = blocked();
        const outcomes = ['b', 'c', 'd', 'e'].map(fill => connection.enqueue(frameOf(20, fill)).outcome);
        expect(outcomes).to.deep.equal(Array(4).fill('buffered'));
        expect(connection.sendBufferBytes).to.equal(100);
        sink.drain();
        expect(dataIn(sink.text).map(data => data[0])).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
      });

      it('takes a frame of any size while nothing waits', async () => {
        bench = new Bench({ policy, maxBytes: 100, maxTotalBytes: 100 });
        const { connection, sink } = bench.open();
        expect(connection.deliver(frameOf(PIECE * 3)).outcome).to.equal('delivered');
        connection.enqueue(frameOf(200));
        await turn();
        expect(sink.bytes.length).to.equal(PIECE * 3 + 200);
        expect(bench.used).to.equal(0);
      });

      it('counts in the process budget exactly what waits', () => {
        bench = new Bench({ policy, maxBytes: 1000, maxTotalBytes: 10_000 });
        const [one, two] = [blocked(), blocked()];
        one.connection.deliver(frameOf(100));
        two.connection.deliver(frameOf(300));
        expect(bench.used).to.equal(20 + 100 + 20 + 300);
        one.sink.drain();
        expect(bench.used).to.equal(320);
        two.connection.cut('failed');
        expect(bench.used).to.equal(0);
      });
    });
  }

  describe('under disconnect', () => {
    it('cuts the connection for the byte that does not fit', async () => {
      bench = new Bench({ policy: 'disconnect', maxBytes: 100 });
      const { connection, sink } = blocked();
      connection.enqueue(frameOf(72));
      expect(connection.enqueue(frameOf(9))).to.deep.equal({
        outcome: 'rejected',
        code: 'SEND_BUFFER_FULL',
      });
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'slow' });
      await turn();
      expect([sink.destroyed, sink.ended, bench.used]).to.deep.equal([true, false, 0]);
    });

    it('cuts the connection that holds most when the process budget is full, and no other', () => {
      bench = new Bench({ policy: 'disconnect', maxBytes: 1000, maxTotalBytes: 1000 });
      const [one, two] = [blocked(), blocked()];
      one.connection.enqueue(frameOf(900));
      expect(two.connection.enqueue(frameOf(60)).outcome).to.equal('buffered');
      expect(bench.used).to.equal(1000);
      expect(two.connection.enqueue(frameOf(8)).outcome).to.equal('buffered');
      expect([one.connection.state, two.connection.state.kind]).to.deep.equal([
        { kind: 'closed', reason: 'slow' },
        'open',
      ]);
      expect(bench.used).to.equal(88);
      const three = blocked();
      expect(two.connection.enqueue(frameOf(900)).outcome).to.equal('rejected');
      expect([two.connection.state.kind, three.connection.state.kind]).to.deep.equal(['closed', 'open']);
    });
  });

  describe('under drop-newest', () => {
    it('refuses what does not fit, keeps what waits, and takes again when there is room', () => {
      bench = new Bench({ policy: 'drop-newest', maxBytes: 100 });
      const { connection, sink } = blocked();
      connection.enqueue(frameOf(60, 'b'));
      expect(connection.enqueue(frameOf(21, 'c'))).to.deep.equal({
        outcome: 'rejected',
        code: 'SEND_BUFFER_FULL',
      });
      expect(connection.sendBufferBytes).to.equal(80);
      expect(connection.enqueue(frameOf(20, 'd')).outcome).to.equal('buffered');
      sink.progress(20);
      expect(connection.enqueue(frameOf(20, 'e')).outcome).to.equal('buffered');
      sink.drain();
      expect(dataIn(sink.text).map(data => data[0])).to.deep.equal(['a', 'b', 'd', 'e']);
      expect(connection.state.kind).to.equal('open');
    });

    it('drops the newest frames of the connection that holds most when the process budget is full', () => {
      bench = new Bench({ policy: 'drop-newest', maxBytes: 1000, maxTotalBytes: 1000 });
      const [one, two] = [blocked(), blocked()];
      for (const fill of ['b', 'c', 'd']) one.connection.enqueue(frameOf(300, fill));
      expect(one.connection.enqueue(frameOf(61)).outcome).to.equal('rejected');
      expect(two.connection.enqueue(frameOf(61)).outcome).to.equal('buffered');
      expect(bench.used).to.equal(20 + 600 + 20 + 61);
      one.sink.drain();
      expect(dataIn(one.sink.text).map(data => data[0])).to.deep.equal(['a', 'b', 'c']);
    });
  });

  describe('under drop-oldest', () => {
    it('drops the oldest waiting frames, and only as many as needed', () => {
      bench = new Bench({ policy: 'drop-oldest', maxBytes: 100 });
      const { connection, sink } = blocked();
      for (const fill of ['b', 'c', 'd', 'e']) connection.enqueue(frameOf(20, fill));
      expect(connection.enqueue(frameOf(21, 'f')).outcome).to.equal('buffered');
      expect(connection.sendBufferBytes).to.equal(81);
      sink.drain();
      expect(dataIn(sink.text).map(data => data[0])).to.deep.equal(['a', 'd', 'e', 'f']);
      expect(bench.used).to.equal(0);
    });

    it('never drops the rest of a frame of which the client has a part', () => {
      bench = new Bench({ policy: 'drop-oldest', maxBytes: PIECE * 3 });
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(PIECE * 2, 'a'));
      connection.enqueue(frameOf(PIECE / 2, 'b'));
      connection.enqueue(frameOf(PIECE / 2, 'c'));
      expect(connection.enqueue(frameOf(PIECE, 'd')).outcome).to.equal('buffered');
      sink.drain();
      expect(dataIn(sink.text).map(data => [data[0], data.length])).to.deep.equal([
        ['a', PIECE * 2 - 8],
        ['d', PIECE - 8],
      ]);
    });

    it('drops nothing for a frame that would not fit even then', () => {
      bench = new Bench({ policy: 'drop-oldest', maxBytes: 100 });
      const { connection, sink } = blocked();
      connection.enqueue(frameOf(40, 'b'));
      connection.enqueue(frameOf(40, 'c'));
      expect(connection.enqueue(frameOf(81, 'd'))).to.deep.equal({
        outcome: 'rejected',
        code: 'SEND_BUFFER_FULL',
      });
      expect(connection.enqueue(frameOf(80, 'e')).outcome).to.equal('buffered');
      sink.drain();
      expect(dataIn(sink.text).map(data => data[0])).to.deep.equal(['a', 'e']);
    });

    it('drops the oldest frames of the connection that holds most when the process budget is full', () => {
      bench = new Bench({ policy: 'drop-oldest', maxBytes: 1000, maxTotalBytes: 1000 });
      const [one, two] = [blocked(), blocked()];
      two.connection.enqueue(frameOf(40, 'b'));
      one.connection.enqueue(frameOf(420, 'x'));
      one.connection.enqueue(frameOf(500, 'y'));
      expect(two.connection.enqueue(frameOf(41, 'c')).outcome).to.equal('buffered');
      expect(bench.used).to.equal(20 + 500 + 20 + 40 + 41);
      for (const { sink } of [one, two]) sink.drain();
      expect(dataIn(one.sink.text).map(data => data[0])).to.deep.equal(['a', 'y']);
      expect(dataIn(two.sink.text).map(data => data[0])).to.deep.equal(['a', 'b', 'c']);
    });

    it('takes no longer per event when more events wait', () => {
      const msFor = (waiting: number): number => {
        bench = new Bench({ policy: 'drop-oldest', maxBytes: waiting * 30, maxTotalBytes: 1e9 });
        const { connection } = blocked();
        for (let index = 0; index < waiting; index += 1) connection.enqueue(entry(index + 1));
        const before = performance.now();
        for (let index = 0; index < 20_000; index += 1) connection.enqueue(entry(waiting + index + 1));
        return performance.now() - before;
      };
      msFor(100);
      expect(msFor(100_000)).to.be.below(20 * msFor(100));
    });

    it('never holds more than the newest frames of a flood', () => {
      bench = new Bench({ policy: 'drop-oldest', maxBytes: 1000 });
      const { connection, sink } = blocked();
      for (let index = 0; index < 10_000; index += 1) {
        connection.enqueue(frame(String(index)));
        expect(connection.sendBufferBytes).to.be.at.most(1000);
      }
      sink.drain();
      const numbers = dataIn(sink.text).slice(1).map(Number);
      expect(numbers.at(-1)).to.equal(9999);
      expect(numbers).to.deep.equal(
        Array.from({ length: numbers.length }, (_, index) => 10_000 - numbers.length + index),
      );
      // A frame of 4 digits has 12 bytes; 20 are the socket's.
      expect(numbers).to.have.length(Math.floor(980 / 12));
    });
  });

  describe('a socket that asks for no pause', () => {
    it('counts in the process budget with what it has not written, until it has', () => {
      bench = new Bench({ maxBytes: 1000 });
      const { connection, sink } = bench.open();
      sink.block(10_000);
      connection.deliver(frameOf(300));
      expect(bench.used).to.equal(300);
      sink.progress(300);
      connection.checkStall(performance.now());
      expect(bench.used).to.equal(0);
    });
  });

  describe('large frames', () => {
    beforeEach(() => {
      bench = new Bench({ maxBytes: PIECE * 10 });
    });

    it('leave in pieces, one for each time the socket drains', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(PIECE * 2 + 100, 'a'));
      expect(sink.writes.map(({ length }) => length)).to.deep.equal([PIECE]);
      sink.drain(true);
      sink.drain(true);
      expect(sink.writes.map(({ length }) => length)).to.deep.equal([PIECE, PIECE, 100]);
      expect(dataIn(sink.text)).to.deep.equal(['a'.repeat(PIECE * 2 + 92)]);
    });

    it('leave at once when the socket takes every piece', () => {
      const { connection, sink } = bench.open();
      expect(connection.deliver(frameOf(PIECE * 2 + 100)).outcome).to.equal('delivered');
      expect(sink.writes.map(({ length }) => length)).to.deep.equal([PIECE, PIECE, 100]);
      expect(bench.used).to.equal(0);
    });

    it('are buffered while a piece of them waits', () => {
      const { connection, sink } = bench.open();
      sink.block();
      expect(connection.deliver(frameOf(PIECE * 2)).outcome).to.equal('buffered');
      expect([connection.sendBufferBytes, bench.used]).to.deep.equal([PIECE * 2, PIECE * 2]);
    });

    it('are followed by what came later, small frames joined', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.enqueue(frameOf(PIECE * 2, 'a'));
      for (const fill of ['b', 'c', 'd']) connection.enqueue(frameOf(100, fill));
      sink.drain(true);
      sink.drain(true);
      expect(dataIn(sink.text).map(data => data[0])).to.deep.equal(['a', 'b', 'c', 'd']);
      expect(sink.writes.map(({ length }) => length)).to.deep.equal([PIECE, PIECE, 300]);
    });

    it('are not copied', () => {
      const { connection, sink } = bench.open();
      const large = frameOf(PIECE * 3);
      connection.deliver(large);
      expect(new Set(sink.writes.map(({ buffer }) => buffer))).to.deep.equal(new Set([large.bytes.buffer]));
    });

    it('are forgotten once they have left', async () => {
      const { connection } = bench.open();
      const large = frameOf(PIECE * 3);
      const batch = bench.environment.scheduler.empty.append(large);
      connection.enqueue(large);
      await turn();
      expect(bench.environment.scheduler.empty.append(large)).to.not.equal(batch);
    });
  });

  describe('sendBufferBytes', () => {
    it('counts accepted bytes that the sink has not written, in every queue', async () => {
      bench = new Bench();
      const { connection, sink } = bench.open();
      connection.enqueue(frameOf(10));
      expect(connection.sendBufferBytes).to.equal(10);
      await turn();
      expect(connection.sendBufferBytes).to.equal(0);
      sink.block();
      connection.deliver(frameOf(50));
      connection.enqueue(frameOf(30));
      expect(connection.sendBufferBytes).to.equal(80);
      sink.progress(15);
      expect(connection.sendBufferBytes).to.equal(65);
    });
  });
});
