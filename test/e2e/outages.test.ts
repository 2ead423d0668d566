import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { expect } from 'chai';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { freePort } from '../support/redis/free-port.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { TcpProxy } from '../support/redis/tcp-proxy.js';
import { until } from '../support/until.js';

const QUICK = {
  SSE_NODE_LEASE: '1500',
  SSE_NODE_HEARTBEAT: '300',
  SSE_RECONNECT_RETRY: '100',
  SSE_SEND_DEADLINE: '1000',
};
const RECOVERY_MS = 15_000;

/** What one row of the table breaks: its own Redis and its own nodes. */
class Ground {
  readonly #redis: RedisServer[] = [];
  readonly #nodes: DemoProcess[] = [];
  readonly #proxies: TcpProxy[] = [];
  readonly #clients: EventStreamClient[] = [];

  async redis(options: { port?: number; args?: string[] } = {}): Promise<RedisServer> {
    const server = await RedisServer.start(options);
    this.#redis.push(server);
    return server;
  }

  async proxy(server: RedisServer): Promise<TcpProxy> {
    const proxy = await TcpProxy.to(server.port);
    this.#proxies.push(proxy);
    return proxy;
  }

  async node(NODE_ID: string, redisPort: number, env = {}): Promise<Node> {
    const REDIS_URL = `redis://127.0.0.1:${redisPort}`;
    const process = await DemoProcess.start({ ...QUICK, NODE_ID, REDIS_URL, ...env });
    this.#nodes.push(process);
    return new Node(process, client => this.#clients.push(client));
  }

  async clear(): Promise<void> {
    for (const client of this.#clients) client.leave();
    for (const node of this.#nodes) {
      // Whatever happens to a node, it must not be because of something that nobody waited for.
      expect(node.program.output).to.not.match(/unhandled|uncaught/i);
      await node.stop('SIGKILL');
    }
    for (const proxy of this.#proxies) await proxy.close();
    for (const server of this.#redis) await server.stop();
  }
}

class Node {
  constructor(
    readonly process: DemoProcess,
    private readonly onClient: (client: EventStreamClient) => void,
  ) {}

  async connect(id: string, headers = {}): Promise<EventStreamClient> {
    const url = `${this.process.url}/sse/connect/${id}?topics=news`;
    const client = await EventStreamClient.open(url, { headers });
    this.onClient(client);
    if (client.status === 200) await client.event('connected');
    return client;
  }

  async get(path: string) {
    const response = await fetch(this.process.url + path);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async post(path: string, body = 'x') {
    const headers = { 'Content-Type': 'text/plain' };
    const response = await fetch(this.process.url + path, { method: 'POST', headers, body });
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  }

  async ready(): Promise<void> {
    await until(async () => (await this.get('/health/ready')).status === 200, 'ready', RECOVERY_MS);
  }

  /** Waits for it to say that it is not ready, and checks that it says to be alive. */
  async unready(withinMs: number): Promise<string[]> {
    let reasons: string[] = [];
    await until(
      async () => {
        const { status, body } = await this.get('/health/ready');
        reasons = ((body['reasons'] ?? []) as { code: string }[]).map(({ code }) => code);
        return status === 503;
      },
      'the node to be unready',
      withinMs,
    );
    expect((await this.get('/health/live')).status).to.equal(200);
    return reasons;
  }
}

/** Rows stand for themselves, so they are all begun together. */
function rows(all: Readonly<Record<string, (ground: Ground) => Promise<void>>>): void {
  const results = new Map<string, Promise<void>>();
  before(() => {
    for (const [name, row] of Object.entries(all)) {
      const ground = new Ground();
      const result = row(ground).finally(() => ground.clear());
      result.catch(() => undefined);
      results.set(name, result);
    }
  });
  for (const name of Object.keys(all)) it(name, () => results.get(name)).timeout(90_000);
}

describe('the outage contract', () => {
  rows({
    'Redis is down at the start: clients are served alone, and come again when it answers':
      async ground => {
        const port = await freePort();
        const node = await ground.node('a', port);
        expect(await node.unready(2_000)).to.include('CLUSTER_UNREACHABLE');
        const client = await node.connect('me');
        expect((await node.post('/sse/send/me?event=note')).body['outcome']).to.equal('delivered');
        expect((await node.post('/sse/send/nobody')).body['receipt']).to.include({
          outcome: 'unavailable',
        });
        await ground.redis({ port });
        await node.ready();
        expect(await client.closeReason()).to.equal('gap');
        await node.connect('me');
        expect((await node.get('/sse/connections')).body['cluster']).to.equal(1);
      },

    'Redis is down at the start and `reject` is set: newcomers get 503 and a time to come again':
      async ground => {
        const port = await freePort();
        const node = await ground.node('a', port, { SSE_ON_UNAVAILABLE: 'reject' });
        const refused = await node.connect('me');
        expect(refused.status).to.equal(503);
        expect(Number(refused.headers['retry-after'])).to.be.greaterThan(0);
        await ground.redis({ port });
        await node.ready();
        expect((await node.connect('me')).status).to.equal(200);
      },

    'Redis comes back with older data: what was lost is told, what comes then arrives':
      async ground => {
        const redis = await ground.redis();
        const { port } = redis;
        const [node, other] = [await ground.node('a', port), await ground.node('b', port)];
        const client = await node.connect('me');
        await other.post('/sse/topics/news?event=note', 'saved');
        await client.event('note');
        await redis.admin.save();
        const folder = (await redis.admin.config('GET', 'dir'))[1] ?? '';
        const lost = await other.post('/sse/topics/news?event=note', 'lost');
        await until(() => client.data('note').length === 2, 'both');
        // Its folder must outlive it.
        const copy = await mkdtemp(`${folder}-copy-`);
        await copyFile(`${folder}/dump.rdb`, `${copy}/dump.rdb`);
        await redis.stop();
        await ground.redis({ port, args: ['--dir', copy] });
        await Promise.all([node.ready(), other.ready()]);
        const { body } = await other.post('/sse/topics/news?event=note', 'new');
        expect(body['id']).to.not.equal(lost.body['id']);
        await until(() => client.data('note').includes('new'), 'the new one');
        expect(client.data('note')).to.deep.equal(['saved', 'lost', 'new']);
        expect((await node.post('/sse/send/me')).body['outcome']).to.equal('delivered');
        await rm(copy, { recursive: true, force: true });
      },

    'Redis turns into a replica: writes fail until it is a master again': async ground => {
      const redis = await ground.redis();
      const node = await ground.node('a', redis.port);
      const client = await node.connect('me');
      await redis.admin.replicaof('127.0.0.1', await freePort());
      await node.unready(5_000);
      expect((await node.post('/sse/broadcast?event=note', '1')).body).to.deep.include({
        local: 1,
        nodes: 0,
        degraded: true,
      });
      expect((await client.event('note')).data).to.equal('1');
      await redis.admin.replicaof('NO', 'ONE');
      await node.ready();
      await until(
        async () => (await node.post('/sse/topics/news?event=note', '2')).status === 202,
        'a publication',
        RECOVERY_MS,
      );
      await until(() => client.data('note').includes('2'), 'the event');
    },

    'Redis is frozen: local delivery does not wait, sends end at their deadline, ready says so within 10 s':
      async ground => {
        const redis = await ground.redis();
        const [node, other] = [
          await ground.node('a', redis.port),
          await ground.node('b', redis.port),
        ];
        const client = await node.connect('me');
        redis.freeze();
        const began = performance.now();
        expect((await node.post('/sse/send/me?event=own')).body['outcome']).to.equal('delivered');
        const { status, body } = await other.post('/sse/send/me');
        expect([503, 504]).to.include(status);
        expect(body['receipt'])
          .to.have.property('outcome')
          .that.is.oneOf(['unknown', 'unavailable']);
        await node.unready(10_000 - (performance.now() - began));
        redis.thaw();
        await Promise.all([node.ready(), other.ready()]);
        expect((await other.post('/sse/send/me?event=far')).body['outcome']).to.equal('delivered');
        await client.event('far');
      },

    'Redis is out of memory: it is said, clients stay, and nothing is lost that was accepted':
      async ground => {
        const redis = await ground.redis();
        const node = await ground.node('a', redis.port);
        const client = await node.connect('me');
        await redis.admin.config('SET', 'maxmemory', '1');
        expect(await node.unready(5_000)).to.include('OUT_OF_MEMORY');
        expect((await node.post('/sse/topics/news?event=note', 'refused')).status).to.not.equal(
          202,
        );
        expect((await node.post('/sse/send/me?event=own')).body['outcome']).to.equal('delivered');
        await redis.admin.config('SET', 'maxmemory', '0');
        await node.ready();
        expect((await node.post('/sse/topics/news?event=note', 'accepted')).status).to.equal(202);
        await until(() => client.data('note').length === 1, 'the event');
        expect(client.data('note')).to.deep.equal(['accepted']);
      },

    'subscriptions are killed or silent: what is kept comes later, in order, once':
      async ground => {
        const redis = await ground.redis();
        const proxy = await ground.proxy(redis);
        const [node, other] = [
          await ground.node('a', proxy.port),
          await ground.node('b', redis.port),
        ];
        const client = await node.connect('me');
        for (let n = 0; n < 20; n += 1) {
          if (n % 5 === 0) await redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
          await other.post('/sse/topics/news?event=note', `${n}`);
        }
        proxy.cut();
        for (let n = 20; n < 30; n += 1) await other.post('/sse/topics/news?event=note', `${n}`);
        await node.unready(10_000);
        proxy.heal();
        await until(() => client.data('note').length === 30, 'all of them', RECOVERY_MS);
        expect(client.data('note')).to.deep.equal(Array.from({ length: 30 }, (_, n) => `${n}`));
        expect(client.data('sse.reset')).to.deep.equal([]);
      },

    'a node is stalled beyond its lease: others forget it, and it takes nothing from them when it wakes':
      async ground => {
        const redis = await ground.redis();
        const [node, other] = [
          await ground.node('a', redis.port),
          await ground.node('b', redis.port),
        ];
        const [moved, stayed] = [await node.connect('moved'), await node.connect('stayed')];
        node.process.program.process.kill('SIGSTOP');
        await until(
          async () => (await other.get('/sse/connections')).body['cluster'] === 0,
          'its routes to go',
          RECOVERY_MS,
        );
        expect((await other.post('/sse/send/stayed')).status).to.equal(404);
        await other.connect('moved');
        node.process.program.process.kill('SIGCONT');
        expect(await moved.closeReason()).to.equal('superseded');
        await until(
          async () => (await other.get('/sse/connections')).body['cluster'] === 2,
          'the count to be right',
          RECOVERY_MS,
        );
        const { body } = await other.post('/sse/send/stayed?event=note', 'back');
        expect(body).to.include({ outcome: 'delivered', nodeId: 'a' });
        expect((await stayed.event('note')).data).to.equal('back');
        expect((await node.post('/sse/send/moved')).body).to.include({ nodeId: 'b' });
      },

    'a node is cut off from Redis: its clients keep local events, and get the others when it is back':
      async ground => {
        const redis = await ground.redis();
        const proxy = await ground.proxy(redis);
        const [node, other] = [
          await ground.node('a', proxy.port),
          await ground.node('b', redis.port),
        ];
        const client = await node.connect('me');
        proxy.cut();
        await node.unready(10_000);
        await node.post('/sse/broadcast?event=own', 'local');
        expect((await client.event('own')).data).to.equal('local');
        await until(
          async () => (await other.get('/sse/connections')).body['cluster'] === 0,
          'its routes to go',
          RECOVERY_MS,
        );
        await other.post('/sse/topics/news?event=note', 'meanwhile');
        proxy.heal();
        await node.ready();
        expect((await client.event('note')).data).to.equal('meanwhile');
        await until(
          async () => (await other.post('/sse/send/me?event=far')).status === 200,
          'its routes to be back',
          RECOVERY_MS,
        );
      },
  });
});
