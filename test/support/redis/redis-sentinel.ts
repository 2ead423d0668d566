import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { until } from '../until.js';
import { freePort } from './free-port.js';
import { REDIS_SERVER } from './redis-server.js';

/** What a Sentinel watches. */
interface Watched {
  readonly name: string;
  readonly port: number;
  /** Of the master; the Sentinel asks for the same. */
  readonly password: string;
}

/** A Redis Sentinel of the test's own, alone and therefore quick to decide. */
export class RedisSentinel {
  private constructor(
    readonly port: number,
    private readonly child: ChildProcess,
    private readonly folder: string,
    /** For the test itself, not for what it tests. */
    readonly admin: Redis,
  ) {
    process.once('exit', this.#kill);
  }

  readonly #kill = (): void => {
    this.child.kill('SIGKILL');
  };

  static async start({ name, port: master, password }: Watched): Promise<RedisSentinel> {
    const port = await freePort();
    const folder = await mkdtemp(join(tmpdir(), 'sse-sentinel-'));
    const file = join(folder, 'sentinel.conf');
    const lines = [
      `port ${port}`,
      'bind 127.0.0.1',
      `dir ${folder}`,
      `requirepass ${password}`,
      `sentinel monitor ${name} 127.0.0.1 ${master} 1`,
      `sentinel auth-pass ${name} ${password}`,
      `sentinel down-after-milliseconds ${name} 500`,
      `sentinel failover-timeout ${name} 3000`,
    ];
    await writeFile(file, `${lines.join('\n')}\n`);
    const child = spawn(REDIS_SERVER, [file, '--sentinel'], { stdio: 'ignore' });
    const admin = new Redis(port, '127.0.0.1', { password, retryStrategy: () => 20 });
    admin.on('error', () => undefined);
    const sentinel = new RedisSentinel(port, child, folder, admin);
    try {
      await until(() => admin.status === 'ready', 'the Sentinel');
    } catch (error) {
      await sentinel.stop();
      throw error;
    }
    return sentinel;
  }

  /** Replicas that it knows of and finds well. */
  async replicas(name: string): Promise<number> {
    const replicas = (await this.admin.call('SENTINEL', 'REPLICAS', name)) as object[];
    return replicas.filter(replica => JSON.stringify(replica).includes('"slave"')).length;
  }

  async stop(): Promise<void> {
    this.admin.disconnect();
    process.removeListener('exit', this.#kill);
    if (this.child.exitCode === null && this.child.signalCode === null) {
      const exit = new Promise(resolve => this.child.once('exit', resolve));
      this.child.kill('SIGKILL');
      await exit;
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
