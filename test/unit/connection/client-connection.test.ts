import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import sinon from 'sinon';
import { REMEMBER_MS } from '../../../src/connection/direct-send.js';
import { SseError } from '../../../src/errors.js';
import { Bench, type Client, dataIn, eventsIn, frame, frameOf } from './connection-bench.js';

describe('ClientConnection', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => {
    bench.stop();
  });

  describe('identity', () => {
    it('has a token that no other connection of the process has', () => {
      const tokens = Array.from({ length: 100 }, () => bench.opening('same').connection.token);
      expect(new Set(tokens).size).to.equal(100);
      for (const token of tokens) expect(token).to.match(/^[0-9a-z]{1,16}$/);
    });

    it('has no fencing token before it is registered, and then the one of its registration', () => {
      const { connection } = bench.opening();
      expect(connection.fencingToken).to.equal(undefined);
      connection.fencingToken = 7;
      expect(connection.fencingToken).to.equal(7);
    });

    it('is subscribed to what the store adds and not to what it removes', () => {
      const { connection } = bench.opening();
      expect([...connection.topics]).to.deep.equal([]);
      connection.removeTopic('a');
      connection.addTopic('a');
      connection.addTopic('b');
      connection.addTopic('a');
      connection.removeTopic('a');
      expect([...connection.topics]).to.deep.equal(['b']);
    });
  });

  describe('enqueue', () => {
    it('writes nothing before the end of the tick, and then everything in one write', async () => {
      const { connection, sink } = bench.open();
      for (const name of ['a', 'b', 'c']) connection.enqueue(frame(name));
      expect(sink.writes).to.deep.equal([]);
      await turn();
      expect(sink.writes).to.have.length(1);
      expect(dataIn(sink.text)).to.deep.equal(['a', 'b', 'c']);
    });

    it('does not let one connection see the events of another', async () => {
      const [one, two] = [bench.open(), bench.open()];
      one.connection.enqueue(frame('both'));
      two.connection.enqueue(frame('both'));
      one.connection.enqueue(frame('only one'));
      await turn();
      expect(dataIn(one.sink.text)).to.deep.equal(['both', 'only one']);
      expect(dataIn(two.sink.text)).to.deep.equal(['both']);
    });

    it('writes at once when a tick has brought a whole piece', () => {
      const { connection, sink } = bench.open();
      connection.enqueue(frameOf(40_000, 'a'));
      expect(sink.writes).to.deep.equal([]);
      connection.enqueue(frameOf(25_536, 'b'));
      expect(sink.writes.map(({ length }) => length)).to.deep.equal([65_536]);
    });

    it('asks for one flush per tick, whatever the number of events', async () => {
      const { connection, sink } = bench.open();
      await turn();
      const { scheduler } = bench.environment;
      const schedule = scheduler.schedule.bind(scheduler);
      let asked = 0;
      scheduler.schedule = flushable => {
        asked += 1;
        schedule(flushable);
      };
      for (let tick = 1; tick <= 2; tick += 1) {
        for (let index = 0; index < 100; index += 1) {
          connection.deliver(frame('a'));
          connection.enqueue(frame('b'));
        }
        await turn();
        expect([asked, dataIn(sink.text).length]).to.deep.equal([tick, tick * 200]);
      }
    });

    it('keeps its order when a write causes the next', async () => {
      const [one, two] = [bench.open(), bench.open()];
      one.sink.onNextWrite(() => {
        one.connection.enqueue(frame('b'));
        two.connection.enqueue(frame('y'));
      });
      one.connection.enqueue(frame('a'));
      two.connection.enqueue(frame('x'));
      await turn();
      expect(dataIn(one.sink.text)).to.deep.equal(['a', 'b']);
      expect(dataIn(two.sink.text)).to.deep.equal(['x', 'y']);
    });
  });

  describe('deliver', () => {
    it('is delivered when the socket took the bytes', () => {
      const { connection, sink } = bench.open();
      expect(connection.deliver(frame('a'))).to.deep.equal({ outcome: 'delivered' });
      expect(dataIn(sink.writtenText)).to.deep.equal(['a']);
    });

    it('writes what was enqueued before ahead of it, in the same write', () => {
      const { connection, sink } = bench.open();
      connection.enqueue(frame('a'));
      connection.deliver(frame('b'));
      expect(dataIn(sink.text)).to.deep.equal(['a', 'b']);
      expect(sink.writes).to.have.length(1);
    });

    it('is buffered when the socket accepted the bytes but did not take them', () => {
      const { connection, sink } = bench.open();
      sink.block(1000);
      expect(connection.deliver(frame('a'))).to.deep.equal({ outcome: 'buffered' });
      expect(dataIn(sink.writtenText)).to.deep.equal([]);
    });

    it('is buffered when earlier bytes wait, and stays behind them', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      expect(connection.deliver(frame('b'))).to.deep.equal({ outcome: 'buffered' });
      expect(dataIn(sink.text)).to.deep.equal(['a']);
      sink.drain();
      expect(dataIn(sink.writtenText)).to.deep.equal(['a', 'b']);
    });

    it('keeps its order when the socket blocks in the middle of a tick', async () => {
      const { connection, sink } = bench.open();
      connection.enqueue(frame('a'));
      sink.block();
      connection.deliver(frame('b'));
      connection.enqueue(frame('c'));
      connection.deliver(frame('d'));
      await turn();
      expect(dataIn(sink.text)).to.deep.equal(['a', 'b']);
      sink.drain();
      connection.deliver(frame('e'));
      expect(dataIn(sink.text)).to.deep.equal(['a', 'b', 'c', 'd', 'e']);
    });

    it('is rejected with SEND_BUFFER_FULL when it does not fit', () => {
      bench = new Bench({ maxBytes: 50, policy: 'drop-newest' });
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(50));
      expect(connection.deliver(frameOf(8))).to.deep.equal({
        outcome: 'rejected',
        code: 'SEND_BUFFER_FULL',
      });
    });

    const ends: readonly (readonly [name: string, end: (client: Client) => void])[] = [
      [
        'was closed',
        ({ connection }) => {
          connection.close();
        },
      ],
      [
        'was cut',
        ({ connection }) => {
          connection.cut('failed');
        },
      ],
      [
        'lost its client',
        ({ sink }) => {
          sink.leave();
        },
      ],
      [
        'lost its socket, without knowing yet',
        ({ sink }) => {
          sink.break();
        },
      ],
    ];
    for (const [name, end] of ends) {
      it(`is closed when the connection ${name}`, async () => {
        const client = bench.open();
        end(client);
        const before = client.sink.text;
        expect(client.connection.deliver(frame('a'))).to.deep.equal({ outcome: 'not-connected' });
        await turn();
        expect(client.connection.enqueue(frame('b'))).to.deep.equal({ outcome: 'not-connected' });
        await turn();
        expect(client.sink.text).to.equal(before);
      });
    }

    it('is closed when the socket is lost while earlier bytes wait', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      sink.break();
      expect(connection.deliver(frame('b'))).to.deep.equal({ outcome: 'not-connected' });
    });

    it('is closed when the write itself finds the socket broken', async () => {
      const { connection, sink } = bench.open();
      sink.onNextWrite(() => {
        sink.break();
      });
      expect(connection.deliver(frame('a'))).to.deep.equal({ outcome: 'not-connected' });
      await turn();
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'client' });
    });
  });

  describe('deliverOnce', () => {
    it('writes a message id once and answers it as before', () => {
      const { connection, sink } = bench.open();
      const first = connection.deliverOnce('m1', frame('a'));
      sink.block();
      expect(connection.deliverOnce('m1', frame('a'))).to.deep.equal({ ...first, duplicate: true });
      expect(dataIn(sink.text)).to.deep.equal(['a']);
    });

    it('writes each message id', () => {
      const { connection, sink } = bench.open();
      connection.deliverOnce('m1', frame('a'));
      connection.deliverOnce('m2', frame('a'));
      expect(dataIn(sink.text)).to.deep.equal(['a', 'a']);
    });

    it('answers a buffered message as buffered, although it has left meanwhile', () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliverOnce('m1', frame('a'));
      sink.drain();
      expect(connection.deliverOnce('m1', frame('a'))).to.deep.equal({ outcome: 'buffered', duplicate: true });
      expect(dataIn(sink.text)).to.deep.equal(['a']);
    });

    it('remembers what it held while opening', () => {
      const { connection } = bench.opening();
      connection.deliverOnce('m1', frame('a'));
      expect(connection.deliverOnce('m1', frame('a'))).to.deep.equal({ outcome: 'buffered', duplicate: true });
      expect(connection.sendBufferBytes).to.equal(frame('a').bytes.length);
    });

    it('takes a rejected message when it comes again and fits', () => {
      bench = new Bench({ maxBytes: 50, policy: 'drop-newest' });
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frameOf(50, 'a'));
      expect(connection.deliverOnce('m1', frame('b')).outcome).to.equal('rejected');
      sink.drain();
      expect(connection.deliverOnce('m1', frame('b')).outcome).to.equal('delivered');
      expect(dataIn(sink.text).at(-1)).to.equal('b');
    });

    it('remembers apart from other connections', () => {
      const [one, two] = [bench.open(), bench.open()];
      one.connection.deliverOnce('m1', frame('a'));
      two.connection.deliverOnce('m1', frame('a'));
      expect(dataIn(two.sink.text)).to.deep.equal(['a']);
    });

    it('writes a message id again after a minute', () => {
      const clock = sinon.useFakeTimers({ toFake: ['Date', 'performance'] });
      try {
        const { connection, sink } = bench.open();
        connection.deliverOnce('m1', frame('a'));
        clock.tick(REMEMBER_MS + 1);
        connection.deliverOnce('m1', frame('a'));
        expect(dataIn(sink.text)).to.deep.equal(['a', 'a']);
      } finally {
        clock.restore();
      }
    });

    it('is closed once the connection has ended, for known message ids as well', () => {
      const { connection } = bench.open();
      connection.deliverOnce('m1', frame('a'));
      connection.close();
      expect(connection.deliverOnce('m1', frame('a'))).to.deep.equal({ outcome: 'not-connected' });
    });
  });

  describe('deliverAll', () => {
    const messages = (...names: string[]) => names.map(name => ({ messageId: name, frame: frame(name) }));
    const outcomes = (results: readonly { outcome: string }[]) => results.map(({ outcome }) => outcome);

    it('writes small messages at once, in one write behind the frames of this tick', () => {
      const { connection, sink } = bench.open();
      connection.enqueue(frame('before'));
      expect(outcomes(connection.deliverAll(messages('a', 'b', 'c')))).to.deep.equal(Array(3).fill('delivered'));
      expect(sink.writes).to.have.length(2);
      expect(dataIn(sink.text)).to.deep.equal(['before', 'a', 'b', 'c']);
    });

    it('writes a message id once, whether it was written before or comes twice', () => {
      const { connection, sink } = bench.open();
      connection.deliverOnce('a', frame('a'));
      const results = connection.deliverAll(messages('b', 'a', 'b', 'c'));
      expect(results).to.deep.equal([
        { outcome: 'delivered' },
        { outcome: 'delivered', duplicate: true },
        { outcome: 'delivered', duplicate: true },
        { outcome: 'delivered' },
      ]);
      expect(dataIn(sink.text)).to.deep.equal(['a', 'b', 'c']);
    });

    it('answers each of a socket that fills up for itself', () => {
      bench = new Bench({ maxBytes: 40_000, policy: 'drop-newest' });
      const { connection, sink } = bench.open();
      sink.block();
      const large = (messageId: string) => ({ messageId, frame: frameOf(15_000, messageId) });
      const results = connection.deliverAll([large('a'), large('b'), large('c'), large('d'), ...messages('e')]);
      expect(outcomes(results)).to.deep.equal(['buffered', 'buffered', 'rejected', 'rejected', 'buffered']);
      sink.drain();
      expect(outcomes(connection.deliverAll([large('a'), large('c')]))).to.deep.equal(['buffered', 'delivered']);
    });

    it('writes large messages piece by piece, each with a result of its own', () => {
      const { connection, sink } = bench.open();
      const large = (messageId: string) => ({ messageId, frame: frameOf(15_000, messageId) });
      connection.deliverAll([large('a'), large('b'), ...messages('c', 'd')]);
      expect(sink.writes).to.have.length(2);
      const write = sink.write.bind(sink);
      sink.write = bytes => {
        if (bytes.includes('f')) throw new Error('broken');
        return write(bytes);
      };
      expect(outcomes(connection.deliverAll([large('e'), large('f')]))).to.deep.equal(['delivered', 'not-connected']);
    });

    it('says that nothing was delivered by a write that closed the connection, and remembers nothing', () => {
      const { connection, sink } = bench.open();
      sink.write = () => {
        throw new Error('broken');
      };
      expect(outcomes(connection.deliverAll(messages('a', 'b')))).to.deep.equal(['not-connected', 'not-connected']);
      expect(connection.results?.recall('a', performance.now())).to.equal(undefined);
    });
  });

  describe('send', () => {
    it('sends an event and answers with a receipt', () => {
      const { connection, sink } = bench.open('client-1');
      const receipt = connection.send('note', { a: 1 }, { retry: 5 });
      expect(receipt).to.include({
        outcome: 'delivered',
        connectionId: 'client-1',
        nodeId: 'node-a',
        messageId: 'm-1',
      });
      expect(receipt.ms).to.be.within(0, 1000);
      expect(eventsIn(sink.text)).to.deep.equal([{ event: 'note', data: '{"a":1}', id: undefined }]);
    });

    it('gives each send a message id of its own', () => {
      const { connection } = bench.open();
      const ids = Array.from({ length: 10 }, () => connection.send('a', 'x').messageId);
      expect(new Set(ids).size).to.equal(10);
    });

    it('answers buffered, rejected and not-connected as it is', () => {
      bench = new Bench({ maxBytes: 100, policy: 'drop-newest' });
      const { connection, sink } = bench.open();
      sink.block();
      const buffered = connection.send('a', 'x'.repeat(50));
      const rejected = connection.send('a', 'x'.repeat(50));
      connection.close();
      const notConnected = connection.send('a', 'x');
      expect([buffered.outcome, rejected.outcome, notConnected.outcome]).to.deep.equal([
        'buffered',
        'rejected',
        'not-connected',
      ]);
      expect(rejected).to.include({ code: 'SEND_BUFFER_FULL' });
    });

    it('answers data over the limit as rejected, and stays open', () => {
      bench = new Bench({ maxEventBytes: 10 });
      const { connection, sink } = bench.open();
      expect(connection.send('a', 'x'.repeat(11))).to.include({
        outcome: 'rejected',
        code: 'EVENT_TOO_LARGE',
      });
      expect([sink.writes.length, connection.state.kind]).to.deep.equal([0, 'open']);
    });

    it('throws for an invalid event and writes nothing', async () => {
      const [connection, other] = [bench.open(), bench.open()];
      const cycle: Record<string, unknown> = {};
      cycle['self'] = cycle;
      const hostile: readonly (readonly [event: string, data: unknown])[] = [
        ['a\nb', 'x'],
        ['connected', 'x'],
        ['a', cycle],
        ['a', 1n],
        [
          'a',
          {
            toJSON: () => {
              throw new Error('hostile');
            },
          },
        ],
      ];
      connection.connection.enqueue(frame('before'));
      for (const [event, data] of hostile) {
        let thrown: unknown;
        try {
          connection.connection.send(event, data);
        } catch (error) {
          thrown = error;
        }
        expect(SseError.is(thrown)).to.be.true;
      }
      other.connection.enqueue(frame('other'));
      await turn();
      expect(dataIn(connection.sink.text)).to.deep.equal(['before']);
      expect(dataIn(other.sink.text)).to.deep.equal(['other']);
    });

    it('keeps its order when the data sends something itself', () => {
      const { connection, sink } = bench.open();
      connection.send('a', { toJSON: () => connection.send('a', 'inner').outcome });
      expect(dataIn(sink.text)).to.deep.equal(['inner', '"delivered"']);
    });

    it('is not-connected when the data closes the connection', () => {
      const { connection, sink } = bench.open();
      const data = {
        toJSON: () => {
          connection.close('closed');
          return 1;
        },
      };
      expect(connection.send('a', data).outcome).to.equal('not-connected');
      expect(dataIn(sink.text)).to.deep.equal(['{"reason":"closed"}']);
    });
  });

  describe('comment', () => {
    it('writes a comment in order with the events, and fires none', async () => {
      const { connection, sink } = bench.open();
      connection.enqueue(frame('a'));
      connection.comment('one\ntwo');
      connection.enqueue(frame('b'));
      await turn();
      expect(sink.text).to.equal('data: a\n\n: one\n: two\ndata: b\n\n');
      expect(dataIn(sink.text)).to.deep.equal(['a', 'b']);
    });

    it('does nothing once the connection has ended', async () => {
      const { connection, sink } = bench.open();
      connection.cut('failed');
      connection.comment('late');
      await turn();
      expect(sink.writes).to.deep.equal([]);
    });
  });

  describe('drained', () => {
    const settled = async (promise: Promise<void>): Promise<boolean> => {
      let done = false;
      void promise.then(() => (done = true));
      await turn();
      return done;
    };

    it('resolves at once when the client can take more', async () => {
      expect(await settled(bench.open().connection.drained())).to.be.true;
    });

    it('waits while the socket is blocked, and all waiters resolve when it drains', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      const waiters = [connection.drained(), connection.drained()];
      expect(await settled(Promise.race(waiters))).to.be.false;
      sink.drain();
      expect(await settled(Promise.all(waiters).then(() => undefined))).to.be.true;
    });

    it('goes on waiting when what waited blocks the socket again', async () => {
      const { connection, sink } = bench.open();
      sink.block();
      connection.deliver(frame('a'));
      connection.deliver(frame('b'));
      const drained = connection.drained();
      sink.drain(true);
      expect(await settled(drained)).to.be.false;
      sink.drain();
      expect(await settled(drained)).to.be.true;
    });

    const ends: readonly (readonly [name: string, end: (client: Client) => void])[] = [
      [
        'is closed',
        ({ connection }) => {
          connection.close();
        },
      ],
      [
        'is cut',
        ({ connection }) => {
          connection.cut('failed');
        },
      ],
      [
        'loses its client',
        ({ sink }) => {
          sink.leave();
        },
      ],
    ];
    for (const [name, end] of ends) {
      it(`resolves when the connection ${name}, and at once afterwards`, async () => {
        const client = bench.open();
        client.sink.block();
        client.connection.deliver(frame('a'));
        const drained = client.connection.drained();
        end(client);
        expect(await settled(drained)).to.be.true;
        expect(await settled(client.connection.drained())).to.be.true;
      });
    }
  });
});
