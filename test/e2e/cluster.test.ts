import { expect } from 'chai';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { withRedis } from '../support/redis/with-redis.js';
import { until } from '../support/until.js';

const QUICK = { SSE_NODE_LEASE: '1500', SSE_NODE_HEARTBEAT: '300', SSE_RECONNECT_RETRY: '100' };

describe('three demo nodes over Redis', () => {
  const redis = withRedis();
  let [a, b, c]: DemoProcess[] = [];
  const clients: EventStreamClient[] = [];

  const start = (NODE_ID: string): Promise<DemoProcess> =>
    DemoProcess.start({ ...QUICK, NODE_ID, REDIS_URL: redis.redis.url });

  before(async function () {
    [a, b, c] = await Promise.all(['a', 'b', 'c'].map(start));
  });

  beforeEach(async () => {
    a ??= await start('a');
  });

  afterEach(async () => {
    for (const client of clients.splice(0)) client.leave();
    await until(async () => (await get(b, '/sse/connections')).body['cluster'] === 0, 'no client');
  });

  after(async () => {
    for (const node of [a, b, c]) await node?.stop('SIGKILL');
  });

  const connect = async (node: DemoProcess | undefined, id: string, init = {}) => {
    const client = await EventStreamClient.open(`${node?.url ?? ''}/sse/connect/${id}`, init);
    clients.push(client);
    if (client.status === 200) await client.event('connected');
    return client;
  };
  const post = async (node: DemoProcess | undefined, path: string, body = 'x') => {
    const headers = { 'Content-Type': 'text/plain' };
    const response = await fetch(`${node?.url ?? ''}${path}`, { method: 'POST', headers, body });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const get = async (node: DemoProcess | undefined, path: string) => {
    const response = await fetch(`${node?.url ?? ''}${path}`);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };

  it('say that they coordinate over Redis', () => {
    expect(a?.program.output).to.match(/coordinator=redis$/m);
  });

  it('deliver a send to a client of another node, with a receipt of its owner', async () => {
    const client = await connect(a, 'me');
    const { status, body } = await post(b, '/sse/send/me?event=note', 'hello');
    expect(status).to.equal(200);
    expect(body).to.include({ outcome: 'delivered', nodeId: 'a', connectionId: 'me' });
    expect((await client.event('note')).data).to.equal('hello');
  });

  it('know of every connection, exactly', async () => {
    await connect(a, 'one');
    await connect(b, 'two');
    const expected = { local: 0, cluster: 2, nodes: { a: 1, b: 1, c: 0 } };
    expect((await get(c, '/sse/connections')).body).to.deep.equal(expected);
    expect((await get(c, '/sse/connections/two')).body).to.deep.equal({
      connected: true,
      nodeId: 'b',
    });
  });

  it('broadcast to the clients of all, and publish to the subscribers of all, in one order', async () => {
    const first = await connect(a, 'one?topics=news');
    const second = await connect(b, 'two?topics=news');
    const { status, body } = await post(c, '/sse/broadcast?event=note', '0');
    expect(status).to.equal(202);
    expect(body).to.deep.equal({ local: 0, nodes: 3 });
    const publishers = [a, b, c];
    for (let n = 1; n <= 30; n += 1) {
      await post(publishers[n % 3], '/sse/topics/news?event=note', `${n}`);
    }
    const everything = Array.from({ length: 31 }, (_, n) => `${n}`);
    for (const client of [first, second]) {
      await until(() => client.data('note').length === 31, 'all events');
      expect(client.data('note')).to.deep.equal(everything);
    }
  });

  it('close a connection of another node and answer 404 for an unknown one', async () => {
    const client = await connect(a, 'me');
    expect((await fetch(`${b?.url ?? ''}/sse/connections/me`, { method: 'DELETE' })).status).to.equal(204);
    expect(await client.closeReason()).to.equal('closed');
    await until(async () => (await get(c, '/sse/connections/me')).status === 404, 'the route to go');
    expect((await post(c, '/sse/send/me')).status).to.equal(404);
  });

  it('let the newer connection of an id win; five takeovers succeed and the next gets 204', async () => {
    const nodes = [a, b, c];
    let former = await connect(a, 'me');
    for (let takeover = 1; takeover <= 5; takeover += 1) {
      const newer = await connect(nodes[takeover % 3], 'me');
      expect(await former.closeReason()).to.equal('superseded');
      former = newer;
    }
    expect((await connect(b, 'me')).status).to.equal(204);
    expect((await post(a, '/sse/send/me?event=note', 'still here')).body['nodeId']).to.equal('c');
    expect((await former.event('note')).data).to.equal('still here');
  });

  it('a client that resumes on another node gets missed events, once and in order', async () => {
    const first = await connect(a, 'me?topics=news');
    await post(b, '/sse/topics/news?event=note', '0');
    const { id } = await first.event('note');
    first.leave();
    for (let n = 1; n <= 20; n += 1) await post(c, '/sse/topics/news?event=note', `${n}`);
    const second = await connect(b, 'me?topics=news', { headers: { 'Last-Event-ID': id } });
    await post(a, '/sse/topics/news?event=note', '21');
    await until(() => second.data('note').length >= 21, 'all events');
    expect(second.data('note')).to.deep.equal(Array.from({ length: 21 }, (_, n) => `${n + 1}`));
    expect(second.data('sse.reset')).to.deep.equal([]);
  });

  it('notice at once that a node was killed, and remove its routes after its lease', async () => {
    await connect(a, 'victim');
    await connect(b, 'other');
    await a?.stop('SIGKILL');
    a = undefined;
    const began = performance.now();
    const { status, body } = await post(b, '/sse/send/victim');
    expect(status).to.equal(503);
    expect(body['receipt']).to.include({ outcome: 'unavailable' });
    // Before the lease is over, and far from the deadline of 3 s: it is known, not waited for.
    expect(performance.now() - began).to.be.lessThan(1_200);
    const forgotten = async (): Promise<boolean> => {
      const { cluster, nodes } = (await get(c, '/sse/connections')).body;
      return cluster === 1 && Object.keys(nodes as object).join() === 'b,c';
    };
    await until(forgotten, 'the count to be right', 11_500);
    expect((await post(b, '/sse/send/victim')).status).to.equal(404);
  });

  it('leave the cluster at once when they get SIGTERM', async () => {
    const client = await connect(a, 'guest');
    expect(await a?.stop('SIGTERM')).to.equal(0);
    expect(await client.closeReason()).to.equal('draining');
    a = undefined;
    expect((await get(b, '/sse/connections')).body['nodes']).to.deep.equal({ b: 0, c: 0 });
  });

  it('serve their own clients while Redis is away, and recover after it', async function () {
    const server = await RedisServer.start();
    const [lone, other] = await Promise.all(
      ['x', 'y'].map(NODE_ID => DemoProcess.start({ ...QUICK, NODE_ID, REDIS_URL: server.url })),
    );
    const { port } = server;
    let again: RedisServer | undefined;
    try {
      const client = await connect(lone, 'me');
      const { id: before } = await client.event('connected');
      await server.stop();
      await until(async () => (await get(lone, '/health/ready')).status === 503, 'the node to say so', 2_000);
      expect((await get(lone, '/health/live')).status).to.equal(200);
      expect((await get(lone, '/sse/connections')).body).to.deep.include({
        local: 1,
        cluster: null,
        degraded: true,
      });
      expect((await post(lone, '/sse/broadcast?event=note', '1')).body).to.deep.equal({
        local: 1,
        nodes: 0,
        degraded: true,
      });
      expect((await client.event('note')).data).to.equal('1');
      expect((await post(lone, '/sse/send/me?event=own', 'x')).body['outcome']).to.equal('delivered');
      expect((await post(other, '/sse/send/me')).status).to.equal(503);
      const late = await connect(other, 'late');
      expect(late.status).to.equal(200);

      again = await RedisServer.start({ port });
      for (const node of [lone, other]) {
        await until(async () => (await get(node, '/health/ready')).status === 200, 'recovery');
      }
      // No other node knows this client; it is adopted in place, and then every node does.
      await until(
        async () => (await post(lone, '/sse/send/late?event=far', 'x')).body['nodeId'] === 'y',
        'the adoption',
      );
      expect((await late.event('far')).data).to.equal('x');
      // The log came back empty: a connected client gets a reset, and its stream goes on in the new log.
      const reset = await client.event('sse.reset');
      expect(JSON.parse(reset.data)).to.include({ reason: 'EPOCH', resumedFrom: reset.id });
      await post(other, '/sse/broadcast?event=note', '2');
      await until(() => client.data('note').length === 2, 'the event');
      // A client that resumes with an old id gets a reset as well.
      client.leave();
      const returned = await connect(lone, 'me', { headers: { 'Last-Event-ID': before ?? '' } });
      expect(JSON.parse((await returned.event('sse.reset')).data)).to.include({ reason: 'EPOCH' });
    } finally {
      await Promise.all([lone?.stop('SIGKILL'), other?.stop('SIGKILL')]);
      await server.stop();
      await again?.stop();
    }
  });
});
