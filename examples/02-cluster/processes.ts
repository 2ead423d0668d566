import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';

/** Milliseconds for a server to answer; an image may have to be fetched first. */
const PATIENCE = 120_000;

/** Programs that an example runs. */
export class Processes {
  readonly #nodes: ChildProcess[] = [];
  readonly #servers: ChildProcess[] = [];

  /** Starts one more node: a program of Node. */
  startNode(program: string, env: NodeJS.ProcessEnv): ChildProcess {
    const node = start(process.execPath, [program], ['inherit', 'inherit'], env);
    this.#nodes.push(node);
    return node;
  }

  /** Starts a server; resolves to whether it answers. It does not when the program is missing or ends before. */
  async startServer(
    program: string,
    args: readonly string[],
    ask: () => Promise<boolean>,
    errors: 'inherit' | 'ignore' = 'inherit',
  ): Promise<boolean> {
    const server = start(program, args, ['ignore', errors]);
    this.#servers.push(server);
    const ended = once(server, 'exit').then(
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

  /** A Redis of its own on a free port: from PATH, or else in a container. */
  async startRedis(): Promise<string> {
    const port = await freePort();
    const folder = mkdtempSync(join(tmpdir(), 'sse-redis-'));
    process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
    const options = ['--save', '', '--appendonly', 'no'];
    const binary = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, ...options];
    const container = ['run', '--rm', '-p', `127.0.0.1:${port}:6379`, 'redis:7-alpine'];
    const ways = [
      ['redis-server', binary],
      ['docker', [...container, 'redis-server', ...options]],
    ] as const;
    for (const [program, args] of ways) {
      if (await this.startServer(program, args, () => pong(port))) return `redis://127.0.0.1:${port}`;
      console.error(`${program} did not start a Redis`);
    }
    throw new Error('neither redis-server nor docker could start a Redis; install redis-server, or set REDIS_URL');
  }

  /** Ends the nodes first, so that they can leave the cluster. */
  async stop(): Promise<void> {
    for (const group of [this.#nodes, this.#servers]) await Promise.all(group.map(end));
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

function start(
  program: string,
  args: readonly string[],
  output: readonly ('inherit' | 'ignore')[],
  env: NodeJS.ProcessEnv = process.env,
): ChildProcess {
  // In a group of their own, so that Ctrl-C lets the nodes leave before Redis goes.
  return spawn(program, args, { env, stdio: ['ignore', ...output], detached: true });
}

async function end(child: ChildProcess): Promise<void> {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}
