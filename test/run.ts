/**
 * Runs the tests: groups of files, each in a process of its own, side by side, since most of them wait for timers and
 * sockets. Each group's report is printed when it is done, then the slowest files and a line for each failure; the last line sums
 * everything up. Exits with 1 when anything failed.
 *
 * `--e2e` adds the tests with browsers, proxies, and processes that are killed. `--all` runs these too, and does the whole of what is
 * otherwise done in part: every topology, all runs of the models, the full amounts.
 */
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { availableParallelism, setPriority, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { GroupResult } from './support/file-times.js';

interface Group {
  /** Its files by their paths below `test`, without those of a group before it. */
  readonly files: RegExp;
  /** It has no bounds in time and gives way to those that have. */
  readonly calculates?: boolean;
}

const WHOLE = process.argv.includes('--all');
/** A file belongs to the first group that names it. The longest groups come first. */
const END_TO_END: readonly Group[] = [
  { files: /^e2e\/(ledger|outages|resumable-sources|rolling-restart)\./ },
  { files: /^e2e\/(real-clients|receipts|slow-resume)\./ },
  { files: /^e2e\/load\./ },
  { files: /^(e2e\/|code-blocks\.)/ },
];
const GROUPS: readonly Group[] = [
  ...(WHOLE || process.argv.includes('--e2e') ? END_TO_END : []),
  { files: /^integration\/redis\/[a-m](?!.*-(model|at-size)\.)/ },
  { files: /^integration\/redis\/(?!.*-(model|at-size)\.)/ },
  { files: /^contract\/sse-service\./ },
  { files: /^contract\/redis-/ },
  { files: /^(contract|integration\/koa)\// },
  { files: /^unit\//, calculates: true },
  { files: /^(?!e2e\/|code-blocks\.)/, calculates: true },
];
// With more of them at once a group has too little of a core to keep the bounds in time that tests have.
const AT_ONCE = Math.min(GROUPS.length, availableParallelism() === 1 ? 2 : 3 * availableParallelism());
/** Of groups that give way: a quarter of a core that another process would like to have for itself. */
const NICENESS = 5;
/** What a test of such a group may take: it waits for nothing but the processor. */
const PATIENCE_MS = 240_000;
// A group that something keeps alive must not keep everything else.
const LONGEST_MS = (WHOLE ? 30 : 10) * 60_000;
const SLOWEST = 5;
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
// Not bin/mocha.js: because of Node's own flags that starts a second process, which would outlive the end of the first.
const MOCHA = join(dirname(createRequire(import.meta.url).resolve('mocha/package.json')), 'lib/cli/cli.js');
const REPORTER = fileURLToPath(new URL('./support/file-times.js', import.meta.url));
// What a group that broke off before it could count came to.
const BROKEN: GroupResult = { passed: 0, failed: 1, skipped: 0, failures: ['a group that ended too early'], files: {} };

const folder = await mkdtemp(join(tmpdir(), 'sse-results-'));
// What gives way to the others runs beside them from the beginning, in parts, so that it fills all cores when the others wait or are done.
const waiting = [...filesOfGroups().entries()].sort(([a], [b]) => rank(a) - rank(b));
const results: GroupResult[] = [];
await Promise.all(Array.from({ length: AT_ONCE }, work));
await rm(folder, { recursive: true });

const times = results.flatMap(({ files }) => Object.entries(files)).sort(([, a], [, b]) => b - a);
console.log(`The slowest of ${times.length} files:`);
for (const [file, ms] of times.slice(0, SLOWEST)) {
  console.log(`  ${(ms / 1_000).toFixed(1).padStart(6)} s  ${file}`);
}
for (const failure of results.flatMap(({ failures: ofGroup }) => ofGroup)) console.log(`FAILED ${failure}`);
const failures = sum('failed');
const skipped = sum('skipped');
console.log(`${sum('passed')} passed, ${failures} failed${skipped > 0 ? `, ${skipped} skipped` : ''}`);
// What a group that was ended has left behind may still hold its output.
process.exit(failures === 0 ? 0 : 1);

function rank(group: number): number {
  return GROUPS[group]?.calculates === true ? -1 : group;
}

async function work(): Promise<void> {
  for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
    const [at, files] = next;
    results.push(await run(files, GROUPS[at]?.calculates === true, join(folder, `${at}.json`)));
  }
}

/** What is compiled from a test that exists: what a removed one has left is not run. */
function filesOfGroups(): string[][] {
  const groups = GROUPS.map((): string[] => []);
  for (const name of readdirSync(join(ROOT, 'test'), { recursive: true, encoding: 'utf8' }).sort()) {
    if (!name.endsWith('.test.ts')) continue;
    groups[GROUPS.findIndex(({ files }) => files.test(name))]?.push(`dist/test/${name.replace(/ts$/, 'js')}`);
  }
  return groups;
}

async function run(files: readonly string[], calculates: boolean, path: string): Promise<GroupResult> {
  const patience = calculates ? ['--timeout', String(PATIENCE_MS)] : [];
  const child = spawn(
    process.execPath,
    ['--enable-source-maps', MOCHA, '--reporter', REPORTER, ...patience, ...files],
    {
      cwd: ROOT,
      env: { ...process.env, TEST_RESULT: path, ...(WHOLE && { TEST_EXTENT: 'whole' }) },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: LONGEST_MS,
      killSignal: 'SIGKILL',
    },
  );
  // Lower would leave it next to nothing of a core on which something else is always busy.
  if (calculates && child.pid !== undefined) setPriority(child.pid, NICENESS);
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  }
  const code = await new Promise<number | null>(resolve => {
    child.on('close', resolve);
    child.on('exit', (exit, signal) => {
      if (signal !== null) resolve(exit);
    });
  });
  console.log(text);
  const result = await readFile(path, 'utf8').then(
    json => JSON.parse(json) as GroupResult,
    () => BROKEN,
  );
  return { ...result, failed: Math.max(result.failed, code === 0 ? 0 : 1) };
}

function sum(of: 'passed' | 'failed' | 'skipped'): number {
  return results.reduce((total, result) => total + result[of], 0);
}
