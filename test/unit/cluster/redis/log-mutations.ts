import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import ts from 'typescript';
import { runMutations } from '../../../support/mutation-run.js';
import { LOG_MUTATIONS } from './log-mutation-list.js';

/**
 * Removes each rule of the log's nodes and clients in turn and runs the directed and the random tests against what is left;
 * prints a Markdown table. Ends with 1 when a rule can be removed unnoticed.
 * `node dist/test/unit/cluster/redis/log-mutations.js [file...]`
 */
const ROOT = fileURLToPath(new URL('../../../../../', import.meta.url));
const DIRECTED = 'cluster/redis/log-feed';
const RANDOM = 'cluster/redis/log-property';
const compilerOptions = { target: ts.ScriptTarget.ES2023, module: ts.ModuleKind.ESNext };
/** The directed tests of a file below `src`; the random one comes last. */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  gap: ['protocol/gap'],
  log: ['cluster/redis/log-reader'],
  feed: [DIRECTED, 'cluster/redis/log-reader'],
  cursor: [
    DIRECTED,
    'node/degraded-connections',
    'connection/client-connection-gaps',
    'connection/client-connection-opening',
  ],
  replay: ['node/replayer'],
  open: ['node/connection-opener'],
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

const pathOf = (test: string): string => join(folder, 'dist', 'test', 'unit', `${test}.test.js`);
runMutations(LOG_MUTATIONS, process.argv.slice(2), {
  head: 'file | rule removed',
  first: true,
  source: ({ file }) => join(ROOT, 'src', file),
  target: ({ file }) => join(folder, 'dist', 'src', file.replace(/\.ts$/, '.js')),
  compile: text => ts.transpileModule(text, { compilerOptions }).outputText,
  tests: ({ place }) => [...(TESTS[place] ?? [DIRECTED]), RANDOM].map(pathOf),
  env: { LOG_RUNS: '400', LOG_SHRINK: '0' },
});
