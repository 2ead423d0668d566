import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { RedisServer } from '../../support/redis/redis-server.js';
import { MODES, type Mode } from './modes.js';

const SLICES = Number(process.env['SLICES'] ?? '101');
const SLICE_MS = Number(process.env['SLICE_MS'] ?? '60');

/**
 * What telemetry costs: the same work with a stub in its place, without an SDK, and with one that samples 1 %, in
 * processes that take turns every fraction of a second. Ratios are of neighbouring slices, so that a machine with other
 * work changes both sides of them; told is the median of all, and between which values the middle half of them lies.
 *
 * The last column compares two processes with an SDK, one of them with the stub: what is left is the library's part, without
 * what Node pays for following contexts.
 */
const redis = await RedisServer.start();
const workers = new Map<Mode, ChildProcess>();
let works: string[] = [];
for (const mode of MODES) {
  const worker = start('worker.js', [mode, redis.url]);
  works = await heard<string[]>(worker);
  workers.set(mode, worker);
}

const HEAD = ['CPU', 'stub, µs', 'without SDK', 'with SDK, 1 %', 'the library’s part of that'];
console.log(`${row(HEAD)}\n${row(HEAD.map(() => '---'))}`);
for (const work of works) {
  const slices: Record<Mode, number>[] = [];
  // What comes first is not compiled yet.
  for (let slice = -3; slice < SLICES; slice += 1) {
    const figures: Partial<Record<Mode, number>> = {};
    for (let n = 0; n < MODES.length; n += 1) {
      const mode = MODES[Math.abs(slice + n) % MODES.length] ?? 'stub';
      figures[mode] = await measure(mode, work);
    }
    if (slice >= 0) slices.push(figures as Record<Mode, number>);
  }
  const [, stub] = quartiles(slices.map(slice => slice.stub));
  const compared = (mode: Mode, to: Mode): string => {
    const [low, median, high] = quartiles(slices.map(slice => slice[mode] / slice[to] - 1));
    return `${percent(median)} (${percent(low)} to ${percent(high)})`;
  };
  console.log(
    row([
      work,
      stub.toFixed(2),
      compared('no-sdk', 'stub'),
      compared('sdk', 'stub'),
      compared('sdk', 'sdk-stub'),
    ]),
  );
}
for (const worker of workers.values()) {
  worker.send('stop');
  await once(worker, 'exit');
}
await redis.stop();

console.log(`\n${row(['heap, bytes', 'per broadcast', 'per delivery'])}\n| --- | --- | --- |`);
const HEAP = ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128'];
for (const mode of MODES) {
  const child = start('allocation.js', [mode], HEAP);
  const figures = await heard<{ broadcast: number; delivery: number; collections: number }>(child);
  const { broadcast, delivery, collections } = figures;
  const note = collections > 0 ? `, after ${collections} collections: not valid` : '';
  console.log(row([mode, broadcast.toFixed(0), `${delivery.toFixed(2)}${note}`]));
}

async function measure(mode: Mode, work: string): Promise<number> {
  const worker = workers.get(mode);
  if (worker === undefined) throw new Error(`no worker for ${mode}`);
  const figure = heard<number>(worker);
  worker.send({ work, ms: SLICE_MS });
  return figure;
}

function start(program: string, args: readonly string[], execArgv: string[] = []): ChildProcess {
  return fork(fileURLToPath(new URL(program, import.meta.url)), args, { execArgv });
}

/** The next message of a child. */
async function heard<T>(child: ChildProcess): Promise<T> {
  const [message] = (await once(child, 'message')) as [T];
  return message;
}

/** The value below which a quarter of them lies, the middle one, and the one above which a quarter lies. */
function quartiles(values: readonly number[]): [number, number, number] {
  const sorted = [...values].sort((one, other) => one - other);
  const at = (part: number): number => sorted[Math.round(part * (sorted.length - 1))] ?? Number.NaN;
  return [at(0.25), at(0.5), at(0.75)];
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}

function percent(part: number): string {
  return `${part < 0 ? '−' : '+'}${Math.abs(part * 100).toFixed(1)} %`;
}
