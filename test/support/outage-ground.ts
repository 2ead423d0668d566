import { copyFile, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DemoProcess } from './demo-process.js';
import { EventStreamClient } from './event-stream-client.js';
import type { Rest } from './observed-demo.js';
import { freePort } from './redis/free-port.js';
import { RedisServer } from './redis/redis-server.js';
import { TcpProxy } from './redis/tcp-proxy.js';
import { until } from './until.js';

/** What processes on a busy machine may be late, in milliseconds. */
export const ROOM = 3_000;
/** How long a node may take to be as before once Redis answers again, in milliseconds: what docs/cluster.md says, and room. */
export const RECOVERY = 5_000 + ROOM;
/** Longer than a dead node's lease and what follows it. */
const LONG = 20_000;

const QUICK = {
  SSE_NODE_LEASE: '1500',
  SSE_NODE_HEARTBEAT: '300',
  SSE_RECONNECT_RETRY: '100',
  SSE_SEND_DEADLINE: '1000',
};

/** Whether a proxy of its own is between each node and Redis. */
export type WayToRedis = 'direct' | 'proxied';

/**
 * One Redis after the other on one port, and two nodes that outages share: a row breaks something and leaves everything as it
 * was.
 */
export class OutageGround {
  #redis: RedisServer | undefined;
  #port = 0;
  readonly #former: RedisServer[] = [];
  readonly #nodes = new Map<string, OutageNode>();
  readonly #proxies = new Map<string, TcpProxy>();
  readonly #clients: EventStreamClient[] = [];
  readonly #folders: string[] = [];

  constructor(private readonly way: WayToRedis) {}

  /** The Redis that runs, else a new one on the port of the former. */
  async redis(args: readonly string[] = []): Promise<RedisServer> {
    if (this.#redis?.runs === true) return this.#redis;
    const redis = await RedisServer.start({ port: await this.#redisPort(), args });
    this.lead(redis);
    return redis;
  }

  /** A replica of the Redis that runs. */
  async replica(): Promise<RedisServer> {
    const master = await this.redis();
    const replica = await RedisServer.start({ args: ['--replicaof', '127.0.0.1', String(master.port)] });
    this.#former.push(replica);
    return replica;
  }

  /** From now on this is the Redis of the nodes: those behind proxies are led to it. */
  lead(redis: RedisServer): void {
    if (this.#redis !== undefined) this.#former.push(this.#redis);
    this.#redis = redis;
    this.#port = redis.port;
    for (const proxy of this.#proxies.values()) proxy.lead(redis.port);
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

  /** What is between a node and Redis. */
  proxy(nodeId: string): TcpProxy {
    const proxy = this.#proxies.get(nodeId);
    if (proxy === undefined) throw new Error(`${nodeId} has no proxy`);
    return proxy;
  }

  /** The node of that id that runs, else a new one. */
  async node(nodeId: string, env = {}): Promise<OutageNode> {
    const running = this.#nodes.get(nodeId);
    if (running?.runs === true) return running;
    const REDIS_URL = `redis://127.0.0.1:${await this.#redisPortOf(nodeId)}`;
    const settings = { ...QUICK, NODE_ID: nodeId, REDIS_URL, ...env };
    const process = await DemoProcess.start(settings, 'test/support/observed-demo.js');
    const node = new OutageNode(process, client => this.#clients.push(client));
    this.#nodes.set(nodeId, node);
    return node;
  }

  /** The nodes a and b, over a Redis that runs. */
  async nodes(): Promise<[OutageNode, OutageNode]> {
    await this.redis();
    return Promise.all([this.node('a'), this.node('b')]);
  }

  /**
   * Ends a row: its clients leave. Rejects when a node that still runs keeps a connection or has work that waits, or logged an
   * unhandled rejection.
   */
  async clear(): Promise<void> {
    for (const client of this.#clients.splice(0)) client.leave();
    const nodes = [...this.#nodes.values()];
    await Promise.all(nodes.filter(node => node.runs).map(node => node.rests()));
    for (const { program } of nodes.map(({ process }) => process)) {
      if (/unhandled|uncaught/i.test(program.output)) throw new Error(program.output);
    }
  }

  async close(): Promise<void> {
    for (const client of this.#clients) client.leave();
    await Promise.all([...this.#nodes.values()].map(({ process }) => process.stop('SIGKILL')));
    for (const proxy of this.#proxies.values()) await proxy.close();
    for (const server of [...this.#former, this.#redis]) await server?.stop();
    for (const folder of this.#folders) await rm(folder, { recursive: true, force: true });
  }

  async #redisPort(): Promise<number> {
    if (this.#port === 0) this.#port = await freePort();
    return this.#port;
  }

  /** The port by which a node reaches Redis. */
  async #redisPortOf(nodeId: string): Promise<number> {
    const port = await this.#redisPort();
    if (this.way === 'direct') return port;
    const proxy = this.#proxies.get(nodeId) ?? (await TcpProxy.to(port));
    this.#proxies.set(nodeId, proxy);
    return proxy.port;
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

  get runs(): boolean {
    const { exitCode, signalCode } = this.process.program.process;
    return exitCode === null && signalCode === null;
  }

  /** Waits until it is ready, no connection of the cluster is left and nothing in the node waits any more. */
  async rests(): Promise<void> {
    await this.ready(LONG);
    await this.counts(0, LONG);
    let rest: Rest | undefined;
    await until(async () => {
      rest = await this.process.program.ask<Rest>({ ask: 'rest' });
      return Object.values(rest).every(count => count === 0);
    }, 'nothing to wait any more').catch((error: unknown) => {
      throw new Error(`${this.process.nodeId} is left with ${JSON.stringify(rest)}`, { cause: error });
    });
  }
}
