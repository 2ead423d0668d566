/**
 * Nothing is silently missed: see `ledger-run.ts`. `node dist/test/soak/ledger.js [--cluster] [--quiet] [seconds]`, 300 by
 * default, 144 when quiet. Exits with 1 when the books do not balance, and when a quiet one has a reset without a cause.
 *
 * Without `--quiet`, a reset where no acknowledged entry is missing can have a cause: a node or Redis was killed after the entry
 * was in the log and before its publisher got the answer. `unacknowledged` counts those, as far as another client got the entry;
 * one that was trimmed before any client got it counts as a false alarm.
 */
import { runLedger } from './ledger-run.js';

const flags = process.argv.slice(2);
const quiet = flags.includes('--quiet');
const [seconds = quiet ? 144 : 300] = flags.filter(flag => !flag.startsWith('--')).map(Number);
const { failures, ...figures } = await runLedger({
  redis: flags.includes('--cluster') ? 'cluster' : 'single',
  seconds,
  clients: 200,
  publishers: 20,
  pace: 100,
  killEvery: quiet ? 5_000 : 20_000,
  quiet,
});
console.log(figures);
console.log(failures.length === 0 ? 'the books balance' : `${failures.length} failures`);
for (const failure of failures.slice(0, 20)) console.log(`  ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
