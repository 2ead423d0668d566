import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createBalancer } from './balancer.js';
import { DemoNode, DemoRedis, freePort } from './processes.js';

/**
 * A Redis, three nodes of the demo and a balancer in front of them, by one command. `REDIS_URL` names a Redis that is there
 * already; `PORT` is that of the first node, 3001 by default, 0 for any; `TOUR_PORT` is that of the balancer, 3000 by default.
 */
const FIRST_PORT = Number(process.env['PORT'] ?? 3001);
const TOUR_PORT = Number(process.env['TOUR_PORT'] ?? (FIRST_PORT === 0 ? 0 : 3000));

const nodes: DemoNode[] = [];
let redis: DemoRedis | undefined = undefined;
const folder = mkdtempSync(join(tmpdir(), 'sse-cluster-'));

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.once(signal, () => void stop(0));
process.once('exit', () => {
  for (const program of nodes) program.abandon();
  redis?.abandon();
});
try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await stop(1);
}

async function main(): Promise<void> {
  redis = process.env['REDIS_URL'] === undefined ? await DemoRedis.start(folder) : undefined;
  const url = redis?.url ?? process.env['REDIS_URL'] ?? '';
  for (const [at, id] of ['a', 'b', 'c'].entries()) {
    nodes.push(new DemoNode(id, FIRST_PORT === 0 ? await freePort() : FIRST_PORT + at, url));
  }
  const balancer = createBalancer(nodes, control);
  balancer.listen(TOUR_PORT, '127.0.0.1');
  await once(balancer, 'listening');
  const { port } = balancer.address() as AddressInfo;
  await Promise.all(nodes.map(node => node.start()));
  const [a = '', b = '', c = ''] = nodes.map(node => `http://127.0.0.1:${node.port}`);
  console.log(`three nodes meet in ${url}; open the tour at http://127.0.0.1:${port}, or try

  curl -N ${a}/sse/connect/me          # a client of node a
  curl -d hello '${b}/sse/send/me'     # a send from node b
  curl ${c}/sse/connections            # what node c knows
`);
}

/** What the tour asks for: `nodes/b/kill`, `nodes/b/start`, `redis/stop`, `redis/start`; an empty path asks what runs. */
function control([what = '', first = '', second = '']: readonly string[]): Promise<object> | undefined {
  const node = nodes.find(({ id }) => id === first);
  const own = redis;
  if (what === '') return facts();
  if (what === 'nodes' && second === 'kill') return node?.stop('SIGKILL').then(facts);
  if (what === 'nodes' && second === 'start') return node?.start().then(facts);
  if (what === 'redis' && first === 'stop') return own?.stop().then(facts);
  if (what === 'redis' && first === 'start') return own?.restart().then(facts);
  return undefined;
}

async function facts(): Promise<object> {
  return {
    nodes: nodes.map(({ id, running }) => ({ id, running })),
    redis: redis === undefined ? null : redis.running ? 'running' : 'stopped',
  };
}

/** Ends the nodes first, so that they can leave the cluster. */
async function stop(code: number): Promise<void> {
  await Promise.all(nodes.map(node => node.stop()));
  await redis?.stop();
  rmSync(folder, { recursive: true, force: true });
  process.exit(code);
}
