import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DemoProcess } from './demo-process.js';
import { EventStreamClient } from './event-stream-client.js';
import type { Rest } from './observed-demo.js';
import { RedisServer } from './redis/redis-server.js';
import { TcpProxy } from './redis/tcp-proxy.js';
import { until } from './until.js';

/** How long a node may take to be as before once Redis answers again, in milliseconds: the longest pause, and room. */
export const RECOVERY = 5_000;

const QUICK = {
  SSE_NODE_LEASE: '1500',
  SSE_NODE_HEARTBEAT: '300',
  SSE_RECONNECT_RETRY: '100',
  SSE_SEND_DEADLINE: '1000',
};

/** What one outage breaks: Redis servers and nodes of its own. */
export class OutageGround {
  readonly #redis: RedisServer[] = [];
  readonly #nodes: DemoProcess[] = [];
  readonly #proxies: TcpProxy[] = [];
  readonly #clients: EventStreamClient[] = [];
  readonly #folders: string[] = [];

  async redis(options: { port?: number; args?: string[] } = {}): Promise<RedisServer> {
    const server = await RedisServer.start(options);
    this.#redis.push(server);
    return server;
  }

  /** What a Redis would find on its disk if it were started with `--dir` of the result. */
  async snapshot(server: RedisServer): Promise<string> {
    await server.admin.save();
    const [, folder = ''] = await server.admin.config('GET', 'dir');
    const copy = await mkdtemp(join(tmpdir(), 'sse-snapshot-'));
    this.#folders.push(copy);
    await copyFile(join(folder, 'dump.rdb'), join(copy, 'dump.rdb'));
    return copy;
  }

  async proxy(server: RedisServer): Promise<TcpProxy> {
    const proxy = await TcpProxy.to(server.port);
    this.#proxies.push(proxy);
    return proxy;
  }

  async node(NODE_ID: string, redisPort: number, env = {}): Promise<OutageNode> {
    const REDIS_URL = `redis://127.0.0.1:${redisPort}`;
    const settings = { ...QUICK, NODE_ID, REDIS_URL, ...env };
    const process = await DemoProcess.start(settings, 'test/support/observed-demo.js');
    this.#nodes.push(process);
    return new OutageNode(process, client => this.#clients.push(client));
  }

  async nodes(redisPort: number, otherPort = redisPort): Promise<[OutageNode, OutageNode]> {
    return Promise.all([this.node('a', redisPort), this.node('b', otherPort)]);
  }

  /** Ends everything. Rejects when a node that still runs has work that waits, or logged an unhandled rejection. */
  async clear(): Promise<void> {
    for (const client of this.#clients) client.leave();
    try {
      await Promise.all(this.#nodes.filter(runs).map(node => atRest(node)));
      for (const { program } of this.#nodes) {
        if (/unhandled|uncaught/i.test(program.output)) throw new Error(program.output);
      }
    } finally {
      await Promise.all(this.#nodes.map(node => node.stop('SIGKILL')));
      for (const proxy of this.#proxies) await proxy.close();
      for (const server of this.#redis) await server.stop();
      for (const folder of this.#folders) await rm(folder, { recursive: true, force: true });
    }
  }
}

/** A node, asked by HTTP as its clients and operators do. */
export class OutageNode {
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
    const began = performance.now();
    const response = await fetch(this.process.url + path, { method: 'POST', headers, body });
    const answer = (await response.json()) as Record<string, unknown>;
    return { status: response.status, body: answer, ms: performance.now() - began };
  }

  /** The receipt of a send to a connection. */
  async send(id: string, body = 'x'): Promise<{ outcome: string; nodeId?: string; ms: number }> {
    const { body: answer } = await this.post(`/sse/send/${id}?event=note`, body);
    return (answer['receipt'] ?? answer) as { outcome: string; nodeId?: string; ms: number };
  }

  async publish(body: string): Promise<number> {
    return (await this.post('/sse/topics/news?event=note', body)).status;
  }

  /** Waits for it to say that it is ready. */
  async ready(withinMs = RECOVERY): Promise<void> {
    const isReady = async () => (await this.get('/health/ready')).status === 200;
    await until(isReady, `${this.process.nodeId} to be ready`, withinMs);
  }

  /** Waits for it to say that it is not ready, though alive. Resolves with the reasons. */
  async unready(withinMs: number): Promise<string[]> {
    let reasons: string[] = [];
    await until(
      async () => {
        const { status, body } = await this.get('/health/ready');
        reasons = ((body['reasons'] ?? []) as { code: string }[]).map(({ code }) => code);
        return status === 503;
      },
      `${this.process.nodeId} to be unready`,
      withinMs,
    );
    const { status } = await this.get('/health/live');
    if (status !== 200) throw new Error('it says that it is not alive');
    return reasons;
  }

  /** Waits for it to say that it is ready and degraded. Resolves with the reasons. */
  async degraded(withinMs: number): Promise<string[]> {
    let reasons: string[] = [];
    await until(
      async () => {
        const { status, body } = await this.get('/health/ready');
        reasons = ((body['reasons'] ?? []) as { code: string }[]).map(({ code }) => code);
        return status === 200 && body['degraded'] === true;
      },
      `${this.process.nodeId} to be degraded`,
      withinMs,
    );
    return reasons;
  }

  /** Waits for the whole cluster to have so many connections, as this node counts. */
  async counts(connections: number, withinMs: number): Promise<void> {
    await until(
      async () => (await this.get('/sse/connections')).body['cluster'] === connections,
      `${connections} connections`,
      withinMs,
    );
  }
}

function runs({ program: { process } }: DemoProcess): boolean {
  return process.exitCode === null && process.signalCode === null;
}

async function atRest(node: DemoProcess): Promise<void> {
  let rest: Rest | undefined;
  await until(async () => {
    rest = await node.program.ask<Rest>({ ask: 'rest' });
    return Object.values(rest).every(count => count === 0);
  }, 'nothing to wait any more').catch((error: unknown) => {
    throw new Error(`${node.nodeId} is left with ${JSON.stringify(rest)}`, { cause: error });
  });
}
