import { spawnSync } from 'node:child_process';
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { LUA_FOLDER } from '../../../src/redis/script-loader.js';
import { writeSection } from '../../support/doc-section.js';
import { MUTATIONS, type Mutation } from './mutation-list.js';

/**
 * Removes each guard of the scripts in turn and runs their tests against what is left; prints a Markdown table, and with
 * `--write` puts it into docs/redis.md. Ends with 1 when a guard can be removed unnoticed.
 * `node dist/test/integration/redis/mutations.js [--write] [script...]`
 */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  publish: ['log-scripts'],
  'publish-unkept': ['publish-unkept-script'],
  history: ['log-scripts'],
  validate: ['validate-script'],
  claim: ['claim-script'],
};
const REGISTRY_TESTS = ['lease-script', 'register-script', 'registry-scripts', 'scripts-model'];
// They say nothing more of a script's text than a single Redis does, and take longer to start.
const ELSEWHERE = 'on a Redis Cluster|plain commands';
const MOCHA = fileURLToPath(import.meta.resolve('mocha/bin/mocha.js'));

const wanted = process.argv.slice(2).filter(argument => argument !== '--write');
const chosen = MUTATIONS.filter(({ script }) => wanted.length === 0 || wanted.includes(script));

const lines: string[] = [];
const say = (line: string): void => {
  lines.push(line);
  console.log(line);
};
say('| script | guard removed | noticed by |');
say('|---|---|---|');
let unnoticed = 0;
for (const mutation of chosen) {
  const noticed = noticedBy(mutation);
  if (noticed.length === 0) unnoticed += 1;
  say(`| ${mutation.script} | ${mutation.guard} | ${noticed.join(', ') || '**nothing**'} |`);
}
say('');
say(`${chosen.length} mutations, ${unnoticed} unnoticed`);
if (process.argv.includes('--write')) writeSection('redis', 'mutations', lines.join('\n'));
process.exitCode = unnoticed === 0 ? 0 : 1;

function noticedBy({ script, find, replace }: Mutation): string[] {
  const folder = mkdtempSync(join(tmpdir(), 'sse-lua-'));
  try {
    cpSync(fileURLToPath(LUA_FOLDER), folder, { recursive: true, dereference: true });
    const file = join(folder, `${script}.lua`);
    const text = readFileSync(file, 'utf8');
    if (!text.includes(find)) throw new Error(`${script}.lua does not have: ${find}`);
    writeFileSync(
      file,
      text.replace(find, () => replace),
    );
    return (TESTS[script] ?? REGISTRY_TESTS).filter(test => !passes(test, folder));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

function passes(test: string, folder: string): boolean {
  const path = fileURLToPath(new URL(`${test}.test.js`, import.meta.url));
  const env = { ...process.env, LUA_FOLDER: folder };
  const options = ['--no-config', '--bail', '--exit', '--timeout', '20000'];
  const args = [MOCHA, ...options, '--grep', ELSEWHERE, '--invert', path];
  return spawnSync(process.execPath, args, { env, stdio: 'ignore', timeout: 120_000 }).status === 0;
}
