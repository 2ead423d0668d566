import { fork } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { RedisServer } from '../../support/redis/redis-server.js';
import { summarize } from '../statistics.js';
import { MODES, type Mode } from './modes.js';

const ROUNDS = Number(process.env['ROUNDS'] ?? '5');
const PERIOD_MS = process.env['PERIOD_MS'] ?? '3000';

type Figures = Record<string, number>;

/**
 * What telemetry costs: the same work with a stub in its place, without an SDK, and with one that samples 1 %, in processes
 * that take turns. Ratios are of one round each, so that a machine with other work changes both sides of them.
 */
const redis = await RedisServer.start();
const rounds: Record<Mode, Figures>[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  const figures: Partial<Record<Mode, Figures>> = {};
  // Each begins in turn, since the machine is not the same at the end of a round.
  for (let n = 0; n < MODES.length; n += 1) {
    const mode = MODES[(round + n) % MODES.length] ?? 'stub';
    figures[mode] = await run('worker.js', [mode, PERIOD_MS, redis.url]);
  }
  rounds.push(figures as Record<Mode, Figures>);
  console.error(`round ${round + 1} of ${ROUNDS}`);
}

console.log('| CPU | stub, µs | without SDK | with SDK, 1 % |\n| --- | --- | --- | --- |');
for (const work of Object.keys(rounds[0]?.stub ?? {})) {
  const stub = summarize(rounds.map(round => round.stub[work] ?? Number.NaN));
  const cells = (['no-sdk', 'sdk'] as const).map(mode => {
    const ratios = rounds.map(round => (round[mode][work] ?? 0) / (round.stub[work] ?? 1));
    const { median, spread } = summarize(ratios);
    return `${percent(median - 1)} (±${(spread * 100).toFixed(1)})`;
  });
  console.log(`| ${work} | ${stub.median.toFixed(2)} | ${cells.join(' | ')} |`);
}

await redis.stop();

console.log('\n| heap, bytes | per broadcast | per delivery |\n| --- | --- | --- |');
for (const mode of MODES) {
  const { broadcast = 0, delivery = 0, collections = 0 } = await run('allocation.js', [mode]);
  const note = collections > 0 ? `, after ${collections} collections: not valid` : '';
  console.log(`| ${mode} | ${broadcast.toFixed(0)} | ${delivery.toFixed(2)}${note} |`);
}

async function run(program: string, args: readonly string[]): Promise<Figures> {
  const path = fileURLToPath(new URL(program, import.meta.url));
  const execArgv = ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128'];
  const child = fork(path, args, program === 'allocation.js' ? { execArgv } : {});
  const exited = once(child, 'exit');
  const [figures] = (await once(child, 'message')) as [Figures];
  await exited;
  return figures;
}

function percent(part: number): string {
  return `${part < 0 ? '−' : '+'}${Math.abs(part * 100).toFixed(1)} %`;
}
