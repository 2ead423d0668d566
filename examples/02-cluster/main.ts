import { fileURLToPath } from 'node:url';
import { freePort, Processes } from './processes.js';

/**
 * A Redis and three nodes of the demo, by one command. `REDIS_URL` names a Redis that is there already; `PORT` is that of
 * the first node, 3001 by default, 0 for any.
 */
const DEMO = fileURLToPath(new URL('../01-one-process/main.js', import.meta.url));
const FIRST_PORT = Number(process.env['PORT'] ?? 3001);
const NODES = ['a', 'b', 'c'];

const processes = new Processes();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void stop(0));
try {
  await main();
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  await stop(1);
}

async function main(): Promise<void> {
  const REDIS_URL = process.env['REDIS_URL'] ?? (await processes.startRedis());
  const ports = await Promise.all(NODES.map(async (_, at) => (FIRST_PORT === 0 ? freePort() : FIRST_PORT + at)));
  for (const [at, NODE_ID] of NODES.entries()) {
    processes.startNode(DEMO, { ...process.env, REDIS_URL, NODE_ID, PORT: String(ports[at]) });
  }
  const [a, b, c] = ports.map(port => `http://127.0.0.1:${port}`);
  console.log(`three nodes meet in ${REDIS_URL}; try

  curl -N ${a}/sse/connect/me          # a client of node a
  curl -d hello '${b}/sse/send/me'     # a send from node b
  curl ${c}/sse/connections            # what node c knows
`);
}

async function stop(code: number): Promise<void> {
  await processes.stop();
  process.exit(code);
}
