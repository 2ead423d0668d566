import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import type { Upstream } from './balancer.js';

const DEMO = fileURLToPath(new URL('../01-one-process/main.js', import.meta.url));
/** Milliseconds for a server to answer; an image may have to be fetched first. */
const PATIENCE = 120_000;

/** A program that this one has started, and ends. */
export abstract class Program {
  #child: ChildProcess | undefined;

  get running(): boolean {
    return this.#child !== undefined && this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Sends a signal and resolves when the program has ended. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    const child = this.#child;
    if (child?.pid === undefined || !this.running) return;
    const exit = once(child, 'exit');
    child.kill(signal);
    await exit;
  }

  /** Ends it at once, when this process ends without having stopped it. */
  abandon(): void {
    if (this.running) this.#child?.kill('SIGKILL');
  }

  protected spawn(
    program: string,
    args: readonly string[],
    output: 'pipe' | 'ignore',
    { errors = 'inherit', env = process.env }: SpawnOptions = {},
  ): ChildProcess {
    // In a group of its own, so that Ctrl-C lets the nodes leave before Redis goes.
    this.#child = spawn(program, args, { env, stdio: ['ignore', output, errors], detached: true });
    return this.#child;
  }

  /** Spawns a server; resolves to false when it ends, or cannot even begin, before it answers. */
  protected async serve(
    program: string,
    args: readonly string[],
    ask: () => Promise<boolean>,
    errors: SpawnOptions['errors'] = 'inherit',
  ): Promise<boolean> {
    const ended = once(this.spawn(program, args, 'ignore', { errors }), 'exit').then(
      () => false,
      () => false,
    );
    for (const end = Date.now() + PATIENCE; Date.now() < end;) {
      const answered = await Promise.race([ended, ask().then(yes => yes || undefined)]);
      if (answered !== undefined) return answered;
      await delay(50);
    }
    return false;
  }
}

interface SpawnOptions {
  readonly errors?: 'inherit' | 'ignore';
  readonly env?: NodeJS.ProcessEnv;
}

/** A node of the demo. */
export class DemoNode extends Program implements Upstream {
  constructor(
    readonly id: string,
    readonly port: number,
    private readonly redisUrl: string,
    private readonly variables: Readonly<Record<string, string>> = {},
  ) {
    super();
  }

  /** Resolves when it accepts connections. @throws Error when it ends before */
  async start(): Promise<void> {
    if (this.running) return;
    const env = {
      // For the scenarios of the tour. A node's own copy of the log would close the gap that the tour shows.
      SSE_HISTORY_TAIL: '0',
      // A killed node is gone within seconds.
      SSE_NODE_LEASE: '6000',
      SSE_NODE_HEARTBEAT: '2000',
      ...process.env,
      REDIS_URL: this.redisUrl,
      NODE_ID: this.id,
      PORT: String(this.port),
      HOST: '127.0.0.1',
      ...this.variables,
    };
    const child = this.spawn(process.execPath, [DEMO], 'pipe', { env });
    const ended = once(child, 'exit').then(() => {
      throw new Error(`node ${this.id} ended before it accepted connections`);
    });
    const listening = new Promise<void>(resolve => {
      child.stdout?.on('data', (chunk: Buffer) => {
        process.stdout.write(chunk);
        if (chunk.toString().includes('listening on')) resolve();
      });
    });
    await Promise.race([listening, ended]);
    ended.catch(() => undefined);
  }
}

/** A Redis of this program's own on a free port: from PATH, or else in a container. */
export class DemoRedis extends Program {
  #way: readonly [program: string, args: readonly string[]] | undefined;

  private constructor(
    readonly port: number,
    private readonly folder: string,
  ) {
    super();
  }

  get url(): string {
    return `redis://127.0.0.1:${this.port}`;
  }

  /** @throws Error when neither way starts one */
  static async start(folder: string): Promise<DemoRedis> {
    const redis = new DemoRedis(await freePort(), folder);
    for (const way of redis.#ways()) {
      redis.#way = way;
      if (await redis.#serve(way)) return redis;
      console.error(`${way[0]} did not start a Redis`);
    }
    throw new Error('neither redis-server nor docker could start a Redis; install redis-server, or set REDIS_URL');
  }

  /** Starts it again on its port, with what it kept when it was stopped. @throws Error when it does not answer */
  async restart(): Promise<void> {
    if (this.running || this.#way === undefined) return;
    if (!(await this.#serve(this.#way))) throw new Error('Redis did not start again');
  }

  #ways(): readonly (readonly [program: string, args: readonly string[]])[] {
    // It saves its data when it is stopped, so that it comes back with them.
    const options = ['--save', '3600 1', '--appendonly', 'no'];
    const binary = ['--port', String(this.port), '--bind', '127.0.0.1', '--dir', this.folder, ...options];
    const container = ['run', '--rm', '-p', `127.0.0.1:${this.port}:6379`, 'redis:7-alpine'];
    return [
      ['redis-server', binary],
      ['docker', [...container, 'redis-server', ...options]],
    ];
  }

  #serve([program, args]: readonly [program: string, args: readonly string[]]): Promise<boolean> {
    return this.serve(program, args, () => pong(this.port));
  }
}

async function pong(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.end('PING\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString().startsWith('+PONG');
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

/** A port that is free at present. */
export async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}
