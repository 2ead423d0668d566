/**
 * Measures the replay of `npm run bench` alone: `npm run bench:replay`. Puts its table into `docs/bench/results.md` in place
 * of the former one.
 *
 *   --rounds 3   --replays 100   --only raw,koa   --dry (prints, writes nothing)
 */
import { parseArgs } from 'node:util';
import { installPeers } from './install-peers.js';
import { machine } from './machine.js';
import { replayTable } from './replay/replay-table.js';
import { readReport, writeReport } from './report.js';
import { tableText } from './table.js';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '3' },
    replays: { type: 'string', default: '100' },
    only: { type: 'string' },
    dry: { type: 'boolean', default: false },
  },
});

const report = readReport('results');
if (!flags.dry && report.machine !== machine()) {
  throw new Error(`docs/bench/results.md is of another machine, ${report.machine}: npm run bench`);
}
installPeers();
const table = await replayTable(flags);
if (flags.dry) console.log(`\n${table.note}\n\n${tableText(table)}`);
else {
  const others = report.tables.filter(({ id }) => id !== table.id);
  writeReport({ ...report, tables: [...others, table] });
}
