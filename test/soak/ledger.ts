/**
 * Nothing is silently missed: see `ledger-run.ts`. `node dist/test/soak/ledger.js [--cluster] [seconds]`, 300 by default. Exits with 1
 * when the books do not balance.
 */
import { runLedger } from './ledger-run.js';

const flags = process.argv.slice(2);
const [seconds = 300] = flags.filter(flag => !flag.startsWith('--')).map(Number);
const { failures, ...figures } = await runLedger({
  redis: flags.includes('--cluster') ? 'cluster' : 'single',
  seconds,
  clients: 200,
  publishers: 20,
  pace: 100,
  killEvery: 20_000,
});
console.log(figures);
console.log(failures.length === 0 ? 'the books balance' : `${failures.length} failures`);
for (const failure of failures.slice(0, 20)) console.log(`  ${failure}`);
process.exitCode = failures.length === 0 ? 0 : 1;
