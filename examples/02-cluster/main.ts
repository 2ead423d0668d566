import { spawn, type ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const DEMO = fileURLToPath(new URL('../01-one-process/main.js', import.meta.url));
const FIRST_PORT = 3001;
const NODES = ['a', 'b', 'c'];

const children: ChildProcess[] = [];
const folder = mkdtempSync(join(tmpdir(), 'sse-cluster-'));
const REDIS_URL = process.env['REDIS_URL'] ?? (await startRedis());

for (const [at, id] of NODES.entries()) {
  const port = String(FIRST_PORT + at);
  start(process.execPath, [DEMO], { ...process.env, REDIS_URL, NODE_ID: id, PORT: port });
}

console.log(`three nodes meet in ${REDIS_URL}; try

  curl -N http://127.0.0.1:3001/sse/connect/me          # a client of node a
  curl -d hello 'http://127.0.0.1:3002/sse/send/me'     # a send from node b
  curl http://127.0.0.1:3003/sse/connections            # what node c knows
`);

for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop());

/** A Redis of its own on a free port: from PATH, or else in a container. */
async function startRedis(): Promise<string> {
  const port = await freePort();
  const args = ['--port', String(port), '--save', '', '--dir', folder];
  const docker = ['run', '--rm', '-p', `127.0.0.1:${port}:6379`, 'redis:7-alpine'];
  start('redis-server', args, process.env, () => {
    start('docker', docker, process.env, () => {
      console.error('neither redis-server nor docker is on PATH; install one, or set REDIS_URL');
      process.exit(1);
    });
  });
  return `redis://127.0.0.1:${port}`;
}

function start(
  program: string,
  args: readonly string[],
  env: NodeJS.ProcessEnv,
  onMissing?: () => void,
): void {
  const quiet = program === process.execPath ? 'inherit' : 'ignore';
  // In a group of their own, so that Ctrl-C lets the nodes leave before Redis goes.
  const child = spawn(program, args, { env, stdio: ['ignore', quiet, 'inherit'], detached: true });
  child.once('error', () => onMissing?.());
  children.push(child);
}

/** Ends the nodes first, so that they can leave the cluster. */
async function stop(): Promise<void> {
  const [nodes, others] = [children.filter(isNode), children.filter(child => !isNode(child))];
  for (const group of [nodes, others]) {
    await Promise.all(
      group.map(async child => {
        if (child.exitCode !== null || child.pid === undefined) return;
        const exit = new Promise(resolve => child.once('exit', resolve));
        child.kill('SIGTERM');
        await exit;
      }),
    );
  }
  rmSync(folder, { recursive: true, force: true });
  process.exit(0);
}

function isNode(child: ChildProcess): boolean {
  return child.spawnfile === process.execPath;
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise(resolve => server.close(resolve));
  return port;
}
