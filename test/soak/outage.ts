/**
 * What an outage costs, and whether receipts are true meanwhile: the heap of a node that attempts 10,000 sends a second
 * while Redis is killed, then frozen; then 100,000 sends while Redis is killed, frozen and cut off again and again, each
 * receipt compared with what the clients have. `node dist/test/soak/outage.js [seconds] [sends]`, 60 and 100,000 by default.
 * Exits with 1 when the heap grew or a receipt was not true.
 */
import { runHeap } from './heap-run.js';
import { runReceipts } from './receipt-run.js';

const [seconds = 60, sends = 100_000] = process.argv.slice(2).map(Number);
const RATE = 10_000;
const MOST_GROWTH_MIB = 2;
let good = true;

for (const how of ['killed', 'frozen'] as const) {
  const { heap, growth, ...figures } = await runHeap(how, RATE, seconds);
  console.log(`Redis ${how} for ${seconds} s, ${RATE} sends a second`, figures);
  console.log(`heap after gc, MiB: ${heap.join(' ')}; grew by ${growth.toFixed(2)}`);
  good &&= growth < MOST_GROWTH_MIB && figures.receipts['unsettled'] === undefined;
}
const rate = 2_500;
const { failures, ...figures } = await runReceipts({
  rate,
  seconds: sends / rate,
  outage: 3_000,
  pause: 2_000,
});
console.log(`${sends} sends while Redis breaks`, figures);
console.log(`${failures.length} receipts were not true`);
for (const failure of failures.slice(0, 20)) console.log(`  ${failure}`);
process.exitCode = good && failures.length === 0 ? 0 : 1;
