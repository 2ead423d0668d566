import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';
import { writeSection } from '../../support/doc-section.js';
import { markdownTable } from '../../support/markdown.js';
import { RedisServer } from '../../support/redis/redis-server.js';
import { MODES, type Mode } from './modes.js';

const RUNS = Number(process.env['RUNS'] ?? '3');
const SLICES = Number(process.env['SLICES'] ?? '10');
const SLICE_MS = Number(process.env['SLICE_MS'] ?? '50');
const WARM_MS = Number(process.env['WARM_MS'] ?? '400');
const COLUMNS: readonly (readonly [string, Mode, Mode])[] = [
  ['no SDK', 'no-sdk', 'stub'],
  ['SDK and HTTP alone', 'sdk-stub', 'stub'],
  ['SDK at 1 %', 'sdk', 'sdk-stub'],
  ['SDK at 100 %', 'sdk-all', 'sdk-stub'],
];

/**
 * What telemetry costs: the same work with a stub in its place, without an SDK, beside an SDK with the stub, and with an SDK
 * that samples 1 % or all. The column of the SDK alone has what the application pays for its SDK, the spans of its requests,
 * and the contexts that Node follows. The last two have what the library adds to it.
 *
 * Each part may be made alone, by its name as an argument; `--write` puts the tables into `docs/telemetry.md`.
 */
const PARTS = {
  /** Whole operations. */
  whole: wholeOperations,
  /** The calls of telemetry around work that does nothing: a few percent of a whole operation drown in its noise. */
  calls: callsAlone,
  /** What a broadcast allocates. */
  heap: heapOfBroadcasts,
};
for (const [name, part] of Object.entries(PARTS)) {
  const wanted = process.argv.slice(2).filter(argument => argument in PARTS);
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  const text = await part();
  console.log(`\n${text}`);
  if (process.argv.includes('--write')) writeSection('telemetry', name, text);
}

/**
 * Ratios are of neighbouring slices, in processes that take turns every fraction of a second, so that a machine with other
 * work changes both sides of them. Two processes that do just the same differ as well, so all begins anew several times: a
 * cell is the median of the runs, each the median of its slices, and between which values the runs lie.
 */
async function wholeOperations(): Promise<string> {
  const redis = await RedisServer.start();
  const figures = new Map<string, Record<Mode, number>[][]>();
  for (let run = 0; run < RUNS; run += 1) {
    for (const [work, slices] of await oneRun(redis.url)) figures.set(work, [...(figures.get(work) ?? []), slices]);
    console.error(`run ${run + 1} of ${RUNS}`);
  }
  await redis.stop();
  const rows = [...figures].map(([work, runs]) => {
    const cells = COLUMNS.map(([, mode, to]) => {
      const ratios = sorted(runs.map(slices => medianOf(slices.map(slice => slice[mode] / slice[to])) - 1));
      return `${percent(medianOf(ratios))} (${percent(ratios[0])} to ${percent(ratios.at(-1))})`;
    });
    return [work, `${medianOf(runs.flat().map(slice => slice.stub)).toFixed(2)} µs`, ...cells];
  });
  return markdownTable(['whole operation', 'stubbed out', ...COLUMNS.map(([name]) => name)], rows);
}

async function callsAlone(): Promise<string> {
  const verbs: Partial<Record<Mode, Record<string, number>>> = {};
  for (const mode of MODES) verbs[mode] = await heard(start('verbs.js', [mode]));
  const { stub = {}, sdk = {} } = verbs;
  const rows = Object.keys(stub).map(work => {
    const cells = COLUMNS.filter(([, mode]) => mode !== 'sdk-stub').map(([, mode, to]) => {
      return `${((verbs[mode]?.[work] ?? Number.NaN) - (verbs[to]?.[work] ?? Number.NaN)).toFixed(3)} µs`;
    });
    return [work, ...cells];
  });
  // What no library can leave out that asks a sampler or records a value.
  const own = Object.keys(sdk).filter(work => !(work in stub));
  for (const work of own) rows.push([`the SDK itself: ${work}`, '–', `${sdk[work]?.toFixed(3) ?? ''} µs`, '–']);
  return markdownTable(['telemetry alone', 'no SDK', 'SDK at 1 %', 'SDK at 100 %'], rows);
}

async function heapOfBroadcasts(): Promise<string> {
  const flags = ['--expose-gc', '--max-semi-space-size=128', '--min-semi-space-size=128'];
  const rows: string[][] = [];
  for (const mode of MODES) {
    const runs: { broadcast: number; delivery: number; collections: number }[] = [];
    while (runs.length < 5) runs.push(await heard(start('allocation.js', [mode], flags)));
    const deliveries = sorted(runs.map(run => run.delivery));
    const spread = `${medianOf(deliveries).toFixed(1)} (${fixed(deliveries[0])} to ${fixed(deliveries.at(-1))})`;
    const note = runs.some(({ collections }) => collections > 0) ? ', collected: not valid' : '';
    rows.push([mode, medianOf(runs.map(run => run.broadcast)).toFixed(0), spread + note]);
  }
  return markdownTable(['heap, bytes', 'per broadcast', 'per delivery'], rows);
}

/** The slices of each work, in fresh processes. */
async function oneRun(redisUrl: string): Promise<[string, Record<Mode, number>[]][]> {
  const workers: Partial<Record<Mode, ChildProcess>> = {};
  let works: string[] = [];
  for (const mode of MODES) {
    const worker = start('worker.js', [mode, redisUrl]);
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
  // Code that is not compiled yet costs ten times as much, and a node with telemetry has more of it.
  for (const mode of MODES) await measure(workers[mode], work, WARM_MS);
  for (let slice = 0; slice < SLICES; slice += 1) {
    const slots: Partial<Record<Mode, number>> = {};
    for (let n = 0; n < MODES.length; n += 1) {
      const mode = MODES[(slice + n) % MODES.length] ?? 'stub';
      slots[mode] = await measure(workers[mode], work, SLICE_MS);
    }
    // Each mode had its turn.
    slices.push(slots as Record<Mode, number>);
  }
  return slices;
}

async function measure(worker: ChildProcess, work: string, ms: number): Promise<number> {
  const figure = heard<number>(worker);
  worker.send({ work, ms });
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

function sorted(values: readonly number[]): number[] {
  return [...values].sort((one, other) => one - other);
}

function medianOf(values: readonly number[]): number {
  return sorted(values)[values.length >> 1] ?? Number.NaN;
}

function fixed(value: number | undefined): string {
  return value?.toFixed(1) ?? '';
}

function percent(part = Number.NaN): string {
  return `${part < 0 ? '−' : '+'}${Math.abs(part * 100).toFixed(1)} %`;
}
