import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { RedisServer } from '../../support/redis/redis-server.js';
import { MODES, type Mode } from './modes.js';

const RUNS = Number(process.env['RUNS'] ?? '7');
const SLICES = Number(process.env['SLICES'] ?? '15');
const SLICE_MS = Number(process.env['SLICE_MS'] ?? '60');
const COLUMNS: readonly (readonly [string, Mode, Mode])[] = [
  ['library, no SDK', 'no-sdk', 'stub'],
  ['SDK and HTTP alone', 'sdk-stub', 'stub'],
  ['library, SDK at 1 %', 'sdk', 'sdk-stub'],
  ['library, SDK at 100 %', 'sdk-all', 'sdk-stub'],
];

/**
 * What telemetry costs: the same work with a stub in its place, without an SDK, beside an SDK with the stub, and with an SDK
 * that samples 1 % or all, in processes that take turns every fraction of a second. Ratios are of neighbouring slices, so
 * that a machine with other work changes both sides of them. Two processes that do just the same differ as well, so all
 * begins anew several times: printed is the median of the runs, each the median of its slices, and between which values the
 * middle half of them lies.
 *
 * The column of the SDK alone has what the application pays for its SDK, the spans of its requests, and the contexts that
 * Node follows. The last two have what the library adds to it. With the argument `whole` only this table is made.
 */
const redis = await RedisServer.start();
const figures = new Map<string, Record<Mode, number>[][]>();
for (let run = 0; run < RUNS; run += 1) {
  for (const [work, slices] of await oneRun()) {
    figures.set(work, [...(figures.get(work) ?? []), slices]);
  }
  console.error(`run ${run + 1} of ${RUNS}`);
}
await redis.stop();

const head = ['CPU', 'stub, µs', ...COLUMNS.map(([name]) => name)];
console.log(`${row(head)}\n${row(head.map(() => '---'))}`);
for (const [work, runs] of figures) {
  const [, stub] = quartiles(runs.flat().map(slice => slice.stub));
  const cells = COLUMNS.map(([, mode, to]) => {
    const medians = runs.map(slices => quartiles(slices.map(slice => slice[mode] / slice[to]))[1]);
    const [low, median, high] = quartiles(medians.map(ratio => ratio - 1));
    return `${percent(median)} (${percent(low)} to ${percent(high)})`;
  });
  console.log(row([work, stub.toFixed(2), ...cells]));
}

if (process.argv[2] === 'whole') process.exit();

// A difference of a few percent drowns where other work is done: the same calls around empty work.
const verbs: Partial<Record<Mode, Record<string, number>>> = {};
for (const mode of MODES) verbs[mode] = await heard(start('verbs.js', [mode]));
const verbHead = ['telemetry alone', ...COLUMNS.map(([name]) => name)];
console.log(`\n${row(verbHead)}\n${row(verbHead.map(() => '---'))}`);
for (const [work, runs] of figures) {
  const [, whole] = quartiles(runs.flat().map(slice => slice.stub));
  const cells = COLUMNS.map(([, mode, to]) => {
    const more = (verbs[mode]?.[work] ?? Number.NaN) - (verbs[to]?.[work] ?? Number.NaN);
    return `${more.toFixed(3)} µs, ${percent(more / whole)}`;
  });
  console.log(row([work, ...cells]));
}

console.log(`\n${row(['heap, bytes', 'per broadcast', 'per delivery'])}\n| --- | --- | --- |`);
const HEAP = ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128'];
for (const mode of MODES) {
  const runs: { broadcast: number; delivery: number; collections: number }[] = [];
  while (runs.length < 5) runs.push(await heard(start('allocation.js', [mode], HEAP)));
  const [, broadcast] = quartiles(runs.map(run => run.broadcast));
  const [low, delivery, high] = quartiles(runs.map(run => run.delivery));
  const spread = `${delivery.toFixed(1)} (${low.toFixed(1)} to ${high.toFixed(1)})`;
  const note = runs.some(({ collections }) => collections > 0) ? ', collected: not valid' : '';
  console.log(row([mode, broadcast.toFixed(0), spread + note]));
}

/** The slices of each work, in fresh processes. */
async function oneRun(): Promise<[string, Record<Mode, number>[]][]> {
  const workers: Partial<Record<Mode, ChildProcess>> = {};
  let works: string[] = [];
  for (const mode of MODES) {
    const worker = start('worker.js', [mode, redis.url]);
    works = await heard<string[]>(worker);
    workers[mode] = worker;
  }
  // All of them are there by now.
  const all = workers as Record<Mode, ChildProcess>;
  const measured: [string, Record<Mode, number>[]][] = [];
  for (const work of works) measured.push([work, await slicesOf(work, all)]);
  for (const worker of Object.values(all)) {
    worker.send('stop');
    await once(worker, 'exit');
  }
  return measured;
}

async function slicesOf(work: string, workers: Record<Mode, ChildProcess>): Promise<Record<Mode, number>[]> {
  const slices: Record<Mode, number>[] = [];
  // What comes first is not compiled yet.
  for (let slice = -3; slice < SLICES; slice += 1) {
    const slots: Partial<Record<Mode, number>> = {};
    for (let n = 0; n < MODES.length; n += 1) {
      const mode = MODES[Math.abs(slice + n) % MODES.length] ?? 'stub';
      slots[mode] = await measure(workers[mode], work);
    }
    if (slice >= 0) slices.push(slots as Record<Mode, number>);
  }
  return slices;
}

async function measure(worker: ChildProcess, work: string): Promise<number> {
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
