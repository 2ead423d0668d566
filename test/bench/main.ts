/**
 * Compares this library with others on this machine: `npm run bench`. Each round runs every candidate once, in a fresh
 * process, so that a busy minute harms all alike. Writes `docs/bench/results.md` and the pictures.
 *
 *   --connections 1000,10000   --rounds 3   --deliveries 300000   --replays 100   --only raw,koa   --dry (prints, writes nothing)
 */
import { parseArgs } from 'node:util';
import type { Candidate } from './bench-server.js';
import { CANDIDATES } from './candidates.js';
import { BenchClients } from './client/bench-clients.js';
import { Comparison } from './comparison.js';
import { installPeers } from './install-peers.js';
import { machine } from './machine.js';
import { writePictures } from './pictures.js';
import { replayTable } from './replay/replay-table.js';
import { reportText, writeReport } from './report.js';
import { RunLoad, type Figures } from './run-load.js';
import type { Column, Table } from './table.js';

const COLUMNS: readonly Column[] = [
  { title: 'lone: CPU µs/delivery', metric: 'loneCpuUs', digits: 2 },
  { title: 'lone: last ms', metric: 'loneLastMs', digits: 0 },
  { title: 'lone: longest stall ms', metric: 'loneStallMs', digits: 0 },
  { title: '4 outstanding: deliveries/s', metric: 'sustainedPerSecond', digits: 0 },
  { title: '4 outstanding: CPU µs', metric: 'sustainedCpuUs', digits: 2 },
  { title: 'burst of 10: CPU µs', metric: 'burstCpuUs', digits: 2 },
  { title: 'direct send: CPU µs', metric: 'sendCpuUs', digits: 2 },
  { title: 'accept: CPU µs', metric: 'acceptCpuUs', digits: 0 },
  { title: 'heap KB/conn', metric: 'heapKb', digits: 1 },
  { title: 'RSS KB/conn', metric: 'rssKb', digits: 1 },
];

const { values: flags } = parseArgs({
  options: {
    connections: { type: 'string', default: '1000,10000' },
    rounds: { type: 'string', default: '3' },
    deliveries: { type: 'string', default: '300000' },
    replays: { type: 'string', default: '100' },
    only: { type: 'string' },
    dry: { type: 'boolean', default: false },
  },
});

installPeers();
const comparison = new Comparison(CANDIDATES, flags.only, Number(flags.rounds));
const tables: Table[] = [];
for (const connections of flags.connections.split(',').map(Number)) {
  const title = `${connections} connections`;
  const results = await comparison.run(title, candidate => measure(candidate, connections));
  tables.push({
    id: String(connections),
    title,
    note: '',
    rows: 'server',
    columns: COLUMNS,
    results,
  });
}
const report = {
  name: 'results',
  title: 'Benchmark',
  command: 'npm run bench',
  machine: machine(),
  about:
    `Server and clients on the same machine over the loopback, ${flags.rounds} alternating rounds in fresh processes; each ` +
    'cell is the median, its spread, and in brackets the median ratio to the first row within a round. An event is about ' +
    '250 bytes. Trust processor time and ratios, not absolute times. ' +
    comparison.absent,
  tables: [...tables, await replayTable(flags)],
};
if (flags.dry) console.log(`\n${reportText(report)}`);
else {
  writeReport(report);
  writePictures();
}

async function measure(candidate: Candidate, connections: number): Promise<Figures> {
  const server = await candidate.start(connections);
  const clients = BenchClients.start();
  try {
    const load = new RunLoad(server, clients, Number(flags.deliveries));
    const opened = await load.open(connections);
    return { ...opened, ...(await load.load(['lone', 'sustained', 'bursts', 'sends'])) };
  } finally {
    await clients.stop();
    await server.stop();
  }
}
