/**
 * A rolling restart loses nothing and starts no storm: see `rolling-run.ts`. `node dist/test/soak/rolling.js [clients]
 * [rate]`, 900 and 300 by default. Exits with 1 when something was lost, doubled or too fast.
 */
import { runRolling } from './rolling-run.js';

const [clients = 900, rate = 300] = process.argv.slice(2).map(Number);
const { failures, ...figures } = await runRolling({
  clients,
  publishers: 10,
  pace: 50,
  rate,
  jitter: 5_000,
});
console.log(figures);
for (const failure of failures.slice(0, 20)) console.log(`  ${failure}`);
const good = failures.length === 0 && figures.mostRequested <= rate && figures.exitCodes.every(code => code === 0);
console.log(good ? 'nothing lost, nothing doubled, no storm' : `${failures.length} failures`);
process.exitCode = good ? 0 : 1;
