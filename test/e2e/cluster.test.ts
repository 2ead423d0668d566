import { expect } from 'chai';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { withRedis } from '../support/redis/with-redis.js';
import { until } from '../support/until.js';

const QUICK = { SSE_NODE_LEASE: '1500', SSE_NODE_HEARTBEAT: '300', SSE_RECONNECT_RETRY: '100' };

describe('three demo nodes over Redis', () => {
  const redis = withRedis();
  let [a, b, c]: DemoProcess[] = [];
  const clients: EventStreamClient[] = [];

  before(async () => {
    const start = (NODE_ID: string) => DemoProcess.start({ ...QUICK, NODE_ID, REDIS_URL: redis.redis.url });
    [a, b, c] = await Promise.all(['a', 'b', 'c'].map(start));
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

  it('let the newer connection of an id win; five clients that come back succeed and the next gets 204', async () => {
    const nodes = [a, b, c];
    let former = await connect(a, 'me');
    const { id } = await former.event('connected');
    const headers = { 'Last-Event-ID': id };
    for (let takeover = 1; takeover <= 5; takeover += 1) {
      const newer = await connect(nodes[takeover % 3], 'me', { headers });
      expect(await former.closeReason()).to.equal('superseded');
      former = newer;
    }
    expect((await connect(b, 'me', { headers })).status).to.equal(204);
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
});

describe('a client whose demo nodes are killed one after the other', () => {
  const redis = withRedis();
  const nodes: DemoProcess[] = [];
  const clients: EventStreamClient[] = [];
  // Their leases still run at the end of the test.
  const start = async (NODE_ID: string): Promise<DemoProcess> => {
    const env = { NODE_ID, SSE_NODE_LEASE: '60000', SSE_CONNECTION_TAKEOVER_LIMIT: '1', REDIS_URL: redis.redis.url };
    const node = await DemoProcess.start(env);
    nodes.push(node);
    return node;
  };
  after(async () => {
    for (const client of clients) client.leave();
    await Promise.all(nodes.map(node => node.stop('SIGKILL')));
  });

  it('gets a stream from each that is left, until two that live have it taken from each other', async () => {
    const [first, ...others] = await Promise.all(['a', 'b', 'c', 'd'].map(start));
    const connect = async (node: DemoProcess | undefined, headers = {}): Promise<EventStreamClient> => {
      const client = await EventStreamClient.open(`${node?.url ?? ''}/sse/connect/me`, { headers });
      clients.push(client);
      return client;
    };
    const begun = await connect(first);
    const headers = { 'Last-Event-ID': (await begun.event('connected')).id ?? '' };
    let owner = first;
    for (const other of others) {
      await owner?.stop('SIGKILL');
      const client = await connect(other, headers);
      expect(client.status).to.equal(200);
      await client.event('connected');
      owner = other;
    }
    const living = await start('e');
    const client = await connect(living, headers);
    expect(client.status).to.equal(200);
    await client.event('connected');
    expect((await connect(owner, headers)).status).to.equal(204);
  });
});
