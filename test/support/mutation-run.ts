import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

/** One rule of the code, and the code without it. */
export interface Mutation {
  /** Where the rule is; the first column of the table. */
  readonly place: string;
  /** What the rule is for. */
  readonly rule: string;
}

/** How to try one mutation. */
export interface Trial {
  /** Compiled test files by the names that the table gives them. */
  readonly tests: Readonly<Record<string, string>>;
  readonly env?: Readonly<Record<string, string>>;
  /** Puts everything back. */
  done(): void;
}

const MOCHA = fileURLToPath(import.meta.resolve('mocha/bin/mocha.js'));

/**
 * Runs the tests against each mutation in turn and prints a Markdown table with the first of them that notices it. The process ends with 1
 * when one remains unnoticed.
 */
export function runMutations<M extends Mutation>(
  mutations: readonly M[],
  head: string,
  prepare: (mutation: M) => Trial,
): void {
  console.log(`| ${head} | noticed first by |\n|---|---|---|`);
  let unnoticed = 0;
  for (const mutation of mutations) {
    const trial = prepare(mutation);
    try {
      const noticed = Object.entries(trial.tests).find(([, path]) => !passes(path, trial.env));
      if (noticed === undefined) unnoticed += 1;
      const by = noticed?.[0] ?? '**nothing**';
      console.log(`| ${mutation.place} | ${mutation.rule} | ${by} |`);
    } finally {
      trial.done();
    }
  }
  console.log(`\n${mutations.length} mutations, ${unnoticed} unnoticed`);
  process.exitCode = unnoticed === 0 ? 0 : 1;
}

function passes(path: string, env: Trial['env']): boolean {
  const args = [MOCHA, '--no-config', '--bail', '--exit', '--timeout', '20000', path];
  const options = { env: { ...process.env, ...env }, stdio: 'ignore', timeout: 120_000 } as const;
  return spawnSync(process.execPath, args, options).status === 0;
}
