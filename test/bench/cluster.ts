/**
 * What it costs that several nodes act as one: `npm run bench:cluster`. Two processes of this library and a Redis of the
 * benchmark's own, beside ioredis alone and socket.io with its Redis adapter, in turn. Writes `docs/bench/cluster.md`.
 *
 *   --rounds 5   --hops 1000   --operations 30000   --connections 1000   --deliveries 300000   --dry (prints, writes nothing)
 */
import { parseArgs } from 'node:util';
import { ClusterRound } from './cluster/cluster-round.js';
import { clusterTables } from './cluster/cluster-tables.js';
import { measureFanOut } from './cluster/measure-fan-out.js';
import { MeasureHop } from './cluster/measure-hop.js';
import { MeasureThroughput } from './cluster/measure-throughput.js';
import { installPeers } from './install-peers.js';
import { machine } from './machine.js';
import { reportText, writeReport } from './report.js';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    hops: { type: 'string', default: '1000' },
    operations: { type: 'string', default: '30000' },
    connections: { type: 'string', default: '1000' },
    deliveries: { type: 'string', default: '300000' },
    dry: { type: 'boolean', default: false },
  },
});

installPeers();
const rounds = [];
for (let number = 1; number <= Number(flags.rounds); number += 1) {
  rounds.push(await run(number));
}
const report = {
  name: 'cluster',
  title: 'Benchmark of several nodes',
  command: 'npm run bench:cluster',
  machine: machine(),
  about:
    `All processes and Redis on the same machine over the loopback, ${flags.rounds} rounds with fresh processes and a fresh ` +
    'Redis without persistence; each cell is the median, its spread, and in brackets the median ratio to the first row within a ' +
    `round. An event is about 250 bytes. Fan-out is to ${flags.connections} connections.`,
  tables: clusterTables(rounds),
};
if (flags.dry) console.log(`\n${reportText(report)}`);
else writeReport(report);

async function run(number: number) {
  const round = await ClusterRound.start();
  try {
    console.log(`round ${number}: one event from node to node`);
    const raw = await round.pair('raw-node');
    const library = await round.pair('library-node');
    const client = round.clients();
    await client.open({ port: library.receiver.port, path: '/target' }, 1);
    const hops = new MeasureHop(raw, library, client);
    const { measured: hop, events } = await hops.run(Number(flags.hops));
    console.log(`round ${number}: operations`);
    const throughput = new MeasureThroughput(raw, library, client, round.meter, events);
    const work = await throughput.run(Number(flags.operations));
    console.log(`round ${number}: fan-out`);
    for (const { sender, receiver } of [raw, library]) {
      await Promise.all([sender.stop(), receiver.stop()]);
    }
    const connections = Number(flags.connections);
    const fanOut = await measureFanOut(round, connections, Number(flags.deliveries));
    return { hop, work, fanOut };
  } finally {
    await round.stop();
  }
}
