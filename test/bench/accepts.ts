/**
 * What it costs to accept a stream: `npm run bench:accepts`. Each round runs every candidate once, in a fresh process. A
 * process is measured twice: soon after its start, and once it has accepted thousands. Writes `docs/bench/accepts.md`.
 *
 *   --rounds 3   --accepts 3000   --warm 8000   --only raw,koa   --dry (prints, writes nothing)
 */
import { parseArgs } from 'node:util';
import type { Candidate } from './bench-server.js';
import type { BenchResult } from './bench-result.js';
import { CANDIDATES } from './candidates.js';
import { BenchClients } from './client/bench-clients.js';
import { Comparison } from './comparison.js';
import { installPeers } from './install-peers.js';
import { machine } from './machine.js';
import { nodeCandidate } from './node-candidate.js';
import { reportText, writeReport } from './report.js';
import type { Column, Table } from './table.js';

/** Connections before the first measurement, so that every module is loaded. */
const FIRST = 200;

const COLUMNS: readonly Column[] = [
  { title: 'soon after the start: CPU µs', metric: 'coldCpuUs', digits: 0 },
  { title: 'when thousands are open: CPU µs', metric: 'warmCpuUs', digits: 0 },
];

// Heartbeats are no part of an accept.
const QUIET = { SSE_CONNECTION_HEARTBEAT: 'false' };
const DETACHED = { ...QUIET, SSE_CONNECTION_DETACH: 'auto' };
const ATTACHED = { ...QUIET, SSE_CONNECTION_DETACH: 'false' };
const NO_LIMITS = { SSE_LIMITS_CROSS_SITE: 'allow', SSE_LIMITS_MAX_CONNECTIONS_PER_HTTP2: 'false' };
const ALL_LIMITS = {
  SSE_LIMITS_MAX_CONNECTIONS_PER_USER: '1000000',
  SSE_LIMITS_MAX_CONNECTIONS_PER_ADDRESS: '1000000',
  SSE_LIMITS_MAX_CLUSTER_CONNECTIONS: '1000000',
  SSE_LIMITS_MAX_CONNECTS_PER_MINUTE: '1000000',
  SSE_LIMITS_MAX_REPLAY_BYTES_PER_MINUTE: '1000000000',
};

const FLOORS = CANDIDATES.filter(({ name }) => ['raw', 'koa-response', 'better-sse'].includes(name));
const OURS = [
  nodeCandidate('plain-http', 'this library on node:http', { environment: DETACHED }),
  nodeCandidate('koa', 'this library under Koa', { environment: DETACHED }),
  nodeCandidate('koa-attached', 'this library under Koa, `connection.detach: false`', {
    program: 'koa',
    environment: ATTACHED,
  }),
];
const GUARDED = [
  nodeCandidate('guarded', 'an endpoint with a guard, no limits', {
    program: 'koa-guarded',
    environment: { ...DETACHED, ...NO_LIMITS },
  }),
  nodeCandidate('limits', 'the same with every limit', {
    program: 'koa-guarded',
    environment: { ...DETACHED, ...ALL_LIMITS },
  }),
  nodeCandidate('limits-attached', 'the same with every limit and `connection.detach: false`', {
    program: 'koa-guarded',
    environment: { ...ATTACHED, ...ALL_LIMITS },
  }),
];

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    accepts: { type: 'string', default: '3000' },
    warm: { type: 'string', default: '8000' },
    only: { type: 'string' },
    dry: { type: 'boolean', default: false },
  },
});
const accepts = Number(flags.accepts);

installPeers();
const comparison = new Comparison([...FLOORS, ...OURS, ...GUARDED], flags.only, Number(flags.rounds));
const results = await comparison.run('accepts', measure);
const report = {
  name: 'accepts',
  title: 'Accepting a stream',
  command: 'npm run bench:accepts',
  machine: machine(),
  about:
    `Server and clients on the same machine over the loopback, ${flags.rounds} alternating rounds in fresh processes; each ` +
    `cell is the median, its spread, and in brackets the median ratio to the first row within a round. The first column is ` +
    `for connections ${FIRST + 1} to ${FIRST + accepts} of a process, while Node compiles what it runs often; the second for ` +
    `${accepts} connections after the first ${flags.warm}. Requests have the headers that a browser sends for a page of the ` +
    `same origin. Heartbeats are off. ${comparison.absent}`,
  tables: [
    tableOf('servers', 'Beside other servers', [...FLOORS, ...OURS]),
    tableOf('limits', 'What limits cost', GUARDED),
  ].filter(table => table.results.length > 0),
};
if (flags.dry) console.log(`\n${reportText(report)}`);
else writeReport(report);

function tableOf(id: string, title: string, candidates: readonly Candidate[]): Table {
  const own = results.filter(({ name }) => candidates.some(candidate => candidate.name === name));
  return { id, title, note: '', rows: 'server', columns: COLUMNS, results: own };
}

async function measure(candidate: Candidate): Promise<BenchResult['rounds'][number]> {
  const server = await candidate.start(1_000_000);
  const clients = BenchClients.start();
  const cpuOf = async (count: number): Promise<number> => {
    const before = await server.cpu();
    await clients.open(server, count);
    return ((await server.cpu()) - before) / count;
  };
  try {
    await clients.open(server, FIRST);
    const coldCpuUs = await cpuOf(accepts);
    await clients.open(server, Math.max(0, Number(flags.warm) - clients.opened));
    return { coldCpuUs, warmCpuUs: await cpuOf(accepts) };
  } finally {
    await clients.stop();
    await server.stop();
  }
}
