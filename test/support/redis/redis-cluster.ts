import { Cluster } from 'ioredis';
import { until } from '../until.js';
import { RedisServer } from './redis-server.js';

const MASTERS = 3;
const SLOTS = 16_384;

/** A Redis Cluster of the test's own: three masters with a third of the slots each, no replicas. */
export class RedisCluster {
  private constructor(
    readonly servers: readonly RedisServer[],
    /** For the test itself, not for what it tests. */
    readonly admin: Cluster,
  ) {}

  static async start(): Promise<RedisCluster> {
    const args = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '15000'];
    const servers: RedisServer[] = [];
    try {
      for (let node = 0; node < MASTERS; node += 1) {
        servers.push(await RedisServer.start({ args, bus: true }));
      }
      const first = servers[0]!;
      for (const [node, server] of servers.entries()) {
        const from = Math.floor((node * SLOTS) / MASTERS);
        const to = Math.floor(((node + 1) * SLOTS) / MASTERS) - 1;
        await server.admin.call('CLUSTER', 'ADDSLOTSRANGE', from, to);
        if (node > 0) await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', server.port);
      }
      for (const server of servers) {
        await until(
          async () => isWhole(await server.admin.cluster('INFO')),
          'a whole cluster',
          30_000,
        );
      }
    } catch (error) {
      await Promise.all(servers.map(server => server.stop()));
      throw error;
    }
    const admin = new Cluster(servers.map(({ port }) => ({ host: '127.0.0.1', port })));
    admin.on('error', () => undefined);
    await until(() => admin.status === 'ready', 'the cluster client');
    return new RedisCluster(servers, admin);
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    await Promise.all(this.servers.map(server => server.stop()));
  }
}

function isWhole(info: unknown): boolean {
  const text = String(info);
  return text.includes('cluster_state:ok') && text.includes(`cluster_known_nodes:${MASTERS}`);
}
