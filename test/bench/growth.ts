/**
 * How cost grows with connections and with nodes: `npm run bench:growth`. Writes `docs/bench/growth.md`.
 *
 *   --sizes 100,1000,10000,50000   --rounds 2   --deliveries 200000
 *   --nodes 1,2,4,8   --per-node 2000   --seconds 60   --dry (prints, writes nothing)
 */
import { parseArgs } from 'node:util';
import type { BenchResult } from './bench-result.js';
import type { Measured } from './cluster/figures.js';
import { measureSize } from './growth/measure-size.js';
import { measureSteadyState, SHORT_TTL } from './growth/measure-steady-state.js';
import { mostConnections } from './growth/open-files.js';
import { machine } from './machine.js';
import { reportText, writeReport } from './report.js';
import type { Figures } from './run-load.js';

const { values: flags } = parseArgs({
  options: {
    sizes: { type: 'string', default: '100,1000,10000,50000' },
    rounds: { type: 'string', default: '2' },
    deliveries: { type: 'string', default: '200000' },
    nodes: { type: 'string', default: '1,2,4,8' },
    'per-node': { type: 'string', default: '2000' },
    seconds: { type: 'string', default: '60' },
    dry: { type: 'boolean', default: false },
  },
});

const most = mostConnections();
const wanted = flags.sizes.split(',').map(Number);
const sizes = [...new Set(wanted.map(size => Math.min(size, most)))];
const report = {
  name: 'growth',
  title: 'Growth',
  command: 'npm run bench:growth',
  machine: machine(),
  about:
    'All processes on the same machine over the loopback. Each cell is the median, its spread, and in brackets the median ratio to ' +
    'the first row within a round.',
  tables: [
    {
      id: 'connections',
      title: 'With connections: one process, this library under Koa',
      note: `Rounds: ${flags.rounds}. ${limitNote()}`,
      rows: 'connections',
      columns: [
        { title: 'lone: CPU µs/delivery', metric: 'loneCpuUs', digits: 2 },
        { title: 'lone: last ms', metric: 'loneLastMs', digits: 1 },
        { title: 'lone: longest stall ms', metric: 'loneStallMs', digits: 0 },
        { title: '4 outstanding: CPU µs', metric: 'sustainedCpuUs', digits: 2 },
        { title: '4 outstanding: deliveries/s', metric: 'sustainedPerSecond', digits: 0 },
        { title: 'accept: CPU µs', metric: 'acceptCpuUs', digits: 0 },
        { title: 'heap KB/conn', metric: 'heapKb', digits: 2 },
        { title: 'RSS KB/conn', metric: 'rssKb', digits: 2 },
      ],
      results: await grow(),
    },
    {
      id: 'nodes',
      title: 'With nodes: what an idle cluster costs Redis',
      note:
        `Nothing is sent for ${flags.seconds} seconds. Routes are refreshed three times in \`redis.connectionTtl\`, an hour unless set, ` +
        `200 in a call; the last row of each has ${SHORT_TTL} seconds instead, so that each window has a refresh of every route: ` +
        `${3600 / SHORT_TTL} times as often as usual.`,
      rows: 'nodes',
      columns: [
        { title: 'commands/s, scripts’ included', metric: 'commandsPerSecond', digits: 1 },
        { title: 'commands/s and node', metric: 'commandsPerNode', digits: 1 },
        { title: 'script calls/s', metric: 'scriptsPerSecond', digits: 1 },
        { title: 'Redis CPU ms/s', metric: 'redisCpuMs', digits: 2 },
      ],
      results: await multiply(),
    },
  ],
};
if (flags.dry) console.log(`\n${reportText(report)}`);
else writeReport(report);

async function grow(): Promise<BenchResult[]> {
  const figures = new Map<number, Figures[]>(sizes.map(size => [size, []]));
  for (let round = 1; round <= Number(flags.rounds); round += 1) {
    for (const [size, rounds] of figures) {
      console.log(`round ${round}, ${size} connections`);
      rounds.push(await measureSize(size, Number(flags.deliveries)));
    }
  }
  return [...figures].map(([size, rounds]) => ({
    name: String(size),
    description: String(size),
    rounds,
  }));
}

async function multiply(): Promise<BenchResult[]> {
  const perNode = Number(flags['per-node']);
  const results: BenchResult[] = [];
  for (const nodes of flags.nodes.split(',').map(Number)) {
    console.log(`${nodes} nodes, without connections and with ${perNode} each`);
    const measured = await measureSteadyState(nodes, perNode, Number(flags.seconds) * 1000);
    results.push(...rows(nodes, perNode, measured));
  }
  return results;
}

function rows(nodes: number, perNode: number, measured: Measured): BenchResult[] {
  const descriptions = {
    empty: 'no connections',
    full: `${perNode} connections each`,
    often: `${perNode} connections each, refreshed every ${SHORT_TTL / 3} s`,
  };
  return Object.entries(descriptions).map(([kind, description]) => ({
    name: `${nodes}-${kind}`,
    description: `${nodes}, ${description}`,
    rounds: [measured[kind] ?? {}],
  }));
}

function limitNote(): string {
  const refused = wanted.filter(size => size > most);
  if (refused.length === 0) return '';
  return `A process may open ${most} connections on this machine, so ${refused.join(' and ')} became that.`;
}
