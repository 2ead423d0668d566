/**
 * Compares this library with others on this machine: `npm run bench`. Each round runs every candidate once, in a fresh
 * process, so that a busy minute harms all alike. Writes `docs/bench/results.md` and `docs/bench/cpu-per-delivery.svg`.
 *
 *   --connections 1000,10000   --rounds 3   --deliveries 400000   --only raw,koa   --dry (prints, writes nothing)
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import type { BenchResult } from './bench-result.js';
import type { Candidate } from './bench-server.js';
import { CANDIDATES } from './candidates.js';
import { chart } from './chart.js';
import { BenchClients } from './client/bench-clients.js';
import { PEERS, peersInstalled } from './peer.js';
import { RunLoad, type Figures } from './run-load.js';
import { table } from './table.js';

const OUT = fileURLToPath(new URL('../../../docs/bench/', import.meta.url));
const { values: flags } = parseArgs({
  options: {
    connections: { type: 'string', default: '1000,10000' },
    rounds: { type: 'string', default: '3' },
    deliveries: { type: 'string', default: '400000' },
    only: { type: 'string' },
    dry: { type: 'boolean', default: false },
  },
});

if (!peersInstalled()) install();
const only = flags.only?.split(',');
const taking = CANDIDATES.filter(({ name }) => only?.includes(name) ?? true).filter(isPresent);
const sections: string[] = [];
for (const connections of flags.connections.split(',').map(Number)) {
  const results = await compare(taking, connections);
  sections.push(`## ${connections} connections\n\n${table(results)}\n`);
  console.log(`\n${sections.at(-1) ?? ''}`);
  if (flags.dry) continue;
  mkdirSync(OUT, { recursive: true });
  const title = `Server CPU per delivery, one broadcast at a time to ${connections} connections`;
  writeFileSync(`${OUT}cpu-per-delivery.svg`, chart(results, title));
}
if (!flags.dry) writeFileSync(`${OUT}results.md`, page(sections));

async function compare(
  candidates: readonly Candidate[],
  connections: number,
): Promise<BenchResult[]> {
  const figures = new Map<Candidate, Figures[]>(candidates.map(candidate => [candidate, []]));
  for (let round = 1; round <= Number(flags.rounds); round += 1) {
    for (const [candidate, rounds] of figures) {
      console.log(`${connections} connections, round ${round}, ${candidate.name}`);
      rounds.push(await measure(candidate, connections));
    }
  }
  return [...figures].map(([{ name, description }, rounds]) => ({
    name,
    description,
    connections,
    rounds,
  }));
}

async function measure(candidate: Candidate, connections: number): Promise<Figures> {
  const server = await candidate.start(connections);
  const clients = BenchClients.start();
  try {
    return await new RunLoad(server, clients, Number(flags.deliveries)).run(connections);
  } finally {
    await clients.stop();
    await server.stop();
  }
}

function isPresent({ name, absence }: Candidate): boolean {
  const reason = absence();
  if (reason !== undefined) console.log(`${name} takes no part: ${reason}`);
  return reason === undefined;
}

function install(): void {
  try {
    execFileSync('npm', ['ci', '--no-audit', '--no-fund'], { cwd: PEERS, stdio: 'ignore' });
  } catch {
    console.log('the peers could not be installed; those that need them take no part');
  }
}

function page(parts: readonly string[]): string {
  return [
    '# Benchmark\n',
    `${availableParallelism()} cores, Node ${process.versions.node}, server and clients on the same machine over the loopback. ` +
      `${flags.rounds} alternating rounds; each cell is the median, its spread, and in brackets the median ratio to the ` +
      'first row within a round. An event is about 250 bytes. Trust processor time and ratios, not absolute times. ' +
      'Made by `npm run bench`.\n',
    ...parts,
  ].join('\n');
}
