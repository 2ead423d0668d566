import { RedisServer } from '../../support/redis/redis-server.js';
import { until } from '../../support/until.js';
import { BenchClients } from '../client/bench-clients.js';
import { ClusterProcess } from './cluster-process.js';
import { RedisMeter } from './redis-meter.js';

/** Two processes that meet in Redis. */
export interface Pair {
  readonly sender: ClusterProcess;
  readonly receiver: ClusterProcess;
}

/** One round's Redis and processes, all fresh. */
export class ClusterRound {
  readonly meter: RedisMeter;
  readonly #ends: (() => Promise<void>)[] = [];

  private constructor(readonly redis: RedisServer) {
    this.meter = new RedisMeter(redis.admin);
  }

  static async start(): Promise<ClusterRound> {
    return new ClusterRound(await RedisServer.start());
  }

  async pair(name: 'library-node' | 'raw-node' | 'socket-io-node'): Promise<Pair> {
    const receiver = await this.node(name, { HEARS: 'events', SSE_NODE_ID: 'receiver' });
    const sender = await this.node(name, { SSE_NODE_ID: 'sender' });
    if (name !== 'raw-node') await metEachOther(sender, 2);
    return { sender, receiver };
  }

  async node(
    name: 'library-node' | 'raw-node' | 'socket-io-node',
    env: Readonly<Record<string, string>>,
  ): Promise<ClusterProcess> {
    const limits = { SSE_CONNECTION_MAX_CONNECTIONS: '100000' };
    const node = await ClusterProcess.start(name, {
      SSE_REDIS_URL: this.redis.url,
      ...limits,
      ...env,
    });
    this.#ends.push(() => node.stop());
    return node;
  }

  clients(): BenchClients {
    const clients = BenchClients.start();
    this.#ends.push(() => clients.stop());
    return clients;
  }

  async stop(): Promise<void> {
    for (const end of this.#ends.reverse()) await end();
    await this.redis.stop();
  }
}

/** Resolves when a node knows of that many. */
export async function metEachOther(node: ClusterProcess, nodes: number): Promise<void> {
  const known = async (): Promise<boolean> => (await node.ask<number>('nodes')) >= nodes;
  await until(known, 'the nodes to know each other', 15_000);
}
