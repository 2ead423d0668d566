/**
 * Runs every test: groups of files, each in a process of its own, side by side, since most of them wait for timers and
 * sockets. Each group's report is printed when it is done; the last line sums them up. Exits with 1 when anything failed.
 */
import { spawn } from 'node:child_process';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

const GROUPS: readonly (readonly string[])[] = [
  ['*.test.js', 'unit/**/*.test.js', 'integration/koa/**/*.test.js'],
  ['contract/**/*.test.js'],
  ['integration/redis/**/*.test.js'],
  ['e2e/[a-n]*.test.js'],
  ['e2e/[o-z]*.test.js'],
];
// A group that something keeps alive must not keep everything else.
const LONGEST_MS = 10 * 60_000;
const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const MOCHA = createRequire(import.meta.url).resolve('mocha/bin/mocha.js');

interface Report {
  readonly text: string;
  readonly code: number | null;
}

const reports = await Promise.all(GROUPS.map(run));
const [passed, failed, skipped] = ['passing', 'failing', 'pending'].map(sum);
const broken = reports.filter(({ code }) => code !== 0).length;
// A group that broke off before it could count has failed as well.
const failures = Math.max(failed ?? 0, broken);
console.log(
  `${passed ?? 0} passed, ${failures} failed${(skipped ?? 0) > 0 ? `, ${skipped ?? 0} skipped` : ''}`,
);
// What a group that was ended has left behind may still hold its output.
process.exit(failures === 0 ? 0 : 1);

function run(patterns: readonly string[]): Promise<Report> {
  const files = patterns.map(pattern => `dist/test/${pattern}`);
  const child = spawn(process.execPath, [MOCHA, ...files], {
    cwd: ROOT,
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: LONGEST_MS,
    killSignal: 'SIGKILL',
  });
  let text = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => (text += chunk.toString()));
  }
  return new Promise(resolve => {
    const report = (code: number | null): void => {
      console.log(text);
      resolve({ text, code });
    };
    child.on('close', report);
    child.on('exit', (code, signal) => {
      if (signal !== null) report(code);
    });
  });
}

/** Of what mocha counts at the end of each report. */
function sum(word: string): number {
  const count = new RegExp(`^ +(\\d+) ${word}`, 'gm');
  return reports.reduce((total, { text }) => {
    const last = [...text.matchAll(count)].at(-1);
    return total + Number(last?.[1] ?? 0);
  }, 0);
}
