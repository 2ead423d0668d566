import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import fc from 'fast-check';
import { SharedPages } from '../../../src/connection/pages.js';
import type { Frame } from '../../../src/contracts/events.js';
import { FakeSink } from '../../support/fake-sink.js';
import { Bench, dataIn, entry, FIRST, frame, frameOf, START } from './connection-bench.js';

const PIECE = 64 * 1024;

describe('ClientConnection while opening', () => {
  let bench: Bench;

  beforeEach(() => {
    bench = new Bench();
  });
  afterEach(() => {
    bench.stop();
  });

  it('writes nothing before it is opened', async () => {
    const { connection, sink } = bench.opening();
    connection.deliver(frame('a'));
    connection.enqueue(frame('b'));
    await turn();
    expect(sink.calls).to.deep.equal([]);
    expect(connection.state).to.deep.equal({ kind: 'opening' });
  });

  it('writes the head, then the first event', async () => {
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    await turn();
    expect(sink.calls).to.deep.equal(['open', 'write']);
    expect(sink.text).to.equal(FIRST.bytes.toString());
  });

  it('holds events, and answers buffered', () => {
    const { connection } = bench.opening();
    expect([connection.deliver(frame('a')), connection.enqueue(frame('b'))]).to.deep.equal([
      { outcome: 'buffered' },
      { outcome: 'buffered' },
    ]);
    expect(connection.sendBufferBytes).to.equal(frame('a').bytes.length * 2);
  });

  it('counts what it holds in the process budget', () => {
    const { connection } = bench.opening();
    connection.deliver(frameOf(500));
    expect(bench.used).to.equal(500);
  });

  it('writes what is replayed ahead of what it holds', async () => {
    const { connection, sink } = bench.opening();
    connection.deliver(frame('held'));
    connection.open(FIRST);
    connection.replay(frame('replayed'));
    await turn();
    expect(dataIn(sink.text)).to.deep.equal(['first', 'replayed']);
    connection.goLive(START);
    expect(dataIn(sink.text)).to.deep.equal(['first', 'replayed', 'held']);
  });

  it('drops held entries up to the end of the replay, and nothing else', () => {
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    for (const held of [entry(-1), frame('direct'), entry(0), entry(1), entry(2)]) {
      connection.enqueue(held);
    }
    connection.goLive(START);
    expect(dataIn(sink.text)).to.deep.equal(['first', 'direct', 'entry 1', 'entry 2']);
    expect(bench.used).to.equal(0);
  });

  it('drops entries of the log that come again once it is open', async () => {
    const { connection, sink } = bench.open();
    const answers = [0, 1, 1, 2, 1].map(offset => connection.enqueue(entry(offset)).outcome);
    await turn();
    expect(dataIn(sink.text)).to.deep.equal(['entry 1', 'entry 2']);
    expect(answers).to.deep.equal(Array(5).fill('delivered'));
  });

  it('is open after it went live, and writes at once', () => {
    const { connection, sink } = bench.open();
    expect(connection.state).to.deep.equal({ kind: 'open' });
    connection.deliver(frame('now'));
    expect(dataIn(sink.text)).to.deep.equal(['now']);
  });

  it('writes what it held when it goes live, without waiting for the tick', () => {
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    connection.deliver(frame('held'));
    connection.goLive(START);
    expect(dataIn(sink.text)).to.deep.equal(['first', 'held']);
  });

  it('goes live behind a socket that is blocked, in order', async () => {
    const { connection, sink } = bench.opening();
    sink.block();
    connection.open(FIRST);
    connection.deliver(frame('held 1'));
    await turn();
    connection.replay(frame('replayed'));
    connection.deliver(frame('held 2'));
    connection.goLive(START);
    connection.deliver(frame('live'));
    expect(dataIn(sink.text)).to.deep.equal(['first']);
    sink.drain();
    expect(dataIn(sink.text)).to.deep.equal(['first', 'replayed', 'held 1', 'held 2', 'live']);
    expect(bench.used).to.equal(0);
  });

  it('keeps holding when its socket drains', async () => {
    const { connection, sink } = bench.opening();
    sink.block();
    connection.open(FIRST);
    connection.deliver(frame('held'));
    await turn();
    sink.drain();
    await turn();
    expect(dataIn(sink.text)).to.deep.equal(['first']);
    expect(bench.used).to.equal(frame('held').bytes.length);
  });

  it('asks a replay to wait while its socket is blocked, and only then', async () => {
    const { connection, sink } = bench.opening();
    connection.deliver(frame('held'));
    connection.open(FIRST);
    await connection.written();
    sink.block();
    connection.replay(frame('replayed'));
    await turn();
    let resumed = false;
    const waited = connection.written().then(() => (resumed = true));
    await turn();
    expect(resumed).to.be.false;
    sink.drain();
    await waited;
    expect(resumed).to.be.true;
  });

  it('counts a page that waits for its client in the process budget, and takes it whatever its size', async () => {
    bench = new Bench({ maxBytes: 100 });
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    await turn();
    sink.block();
    for (let index = 0; index < 5; index += 1) connection.replay(frameOf(60_000));
    expect(connection.deliver(frameOf(100)).outcome).to.equal('buffered');
    expect([bench.used, connection.sendBufferBytes]).to.deep.equal([300_100, 300_100]);
    sink.drain();
    expect([bench.used, connection.state.kind]).to.deep.equal([100, 'opening']);
  });

  it('writes a large replayed event in pieces, so that the progress of its client shows', async () => {
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    await turn();
    sink.block();
    connection.replay(frameOf(PIECE * 3));
    for (let piece = 1; piece <= 3; piece += 1) {
      expect([sink.writes.length, sink.pendingBytes]).to.deep.equal([piece + 1, PIECE]);
      sink.drain(true);
    }
    expect(bench.used).to.equal(0);
  });

  it('writes a page that many clients get in buffers that they share, behind what left before', async () => {
    const pages = new SharedPages();
    const frames = Array.from({ length: 5 }, () => frameOf(20_000));
    const written = [bench.opening(), bench.opening()].map(({ connection, sink }) => {
      connection.open(FIRST);
      // Each client has an array of its own.
      for (const piece of pages.piecesOf([...frames])) connection.replay(piece);
      return sink.writes;
    });
    const [one = [], other = []] = written;
    expect(one.map(bytes => bytes.length)).to.deep.equal([FIRST.bytes.length, 60_000, 40_000]);
    expect(other.map((bytes, at) => bytes === one[at])).to.deep.equal([true, true, true]);
    expect(Buffer.concat(one)).to.deep.equal(Buffer.concat([FIRST, ...frames].map(({ bytes }) => bytes)));
    await turn();
  });

  it('shares nothing of pages that differ in one frame', () => {
    const pages = new SharedPages();
    const frames = Array.from({ length: 5 }, () => frameOf(20_000));
    const [first] = pages.piecesOf(frames);
    const others = [
      frames.slice(0, 4),
      frames.slice(1),
      [...frames, frameOf(11)],
      [...frames.slice(0, 4), frameOf(12)],
    ];
    for (const page of others) {
      expect(pages.piecesOf(page)[0]).not.to.equal(first);
      expect(Buffer.concat(pages.piecesOf(page).map(({ bytes }) => bytes))).to.deep.equal(
        Buffer.concat(page.map(({ bytes }) => bytes)),
      );
    }
    expect(pages.piecesOf([...frames])[0]).to.equal(first);
  });

  it('cuts a page into pieces, a large event apart, and leaves a small page as it is', () => {
    const sizes = [40_000, 20_000, 10_000, PIECE * 2, 11, 12];
    const page = sizes.map((size, at) => ({ ...frameOf(size), position: entry(at + 1).position ?? START }));
    const pieces = new SharedPages().piecesOf(page);
    expect(pieces.map(({ bytes, position }) => [bytes.length, position])).to.deep.equal([
      [60_000, page[1]?.position],
      [10_000, page[2]?.position],
      [PIECE * 2, page[3]?.position],
      [23, page[5]?.position],
    ]);
    const small = [frameOf(100), frameOf(200)];
    expect(new SharedPages().piecesOf(small)).to.equal(small);
  });

  it('holds what is inserted within sendBuffer.maxBytes, ahead of what it holds', async () => {
    bench = new Bench({ maxBytes: 100, policy: 'drop-newest' });
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    connection.deliver(frame('held'));
    await turn();
    sink.block();
    expect(connection.insert(frame('snapshot 1')).outcome).to.equal('buffered');
    await turn();
    const outcomes = [40, 40, 40].map(size => connection.insert(frameOf(size)).outcome);
    expect(outcomes).to.deep.equal(['buffered', 'buffered', 'rejected']);
    sink.drain();
    connection.goLive(START);
    const received = dataIn(sink.text).map(data => data.replace(/x+/, 'x'));
    expect(received).to.deep.equal(['first', 'snapshot 1', 'x', 'x', 'held']);
  });

  it('gives up when it would have to hold more than its bound', () => {
    bench = new Bench({ maxBytes: 100 });
    const { connection, sink } = bench.opening();
    expect(connection.deliver(frameOf(100)).outcome).to.equal('buffered');
    expect(connection.deliver(frameOf(8))).to.deep.equal({
      outcome: 'rejected',
      code: 'SEND_BUFFER_FULL',
    });
    expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'slow' });
    expect([bench.used, sink.calls]).to.deep.equal([0, []]);
  });

  it('leaves an unopened sink to its creator, however it ends', async () => {
    const endings = [bench.opening('close'), bench.opening('cut'), bench.opening('left')] as const;
    endings[0].connection.close('closed');
    endings[1].connection.cut('failed');
    endings[2].sink.leave();
    await turn();
    expect(endings.map(({ sink }) => sink.calls)).to.deep.equal([[], [], []]);
    expect(endings.map(({ connection }) => connection.state)).to.deep.equal([
      { kind: 'closed', reason: 'closed' },
      { kind: 'closed', reason: 'failed' },
      { kind: 'closed', reason: 'client' },
    ]);
  });

  it('notices a client that left before', async () => {
    const sink = new FakeSink();
    sink.leave();
    const { connection } = bench.opening('gone', sink);
    expect(connection.state.kind).to.equal('opening');
    await turn();
    expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'client' });
  });

  it('does not go live once it has ended', async () => {
    bench = new Bench({ heartbeat: 1000, maxAge: 1000 });
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    connection.cut('failed');
    connection.replay(frame('late'));
    connection.goLive(START);
    await turn();
    expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'failed' });
    expect(sink.writes).to.deep.equal([]);
    expect([
      [...bench.environment.wheel!.connections()].length,
      [...bench.environment.watchdog.connections()].length,
    ]).to.deep.equal([0, 0]);
  });

  it('closes with its last event behind what was replayed, and without what it held', async () => {
    const { connection, sink } = bench.opening();
    connection.open(FIRST);
    connection.replay(frame('replayed'));
    connection.deliver(frame('held'));
    connection.close('superseded');
    await turn();
    expect(dataIn(sink.text)).to.deep.equal(['first', 'replayed', '{"reason":"superseded"}']);
    expect(sink.ended).to.be.true;
  });

  it('releases held frames as soon as it closes, although its socket is blocked', async () => {
    const { connection, sink } = bench.opening();
    sink.block();
    connection.open(FIRST);
    await turn();
    connection.deliver(frameOf(5000));
    connection.close();
    expect(bench.used).to.be.lessThan(200);
    sink.drain();
    await turn();
    expect([sink.ended, bench.used]).to.deep.equal([true, 0]);
  });

  it('gives the client first, replayed, held and live frames in this order, whatever happens meanwhile', async () => {
    bench = new Bench({ maxBytes: 10_000_000 });
    type Step = 'replay' | 'hold' | 'hold-entry' | 'block' | 'drain' | 'tick';
    const steps = fc.array(
      fc.tuple(
        fc.constantFrom<Step>('replay', 'hold', 'hold-entry', 'block', 'drain', 'tick'),
        fc.constantFrom(10, 300, 70_000, 140_000),
      ),
      { maxLength: 25 },
    );
    await fc.assert(
      fc.asyncProperty(steps, async opening => {
        const { connection, sink } = bench.opening();
        const [replayed, held, live]: [Frame[], Frame[], Frame[]] = [[FIRST], [], []];
        let offset = 0;
        connection.open(FIRST);
        for (const [step, size] of opening) {
          const next = frameOf(size, String(replayed.length + held.length).slice(-1));
          switch (step) {
            case 'replay':
              connection.replay(next);
              replayed.push(next);
              break;
            case 'hold':
              connection.enqueue(next);
              held.push(next);
              break;
            case 'hold-entry':
              offset += 1;
              connection.enqueue(entry(offset));
              if (offset > 2) held.push(entry(offset));
              break;
            case 'block':
              sink.block();
              break;
            case 'drain':
              sink.drain();
              break;
            case 'tick':
              await turn();
              break;
          }
        }
        connection.goLive({ ...START, sequence: START.sequence + 2 });
        for (const next of [frameOf(20, 'l'), frameOf(90_000, 'm')]) {
          connection.enqueue(next);
          live.push(next);
        }
        await turn();
        sink.drain();
        const expected = [...replayed, ...held, ...live].map(({ bytes }) => bytes);
        expect(sink.bytes.equals(Buffer.concat(expected))).to.be.true;
        expect(bench.used).to.equal(0);
        connection.cut('closed');
      }),
      { numRuns: 300 },
    );
  });
});
