import { cpSync, mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { mutate } from '../../../support/mutate.js';
import { runMutations } from '../../../support/mutation-run.js';
import { LOG_MUTATIONS } from './log-mutation-list.js';

/**
 * Removes each rule of the log's nodes and clients, of limits and of grants in turn, and runs the directed and the random tests
 * against what is left; prints a Markdown table. Ends with 1 when a rule can be removed unnoticed.
 * `node dist/test/unit/cluster/redis/log-mutations.js [file...]`
 */
const ROOT = fileURLToPath(new URL('../../../../../', import.meta.url));
const RANDOM = 'cluster/redis/log-property';
const compilerOptions = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };
/** The directed tests of a file below `src`: all that begin so. The random one comes last. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  feed: ['cluster/redis/log-feed'],
  'log-reader': ['cluster/redis/log-feed', 'cluster/redis/log-reader'],
  'log-scan': ['cluster/redis/log-feed', 'cluster/redis/log-reader'],
  tail: ['cluster/redis/log-tail', 'cluster/redis/log-reader', 'cluster/redis/log-feed'],
  'recent-pages': ['cluster/redis/log-tail', 'cluster/redis/log-reader', 'cluster/redis/log-feed'],
  subscriber: ['cluster/redis/log-feed'],
  gap: ['protocol/gap'],
  cursor: [
    'node/cursor-refresh',
    'cluster/redis/log-feed',
    'node/degraded-connections',
    'connection/client-connection',
  ],
  replay: ['node/replayer'],
  pages: ['connection/client-connection-opening'],
  open: ['node/connection-opener'],
  limits: ['node/limits'],
  authorization: ['node/authorization'],
};

// Inside the project, where its packages are found.
const folder = mkdtempSync(join(ROOT, '.mutations-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
mkdirSync(join(folder, 'dist'));
for (const part of ['src', 'test']) {
  cpSync(join(ROOT, 'dist', part), join(folder, 'dist', part), { recursive: true });
}
symlinkSync(join(ROOT, 'lua'), join(folder, 'lua'));
writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');

const tests = readdirSync(join(folder, 'dist', 'test', 'unit'), {
  recursive: true,
  encoding: 'utf8',
}).filter(name => name.endsWith('.test.js'));

function pathsOf(beginning: string): string[] {
  const found = tests.filter(name => name.startsWith(beginning));
  if (found.length === 0) throw new Error(`no test begins with ${beginning}`);
  return found.map(name => join(folder, 'dist', 'test', 'unit', name));
}

runMutations(LOG_MUTATIONS, process.argv.slice(2), {
  head: 'file | rule removed',
  first: true,
  source: ({ file }) => join(ROOT, 'src', file),
  target: ({ file }) => join(folder, 'dist', 'src', file.replace(/\.ts$/, '.js')),
  compile: text => ts.transpileModule(text, { compilerOptions }).outputText,
  apply: (text, mutation) => mutate(text, mutation, mutation.replace),
  tests: ({ place }) => [...(TESTS[place] ?? []), RANDOM].flatMap(pathsOf),
  env: { LOG_RUNS: '400', LOG_SHRINK: '0' },
});
