import { figure, type BenchResult } from '../bench-result.js';
import type { Report } from '../report.js';

const MILLION = 1_000_000;
const PER_PROCESS = 25_000;
// A process that is busier than this answers late whenever something comes on top.
const BUSY = 0.5;
// Assumed: what a process takes before the first connection, and what buffers take under load.
const PROCESS_MB = 150;
const REFRESHES_PER_HOUR = 3;
const ROUTES_PER_CALL = 200;
const RECONNECT_SECONDS = 60;

/** The arithmetic for a million connections, from what was measured. */
export function millionText(reports: ReadonlyMap<string, Report | undefined>): string {
  const ask = (report: string, table: string, row: string, metric: string): number =>
    figure(find(reports.get(report), table, row), metric)?.median ?? Number.NaN;
  const largest = reports.get('growth')?.tables[0]?.results.at(-1)?.name ?? '';
  const grown = (metric: string): number => ask('growth', 'connections', largest, metric);
  const processes = MILLION / PER_PROCESS;
  const [loneUs, joinedUs] = [grown('loneCpuUs'), grown('sustainedCpuUs')];
  const [rssKb, acceptUs] = [grown('rssKb'), ask('cluster', 'fan-out', 'broadcast', 'acceptCpuUs')];
  const coreSeconds = (loneUs * MILLION) / 1e6;
  const perCore = (BUSY * 1e6) / (loneUs * PER_PROCESS);
  const registerUs = ask('cluster', 'registration', 'register', 'redisCpuUs');
  const publishUs = ask('cluster', 'one-way', 'publish-history', 'redisCpuUs');
  const bareUs = ask('cluster', 'one-way', 'publish', 'redisCpuUs');
  const sendUs = ask('cluster', 'answered', 'send', 'redisCpuUs');
  const perNode = ask('growth', 'nodes', '8-empty', 'commandsPerNode');
  const idleMs = ask('growth', 'nodes', '8-empty', 'redisCpuMs');
  const refreshes = (MILLION * REFRESHES_PER_HOUR) / 3600 / ROUTES_PER_CALL;
  const opens = MILLION / RECONNECT_SECONDS;
  const memoryGb = (MILLION * rssKb) / 2 ** 20 + (processes * PROCESS_MB) / 1024;
  return `# A million connections

Arithmetic, not a measurement: computed by \`npm run bench:goals\` from the figures of [growth](growth.md) and
[several nodes](cluster.md), measured on ${reports.get('growth')?.machine ?? ''}. The figures per connection and per delivery are those at
${largest} connections in one process.

## Processes

A process of Node uses one core. With ${PER_PROCESS.toLocaleString('en')} connections each, a million needs **${processes} processes**, one per core;
each needs a limit of open files of more than
${(PER_PROCESS + 1000).toLocaleString('en')}, and behind one balancer address its clients need more than one port range.

| what | figure | for a million |
| --- | --- | --- |
| one lone broadcast | ${loneUs.toFixed(2)} µs of CPU per delivery | ${coreSeconds.toFixed(1)} core seconds; ${(coreSeconds / processes).toFixed(2)} s in each process, in slices |
| broadcasts that can be joined (4 outstanding) | ${joinedUs.toFixed(2)} µs | ${((joinedUs * MILLION) / 1e6).toFixed(1)} core seconds each |
| broadcasts to everyone, processes ${BUSY * 100} % busy | | ${perCore.toFixed(1)} lone ones a second |
| memory of idle connections | ${rssKb.toFixed(1)} KB resident each, ${PROCESS_MB} MB per process assumed | ${memoryGb.toFixed(1)} GB, and the kernel's socket buffers beside it |
| everyone comes back within ${RECONNECT_SECONDS} s | ${acceptUs.toFixed(0)} µs to accept, with Redis | ${opens.toFixed(0)} a second, ${((opens * acceptUs) / 1e6).toFixed(1)} cores of ${processes} |

## Redis

| what | figure | for a million |
| --- | --- | --- |
| registration | ${registerUs.toFixed(1)} µs of Redis CPU | ${((opens * registerUs) / 1e4).toFixed(0)} % of one Redis while everyone comes back within ${RECONNECT_SECONDS} s |
| refreshing routes, ${REFRESHES_PER_HOUR} times an hour, ${ROUTES_PER_CALL} in a call | | ${refreshes.toFixed(1)} calls a second |
| ${processes} idle nodes | ${perNode.toFixed(1)} commands a second each, ${(idleMs / 8).toFixed(2)} ms of CPU | ${(perNode * processes).toFixed(0)} commands a second |
| publications with history, one subscribed node | ${publishUs.toFixed(1)} µs | ${((BUSY * 1e6) / publishUs).toFixed(0)} a second on a half busy Redis |
| without history, one subscribed node | ${bareUs.toFixed(1)} µs | ${((BUSY * 1e6) / bareUs).toFixed(0)} a second |
| direct sends with receipt | ${sendUs.toFixed(1)} µs | ${((BUSY * 1e6) / sendUs).toFixed(0)} a second |

A publication goes to every node that follows its topic: with ${processes} of them Redis writes ${processes} copies, so broadcasts cost it
that much more than the table says. Only registrations and their refreshing grow with connections.

## What one would change

1. Within the limits of the tables: only the number of processes, a cluster of Node processes per machine, and
   \`connection.maxConnections: ${PER_PROCESS}\`.
2. Registrations or direct sends beyond one Redis: a Redis Cluster. Routes and leases lie in \`redis.partitions\` slots, so
   they spread over its masters; direct sends go through the partition of their connection.
3. Pub/Sub beyond one Redis: \`redis.pubsub: 'sharded'\` (Redis 7), which sends a node's messages through one master instead
   of all, where classic Pub/Sub of a Redis Cluster copies everything to every master.
4. The ordered log is one sequence and so stays on one master: it bounds publications with history to the figure above,
   divided by what its copies cost. Publish events that may be lost with \`history: false\`, or run several clusters with a \`redis.prefix\` each.
5. After an outage all clients return at once: keep \`reconnect.jitter\` wide enough that accepting and registering fit.
`;
}

function find(report: Report | undefined, table: string, row: string): BenchResult {
  const results = report?.tables.find(({ id }) => id === table)?.results;
  return results?.find(({ name }) => name === row) ?? { name: row, description: row, rounds: [] };
}
