import { expect } from 'chai';
import sinon from 'sinon';
import { createTestCluster, type TestCluster, type TestClusterOptions } from '../../../src/testing/index.js';

describe('testing: options of a cluster without a network', () => {
  for (const [options, message] of [
    [{ node: 2 }, 'createTestCluster has no option "node"; did you mean nodes?'],
    [{ nodes: 0 }, 'nodes of createTestCluster must be at least 1, or ids, got 0'],
    [{ nodes: [] }, 'nodes of createTestCluster must be at least 1, or ids, got an array'],
  ] as const) {
    it(`are refused: ${message}`, async () => {
      // As a JavaScript caller may write it.
      const failure = await createTestCluster(options as TestClusterOptions).catch((error: unknown) => error);
      expect(failure).to.include({ code: 'INVALID_OPTION', message });
    });
  }
});

describe('testing: a cluster without a network', () => {
  let cluster: TestCluster;

  const start = async (options: TestClusterOptions = {}): Promise<void> => {
    cluster = await createTestCluster({ nodes: 3, ...options });
  };
  afterEach(() => cluster.close());

  it('brings an event from any node to a client of any node', async () => {
    await start();
    const client = await cluster.connect<{ note: string }>('me', { node: 'a', topics: ['news'] });
    const receipt = await cluster.node('b').sse.sendMessageToConnection('me', 'note', 'direct');
    await cluster.node('c').sse.publish('news', 'note', 'published');
    expect(receipt.outcome).to.equal('delivered');
    expect((await client.next('note')).data).to.equal('direct');
    expect((await client.next('note')).data).to.equal('published');
    expect(client.events.map(({ event }) => event)).to.deep.equal(['connected', 'note', 'note']);
  });

  it('lets a client of a killed node come back to another one and miss nothing', async () => {
    await start();
    const client = await cluster.connect('me', { node: 'a', topics: ['news'] });
    cluster.kill('a');
    await cluster.node('b').sse.publish('news', 'note', 1);
    expect((await client.next('note')).data).to.equal(1);
    expect(await cluster.node('b').sse.locate('me')).to.be.oneOf(['b', 'c']);
    expect(client.gaps).to.deep.equal([]);
  });

  it('drains a node, whose clients go elsewhere', async () => {
    await start();
    const client = await cluster.connect('me', { node: 'a', topics: ['news'] });
    await cluster.drain('a');
    expect((await client.next('sse.closed')).data).to.deep.equal({ reason: 'draining' });
    await client.opened();
    await cluster.node('b').sse.publish('news', 'note', 1);
    expect((await client.next('note')).data).to.equal(1);
  });

  it('gives the clients of a node that was cut off what they missed', async () => {
    await start();
    const client = await cluster.connect('me', { node: 'a', topics: ['news'] });
    cluster.cut('a');
    const receipt = await cluster.node('b').sse.publish('news', 'note', 1);
    expect(receipt.outcome).to.equal('stored');
    expect(await cluster.node('a').sse.publish('news', 'note', 2)).to.include({ outcome: 'unavailable' });
    cluster.heal('a');
    expect((await client.next('note')).data).to.equal(1);
  });

  it('has slow clients, and reports what they miss', async () => {
    await start({ nodes: 1, options: { sendBuffer: { maxBytes: 4_096, policy: 'drop-oldest' } } });
    const client = await cluster.connect('me', { topics: ['news'] });
    cluster.slow('me');
    for (let number = 0; number < 100; number += 1) {
      await cluster.node('a').sse.publish('news', 'note', 'x'.repeat(100));
      // Events of one turn of the event loop are one write.
      await new Promise(setImmediate);
    }
    cluster.slow('me', false);
    await client.next('sse.reset');
    expect(client.gaps.map(({ reason }) => reason)).to.include('OVERFLOW');
  });

  it('resumes over a reconnect, and reports a gap after a trimmed log', async () => {
    await start({ options: { history: { maxEntries: 10 } } });
    const client = await cluster.connect('me', { topics: ['news'] });
    await client.reconnect();
    expect(client.events.map(({ event }) => event)).to.deep.equal(['connected', 'connected']);
    const stale = cluster.connect('old', { topics: ['news'], client: { lastEventId: 'gone.1-1' } });
    expect((await (await stale).next('sse.reset')).data).to.include({ reason: 'EPOCH' });
  });

  it('says what did not come', async () => {
    await start({ nodes: 1 });
    const client = await cluster.connect('me');
    const error: unknown = await client.next('note', 10).catch((reason: unknown) => reason);
    expect(String(error)).to.include('event note').and.include('connected');
    cluster.node('a').sse.broadcast('note', 1);
    client.close();
    expect(await client.next('note', 10).catch(() => 'ended')).to.equal('ended');
    expect(() => cluster.node('z')).to.throw("no node 'z'");
    expect(() => cluster.slow('me')).to.throw("no client 'me'");
  });

  it('runs by the fake timers of the application', async () => {
    const clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    try {
      await start({ nodes: 1, options: { connection: { maxAge: 3_600_000 } } });
      const client = await cluster.connect('me');
      await clock.tickAsync(2 * 3_600_000);
      expect((await client.next('sse.closed')).data).to.deep.equal({ reason: 'max-age' });
      const closing = cluster.close();
      await clock.tickAsync(60_000);
      await closing;
    } finally {
      clock.restore();
    }
  });
});
