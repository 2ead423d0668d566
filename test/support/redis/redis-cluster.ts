import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Cluster } from 'ioredis';
import { until } from '../until.js';
import { RedisServer } from './redis-server.js';

const MASTERS = 3;
const SLOTS = 16_384;

/** A Redis Cluster of the test's own: three masters with a third of the slots each, no replicas. */
export class RedisCluster {
  private constructor(
    readonly servers: RedisServer[],
    private readonly folders: readonly string[],
    /** For the test itself, not for what it tests. */
    readonly admin: Cluster,
  ) {}

  static async start(): Promise<RedisCluster> {
    const servers: RedisServer[] = [];
    const folders: string[] = [];
    try {
      for (let node = 0; node < MASTERS; node += 1) {
        folders.push(await mkdtemp(join(tmpdir(), 'sse-redis-master-')));
        servers.push(await startMaster(folders[node]!, 0));
      }
      const first = servers[0]!;
      for (const [node, server] of servers.entries()) {
        const from = Math.floor((node * SLOTS) / MASTERS);
        const to = Math.floor(((node + 1) * SLOTS) / MASTERS) - 1;
        const slots = Array.from({ length: to - from + 1 }, (_, n) => from + n);
        await server.admin.cluster('ADDSLOTS', ...slots);
        if (node > 0) await first.admin.call('CLUSTER', 'MEET', '127.0.0.1', server.port);
      }
      for (const server of servers) {
        await until(async () => isWhole(await server.admin.cluster('INFO')), 'a whole cluster', 30_000);
      }
    } catch (error) {
      await Promise.all(servers.map(server => server.stop()));
      await Promise.all(folders.map(remove));
      throw error;
    }
    const admin = new Cluster(servers.map(({ port }) => ({ host: '127.0.0.1', port })));
    admin.on('error', () => undefined);
    await until(() => admin.status === 'ready', 'the cluster client');
    return new RedisCluster(servers, folders, admin);
  }

  /** The position in `servers` of the master that has a key's slot. */
  async ownerOf(key: string): Promise<number> {
    const slot = await this.admin.cluster('KEYSLOT', key);
    return Math.min(MASTERS - 1, Math.floor(((slot + 1) * MASTERS - 1) / SLOTS));
  }

  /** Ends one master and starts it again at its port and slots, with its data or empty. */
  async restart(at: number, keeping: boolean): Promise<void> {
    const former = this.servers[at];
    const folder = this.folders[at];
    if (former === undefined || folder === undefined) throw new Error(`no master ${at}`);
    if (keeping) await former.shutdown();
    else {
      await former.stop();
      await rm(join(folder, 'dump.rdb'), { force: true });
    }
    this.servers[at] = await startMaster(folder, former.port);
  }

  /** Whether no master has ended. */
  get runs(): boolean {
    return this.servers.every(({ runs }) => runs);
  }

  /** Makes every master as new. */
  async reset(): Promise<void> {
    for (const server of this.servers) await server.reset();
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    await Promise.all(this.servers.map(server => server.stop()));
    await Promise.all(this.folders.map(remove));
  }
}

function startMaster(folder: string, port: number): Promise<RedisServer> {
  const cluster = ['--cluster-enabled', 'yes', '--cluster-node-timeout', '15000'];
  return RedisServer.start({ args: [...cluster, '--dir', folder], bus: true, port });
}

function remove(folder: string): Promise<void> {
  return rm(folder, { recursive: true, force: true });
}

function isWhole(info: unknown): boolean {
  const text = String(info);
  return text.includes('cluster_state:ok') && text.includes(`cluster_known_nodes:${MASTERS}`);
}
