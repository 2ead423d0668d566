import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { constants, setPriority, tmpdir } from 'node:os';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { until } from '../until.js';
import { freePort } from './free-port.js';

/** The program that tests start as a server and as a Sentinel. */
export const REDIS_SERVER = process.env['REDIS_SERVER'] ?? 'redis-server';

/** A `redis-server` of the test's own, on a free port, in an empty folder, without persistence. */
export class RedisServer {
  private constructor(
    readonly port: number,
    private readonly child: ChildProcess,
    private readonly folder: string,
    /** For the test itself, not for what it tests. */
    readonly admin: Redis,
  ) {
    process.once('exit', this.#kill);
  }

  // A run that is ended early must not leave servers behind.
  readonly #kill = (): void => {
    this.child.kill('SIGKILL');
  };

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** Starts one and waits until it answers. `args` are further command line arguments; `password` is what it asks for. */
  static async start({
    args = [] as readonly string[],
    bus = false,
    port = 0,
    password = undefined as string | undefined,
  } = {}) {
    const chosen = port === 0 ? await freePort({ bus }) : port;
    const folder = await mkdtemp(join(tmpdir(), 'sse-redis-'));
    const fixed = ['--port', String(chosen), '--bind', '127.0.0.1', '--dir', folder];
    const quiet = ['--save', '', '--appendonly', 'no', '--loglevel', 'warning'];
    const login = password === undefined ? [] : ['--requirepass', password];
    const all = [...fixed, ...quiet, ...login, ...args];
    const child = spawn(REDIS_SERVER, all, { stdio: 'ignore' });
    const ended = new AbortController();
    child.once('exit', () => ended.abort());
    child.once('error', () => ended.abort());
    const admin = new Redis(chosen, '127.0.0.1', {
      retryStrategy: () => 20,
      maxRetriesPerRequest: null,
      ...(password !== undefined && { password }),
    });
    admin.on('error', () => undefined);
    await until(() => ended.signal.aborted || admin.status === 'ready', `${REDIS_SERVER} on ${chosen}`);
    const server = new RedisServer(chosen, child, folder, admin);
    if (ended.signal.aborted) {
      await server.stop();
      throw new Error(`${REDIS_SERVER} on ${chosen} did not start`);
    }
    return server;
  }

  /** Ends it as an operator does, with everything it has acknowledged saved in its folder. */
  async shutdown(): Promise<void> {
    const exit = new Promise(resolve => this.child.once('exit', resolve));
    // It answers by going.
    this.admin.call('SHUTDOWN', 'SAVE').catch(() => undefined);
    await exit;
    await this.stop();
  }

  /** Has the machine run it before anything else, as on a core of its own. Returns false where that is not allowed. */
  prefer(): boolean {
    if (this.child.pid === undefined) return false;
    try {
      setPriority(this.child.pid, constants.priority.PRIORITY_HIGHEST);
      return true;
    } catch {
      return false;
    }
  }

  /** Freezes it: sockets stay open, nothing answers. */
  freeze(): void {
    this.child.kill('SIGSTOP');
  }

  thaw(): void {
    this.child.kill('SIGCONT');
  }

  /** Makes it as new: without keys, scripts, accounts and statistics. */
  async reset(): Promise<void> {
    this.thaw();
    await this.admin.flushall();
    await this.admin.script('FLUSH');
    await this.admin.config('RESETSTAT');
    const accounts = await this.admin.acl('USERS');
    for (const account of accounts) if (account !== 'default') await this.admin.acl('DELUSER', account);
  }

  /** Whether its process has not ended. */
  get runs(): boolean {
    return this.child.pid !== undefined && this.child.exitCode === null && this.child.signalCode === null;
  }

  /** Ends it by its process id and removes its folder. Twice is harmless. */
  async stop(): Promise<void> {
    this.admin.disconnect();
    process.removeListener('exit', this.#kill);
    if (this.runs) {
      const exit = new Promise(resolve => this.child.once('exit', resolve));
      this.child.kill('SIGKILL');
      await exit;
    }
    await rm(this.folder, { recursive: true, force: true });
  }
}
