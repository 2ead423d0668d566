import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { fileURLToPath } from 'node:url';

/** One rule of the code, and the code without it. */
export interface Mutation {
  /** Where the rule is: the first column of the table, and the name by which it is chosen. */
  readonly place: string;
  /** What the rule is for. */
  readonly rule: string;
  readonly find: string;
  readonly replace: string;
}

/** How mutations are tried. */
export interface Trials<M extends Mutation> {
  /** Titles of the first two columns of the table. */
  readonly head: string;
  /** Whether a mutation is left once a test has noticed it. */
  readonly first: boolean;
  /** The file that has the rule. */
  readonly source: (mutation: M) => string;
  /** The file that the tests run in its stead. */
  readonly target: (mutation: M) => string;
  /** The text without the rule. Throws unless `find` names one piece of code. */
  readonly apply: (text: string, mutation: M) => string;
  /** Turns the text of the one into that of the other. */
  readonly compile?: (text: string) => string;
  /** Compiled test files. */
  readonly tests: (mutation: M) => readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** More arguments for mocha. */
  readonly args?: readonly string[];
}

const MOCHA = fileURLToPath(import.meta.resolve('mocha/bin/mocha.js'));

/**
 * Makes each mutation in turn, of the named files if there are any, and runs tests against it. Prints and returns a
 * Markdown table with the tests that notice it. The process ends with 1 when one remains unnoticed.
 */
export function runMutations<M extends Mutation>(
  mutations: readonly M[],
  wanted: readonly string[],
  trials: Trials<M>,
): string {
  const lines: string[] = [];
  const say = (line: string): void => {
    lines.push(line);
    console.log(line);
  };
  const chosen = mutations.filter(({ place }) => wanted.length === 0 || wanted.includes(place));
  // One that is out of date shows at once, not after minutes.
  for (const mutation of chosen) textWithout(mutation, trials);
  say(`| ${trials.head} | noticed ${trials.first ? 'first by' : 'by'} |\n|---|---|---|`);
  let unnoticed = 0;
  for (const mutation of chosen) {
    const noticed = noticedBy(mutation, trials).join(', ');
    if (noticed === '') unnoticed += 1;
    say(`| ${mutation.place} | ${mutation.rule} | ${noticed || '**nothing**'} |`);
  }
  say(`\n${chosen.length} mutations, ${unnoticed} unnoticed`);
  process.exitCode = unnoticed === 0 ? 0 : 1;
  return lines.join('\n');
}

function noticedBy<M extends Mutation>(mutation: M, trials: Trials<M>): string[] {
  const without = textWithout(mutation, trials);
  const target = trials.target(mutation);
  const former = readFileSync(target);
  writeFileSync(target, trials.compile?.(without) ?? without);
  try {
    const tests = trials.tests(mutation);
    const fails = (test: string): boolean => !passes(test, trials);
    const noticed = trials.first ? [tests.find(fails) ?? []].flat() : tests.filter(fails);
    return noticed.map(test => basename(test, '.test.js'));
  } finally {
    writeFileSync(target, former);
  }
}

function textWithout<M extends Mutation>(mutation: M, trials: Trials<M>): string {
  const source = trials.source(mutation);
  const text = readFileSync(source, 'utf8');
  try {
    return trials.apply(text, mutation);
  } catch (cause) {
    throw new Error(`${source}: '${mutation.rule}' cannot be removed`, { cause });
  }
}

function passes(test: string, { args = [], env }: Pick<Trials<never>, 'args' | 'env'>): boolean {
  const fixed = [MOCHA, '--no-config', '--bail', '--exit', '--timeout', '20000'];
  const options = { env: { ...process.env, ...env }, stdio: 'ignore', timeout: 120_000 } as const;
  return spawnSync(process.execPath, [...fixed, ...args, test], options).status === 0;
}
