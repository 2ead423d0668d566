import { expect } from 'chai';
import { useFakeTimers, type SinonFakeTimers } from 'sinon';
import { LogRun } from '../../../support/log/log-run.js';
import { turns } from '../../../support/turns.js';

const START = 1_800_000_000_000;

describe('LogFeed', () => {
  let clock: SinonFakeTimers;
  let run: LogRun;

  beforeEach(() => {
    clock = useFakeTimers({
      now: START,
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
  });
  afterEach(() => {
    run.stop();
    clock.restore();
  });

  /** Clients with these topics, all of them open on the first node. */
  async function opened(...clients: readonly (readonly string[])[]): Promise<void> {
    run = new LogRun(clients, clock, true);
    await run.start();
    for (const client of clients.keys()) run.join(client, first(), 0);
    await run.settle();
  }
  const first = () => {
    const [node] = run.nodes;
    if (node === undefined) throw new Error('no node');
    return node;
  };
  /** Publishes an entry whose frame does not arrive, although the subscription lives on. */
  function vanish(topic: string): void {
    run.publish(topic);
    first().connection?.drop();
  }
  const had = (client: number): string[] => run.streams[client]?.sink.data('message') ?? [];
  /** Breaks the subscription and lets it come back, up to the catch-up's call, which waits. */
  async function broken(): Promise<void> {
    first().connection?.break();
    await clock.tickAsync(600);
    first().connection?.carryOut();
    first().connection?.deliver(1_000);
    await turns();
    expect(run.redis.calls).to.equal(1);
  }
  async function deliver(): Promise<void> {
    first().connection?.deliver(100_000);
    await turns();
  }
  async function answer(): Promise<void> {
    run.redis.execute(0);
    run.redis.answer(0);
    await turns();
  }

  it('finds a frame that vanished by the next one, and delivers both', async () => {
    await opened(['a']);
    run.publish('a');
    await run.settle();
    vanish('a');
    run.publish('a');
    await run.settle();
    expect(had(0)).to.deep.equal(['a 1', 'a 2', 'a 3']);
    expect(await run.fault()).to.equal(undefined);
  });

  it('finds a last frame that vanished, which no later one reveals, within half a minute', async () => {
    await opened(['a']);
    vanish('a');
    const { connection } = first();
    // Probes arrive meanwhile, so the subscription seems well.
    for (let seconds = 0; seconds < 30; seconds += 1) {
      await clock.tickAsync(1_000);
      await deliver();
    }
    await run.settle();
    expect(had(0)).to.deep.equal(['a 1']);
    expect(first().connection).to.equal(connection);
  });

  it('resets no client of a quiet log, however long, nor with the first entry afterwards', async () => {
    await opened(['a'], ['b']);
    for (let minute = 0; minute < 120; minute += 1) {
      if (minute === 30) await run.lose(0);
      await clock.tickAsync(60_000);
      await run.settle();
    }
    run.publish('a');
    await run.settle();
    expect(run.streams.map(({ sink }) => sink.names)).to.deep.equal([['connected', 'message'], ['connected']]);
    expect(await run.fault()).to.equal(undefined);
  });

  it('reports a frame that vanished while newer entries were delivered', async () => {
    await opened(['a', 'b'], ['b']);
    run.publish('a');
    await run.settle();
    vanish('a');
    run.publish('b');
    run.publish('a');
    await run.settle();
    const { sink } = run.streams[0] ?? {};
    expect(sink?.names.slice(1)).to.deep.equal(['message', 'message', 'sse.reset', 'message']);
    expect(JSON.parse(sink?.data('sse.reset')[0] ?? '')).to.deep.include({
      reason: 'GAP',
      topics: ['a'],
    });
    expect(run.streams[1]?.sink.names).to.deep.equal(['connected', 'message']);
  });

  it('delivers what vanished of another topic together with such a frame, after the reset', async () => {
    await opened(['a', 'b'], ['b']);
    run.publish('a');
    await run.settle();
    vanish('a');
    run.publish('b');
    await run.settle();
    vanish('b');
    run.publish('a');
    await run.settle();
    expect(run.streams[0]?.sink.names.slice(1)).to.deep.equal([
      'message',
      'message',
      'sse.reset',
      'message',
      'message',
    ]);
    expect(had(0)).to.deep.equal(['a 1', 'b 3', 'b 4', 'a 5']);
    expect(had(1)).to.deep.equal(['b 3', 'b 4']);
  });

  it('resets a client that is ahead of a log that lost its end, and goes on from there', async () => {
    run = new LogRun([['a']], clock, false);
    await run.start();
    run.join(0, first(), 0);
    await run.settle();
    run.publish('a');
    run.publish('a');
    await run.settle();
    await run.lose(1);
    await run.settle();
    run.publish('a');
    await run.settle();
    const { sink } = run.streams[0] ?? {};
    expect(sink?.names.slice(1)).to.deep.equal(['message', 'message', 'sse.reset', 'message']);
    expect(sink?.data('sse.reset')[0]).to.include('"AHEAD"');
    expect(had(0)).to.deep.equal(['a 1', 'a 2', 'a 3']);
  });

  it('resets no client when the log has grown past its lost end before it was read', async () => {
    run = new LogRun([['a']], clock, false);
    await run.start();
    run.join(0, first(), 0);
    await run.settle();
    run.publish('a');
    await run.settle();
    await run.lose(1);
    await clock.tickAsync(600);
    first().connection?.carryOut();
    await deliver();
    run.publish('a');
    await run.settle();
    expect(had(0)).to.deep.equal(['a 1', 'a 2']);
    expect(run.streams[0]?.sink.names).to.not.include('sse.reset');
  });

  it('drops entries that it has delivered already', async () => {
    await opened(['a']);
    run.publish('a');
    await run.settle();
    const { position } = first().feed;
    await broken();
    run.publish('a');
    run.publish('a');
    await deliver();
    await answer();
    await answer();
    expect(had(0)).to.deep.equal(['a 1', 'a 2', 'a 3']);
    const sequence = position?.sequence ?? 0;
    expect(first().feed.position?.sequence).to.equal(sequence + 2);
    expect(first().delivered).to.deep.equal([sequence, sequence + 1, sequence + 2]);
  });

  it('ends a catch-up where the log ended when it began, though publishing goes on', async () => {
    await opened(['a']);
    await broken();
    for (let n = 0; n < 600; n += 1) run.publish('a');
    let calls = 0;
    for (; run.redis.calls > 0 && calls < 20; calls += 1) {
      await answer();
      for (let n = 0; n < 300; n += 1) run.publish('a');
    }
    expect(calls).to.equal(3);
    await deliver();
    expect(had(0)).to.have.length(run.published.length);
    expect(first().delivered).to.deep.equal(run.published.map(({ at }) => at.sequence));
  });

  it('reads once more when more frames arrived meanwhile than it holds', async () => {
    await opened(['a']);
    await broken();
    run.redis.execute(0);
    for (let n = 0; n < 10_050; n += 1) run.publish('a');
    await deliver();
    expect(first().feed.holdsForNothing).to.equal(false);
    run.redis.answer(0);
    await turns();
    while (run.redis.calls > 0) await answer();
    expect(had(0)).to.deep.equal(run.published.map(({ data }) => data));
  });

  it('subscribes a topic that joins in the middle of a catch-up only after it, else it is overtaken', async () => {
    run = new LogRun([['a'], ['b']], clock, true);
    await run.start();
    run.join(0, first(), 0);
    await run.settle();
    await broken();
    run.join(1, first(), 0);
    await turns();
    first().connection?.carryOut();
    await deliver();
    // The newcomer's question, if it was asked yet, comes before the entry, the catch-up's after it.
    run.redis.execute(1);
    run.redis.answer(0);
    await turns();
    run.publish('b');
    await deliver();
    await run.settle();
    expect(await run.fault()).to.equal(undefined);
  });

  it('resets no client for entries that came between two subscriptions, after a late frame of the first', async () => {
    run = new LogRun([['a'], ['b']], clock, true, { linger: 0 });
    await run.start();
    for (const client of [0, 1]) run.join(client, first(), 0);
    await run.settle();
    run.publish('b');
    run.leave(1);
    await turns();
    first().connection?.carryOut();
    run.publish('b');
    // The client joins again before the first of these entries arrives; the second one never does.
    run.join(1, first(), 0);
    await turns();
    await run.settle();
    run.publish('a');
    run.publish('b');
    await run.settle();
    const { sink } = run.streams[2] ?? {};
    expect(sink?.names).to.deep.equal(['connected', 'message']);
    expect(sink?.data('message')).to.deep.equal(['b 4']);
    expect(await run.fault()).to.equal(undefined);
  });

  it('has no position while its subscription is down, since entries may be missing', async () => {
    await opened(['a']);
    run.publish('a');
    await run.settle();
    expect(first().feed.position).to.not.equal(undefined);
    first().connection?.break();
    await turns();
    expect(first().up).to.equal(false);
    expect(first().feed.position).to.equal(undefined);
    await run.settle();
    expect(first().feed.position).to.not.equal(undefined);
  });

  it('catches up once more when the subscription broke and came back during a catch-up', async () => {
    await opened(['a']);
    await broken();
    run.redis.execute(0);
    first().connection?.break();
    run.publish('a');
    await clock.tickAsync(600);
    first().connection?.carryOut();
    await deliver();
    run.redis.answer(0);
    await turns();
    expect(first().feed.position).to.equal(undefined);
    await run.settle();
    expect(had(0)).to.deep.equal(['a 1']);
  });

  it('is behind when a catch-up takes longer than three seconds, until it is live', async () => {
    await opened(['a']);
    await broken();
    await clock.tickAsync(2_000);
    expect(first().feed.behind).to.equal(false);
    await clock.tickAsync(2_000);
    expect(first().feed.behind).to.equal(true);
    await answer();
    await run.settle();
    expect(first().feed.behind).to.equal(false);
  });

  it('delivers frames of a catch-up in order, and one that shows another gap starts one more', async () => {
    await opened(['a', 'b']);
    await broken();
    run.redis.execute(0);
    run.publish('a');
    vanish('b');
    run.publish('b');
    run.publish('a');
    await deliver();
    run.redis.answer(0);
    await run.settle();
    expect(had(0)).to.deep.equal(['b 2', 'b 3', 'a 4']);
    expect(run.streams[0]?.sink.data('sse.reset')).to.have.length(1);
  });
});
