import { setTimeout as delay } from 'node:timers/promises';
import { ClusterRound, metEachOther } from '../cluster/cluster-round.js';
import type { Measured } from '../cluster/figures.js';

/** Seconds that a route lives in the last of the runs; it is refreshed three times in that. */
export const SHORT_TTL = 30;
/** The first comparison of a node with Redis is whole, and comes within 33 seconds. */
const SETTLING_MS = 35_000;

/** What nodes that nothing is sent through ask of Redis, without connections and with some each, in a second. */
export async function measureSteadyState(nodes: number, connections: number, windowMs: number): Promise<Measured> {
  const often = { SSE_REDIS_CONNECTION_TTL: String(SHORT_TTL) };
  return {
    empty: await run(nodes, 0, windowMs, {}),
    full: await run(nodes, connections, windowMs, {}),
    often: await run(nodes, connections, windowMs, often),
  };
}

async function run(
  nodes: number,
  connections: number,
  windowMs: number,
  env: Readonly<Record<string, string>>,
): Promise<Measured[string]> {
  const round = await ClusterRound.start();
  try {
    const numbers = Array.from({ length: nodes }, (_, number) => number);
    const processes = await Promise.all(
      numbers.map(number => round.node('library-node', { SSE_NODE_ID: `node-${number}`, ...env })),
    );
    for (const node of processes) await metEachOther(node, nodes);
    if (connections > 0) {
      for (const { port } of processes) await round.clients().open({ port, path: '/' }, connections);
    }
    await delay(SETTLING_MS);
    const { commands, scripts, cpuUs } = await round.meter.during(() => delay(windowMs));
    const seconds = windowMs / 1000;
    return {
      commandsPerSecond: commands / seconds,
      commandsPerNode: commands / seconds / nodes,
      scriptsPerSecond: scripts / seconds,
      redisCpuMs: cpuUs / 1000 / seconds,
    };
  } finally {
    await round.stop();
  }
}
