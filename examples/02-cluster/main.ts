import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';

/**
 * A Redis and three nodes of the demo, by one command. `REDIS_URL` names a Redis that is there already; `PORT` is that of
 * the first node, 3001 by default, 0 for any.
 */
const DEMO = fileURLToPath(new URL('../01-one-process/main.js', import.meta.url));
const FIRST_PORT = Number(process.env['PORT'] ?? 3001);
const NODES = ['a', 'b', 'c'];
/** Milliseconds for Redis to answer; an image may have to be fetched first. */
const PATIENCE = 120_000;

const nodes: ChildProcess[] = [];
const servers: ChildProcess[] = [];
const folder = mkdtempSync(join(tmpdir(), 'sse-cluster-'));

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop(0));
try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await stop(1);
}

async function main(): Promise<void> {
  const REDIS_URL = process.env['REDIS_URL'] ?? (await startRedis());
  const ports = await Promise.all(NODES.map(async (_, at) => (FIRST_PORT === 0 ? freePort() : FIRST_PORT + at)));
  for (const [at, NODE_ID] of NODES.entries()) {
    const env = { ...process.env, REDIS_URL, NODE_ID, PORT: String(ports[at]) };
    nodes.push(start(process.execPath, [DEMO], 'inherit', env));
  }
  const [a, b, c] = ports.map(port => `http://127.0.0.1:${port}`);
  console.log(`three nodes meet in ${REDIS_URL}; try

  curl -N ${a}/sse/connect/me          # a client of node a
  curl -d hello '${b}/sse/send/me'     # a send from node b
  curl ${c}/sse/connections            # what node c knows
`);
}

/** A Redis of its own on a free port: from PATH, or else in a container. */
async function startRedis(): Promise<string> {
  const port = await freePort();
  const options = ['--save', '', '--appendonly', 'no'];
  const binary = ['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, ...options];
  const container = ['run', '--rm', '-p', `127.0.0.1:${port}:6379`, 'redis:7-alpine'];
  const ways = [
    ['redis-server', binary],
    ['docker', [...container, 'redis-server', ...options]],
  ] as const;
  for (const [program, args] of ways) {
    const server = start(program, args, 'ignore');
    servers.push(server);
    if (await answers(server, port)) return `redis://127.0.0.1:${port}`;
    console.error(`${program} did not start a Redis`);
  }
  throw new Error('neither redis-server nor docker could start a Redis; install redis-server, or set REDIS_URL');
}

/** Resolves to false when the server ends, or cannot even begin, before Redis answers. */
async function answers(server: ChildProcess, port: number): Promise<boolean> {
  const ended = once(server, 'exit').then(
    () => false,
    () => false,
  );
  for (const end = Date.now() + PATIENCE; Date.now() < end;) {
    const answered = await Promise.race([ended, ping(port)]);
    if (answered !== undefined) return answered;
    await delay(50);
  }
  return false;
}

/** True when Redis answers, undefined when nothing does yet. */
async function ping(port: number): Promise<true | undefined> {
  const socket = connect(port, '127.0.0.1');
  try {
    socket.end('PING\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    return answer.toString().startsWith('+PONG') ? true : undefined;
  } catch {
    return undefined;
  } finally {
    socket.destroy();
  }
}

function start(
  program: string,
  args: readonly string[],
  output: 'inherit' | 'ignore',
  env: NodeJS.ProcessEnv = process.env,
): ChildProcess {
  // In a group of their own, so that Ctrl-C lets the nodes leave before Redis goes.
  return spawn(program, args, { env, stdio: ['ignore', output, 'inherit'], detached: true });
}

/** Ends the nodes first, so that they can leave the cluster. */
async function stop(code: number): Promise<void> {
  for (const group of [nodes, servers]) {
    await Promise.all(
      group.map(async child => {
        if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return;
        const exit = once(child, 'exit');
        child.kill('SIGTERM');
        await exit;
      }),
    );
  }
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}
