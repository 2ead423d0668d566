import { cpSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { mutateLua } from '../../support/mutate-lua.js';
import { runMutations } from '../../support/mutation-run.js';
import { LUA_FOLDER } from '../../support/redis/script-source.js';
import { MUTATIONS } from './mutation-list.js';

/**
 * Removes each guard of the scripts in turn and runs their tests against what is left; prints a Markdown table. Ends with 1
 * when a guard can be removed unnoticed. `node dist/test/integration/redis/mutations.js [script...]`
 */
const TESTS: Readonly<Record<string, readonly string[]>> = {
  publish: ['log-scripts', 'log-model'],
  'publish-unkept': ['publish-unkept-script'],
  history: ['log-scripts', 'log-model'],
  backlog: ['log-scripts'],
  look: ['log-scripts', 'log-model'],
  remember: ['log-scripts'],
  recall: ['log-scripts'],
  forget: ['log-scripts'],
  reconcile: ['reconcile-script'],
  lock: ['lock-script'],
  access: ['other-scripts'],
  revoke: ['other-scripts'],
  revocations: ['other-scripts'],
  unreadable: ['other-scripts'],
};
const REGISTRY_TESTS = ['lease-script', 'register-script', 'registry-scripts', 'scripts-model'];
// They say nothing more of a script's text than a single Redis does, and take longer to start.
const ELSEWHERE = 'on a Redis Cluster|plain commands';

const scripts = LUA_FOLDER;
const folder = mkdtempSync(join(tmpdir(), 'sse-lua-'));
process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
cpSync(scripts, folder, { recursive: true, dereference: true });

const wanted = process.argv.slice(2);
const pathOf = (test: string): string => fileURLToPath(new URL(`${test}.test.js`, import.meta.url));
runMutations(MUTATIONS, wanted, {
  head: 'script | guard removed',
  first: false,
  source: ({ place }) => join(scripts, `${place}.lua`),
  apply: (text, { find, replace }) => mutateLua(text, find, replace),
  target: ({ place }) => join(folder, `${place}.lua`),
  tests: ({ place }) => (TESTS[place] ?? REGISTRY_TESTS).map(pathOf),
  env: { LUA_FOLDER: folder },
  args: ['--grep', ELSEWHERE, '--invert'],
});
