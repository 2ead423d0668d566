import { writeFileSync } from 'node:fs';
import { relative } from 'node:path';
import Mocha, { type Runnable } from 'mocha';

/** What one group of test files came to. */
export interface GroupResult {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
  /** File, title and error of each failure, in one line. */
  readonly failures: readonly string[];
  /** Milliseconds of the tests and hooks of each file, by its path below `dist/test`. */
  readonly files: Readonly<Record<string, number>>;
}

/** Milliseconds from the last test of a group until its process must have ended by itself. */
const LONGEST_END_MS = 30_000;

const { EVENT_HOOK_END, EVENT_TEST_END, EVENT_TEST_FAIL, EVENT_RUN_BEGIN, EVENT_RUN_END } = Mocha.Runner.constants;

/** Mocha's usual report; at the end the group's `GroupResult` goes to the file that `TEST_RESULT` names. */
export default class FileTimes extends Mocha.reporters.Spec {
  constructor(runner: Mocha.Runner, options: Mocha.MochaOptions) {
    super(runner, options);
    const files: Record<string, number> = {};
    const failures: string[] = [];
    let last = 0;
    runner.on(EVENT_RUN_BEGIN, () => (last = performance.now()));
    // A test begins before the hooks that come before it: only the ends divide the time.
    const end = (runnable: Runnable): void => {
      const name = nameOf(runnable);
      const now = performance.now();
      files[name] = (files[name] ?? 0) + now - last;
      last = now;
    };
    runner.on(EVENT_HOOK_END, end).on(EVENT_TEST_END, end);
    runner.on(EVENT_TEST_FAIL, (runnable: Runnable, { message }: Error) => {
      failures.push(`${nameOf(runnable)}: ${runnable.fullTitle()}: ${message.replace(/\s+/g, ' ').slice(0, 500)}`);
    });
    runner.on(EVENT_RUN_END, () => {
      const path = process.env['TEST_RESULT'];
      if (path === undefined) return;
      const { passes: passed, failures: failed, pending: skipped } = this.stats;
      const write = (result: GroupResult): void => writeFileSync(path, JSON.stringify(result));
      write({ passed, failed, skipped, failures, files });
      // Runs only where something that was left open keeps the process alive.
      setTimeout(() => {
        const [first = ''] = Object.keys(files);
        const failure = `${first} and the files beside it: left open after the tests: ${process.getActiveResourcesInfo().join(', ')}`;
        write({ passed, failed: failed + 1, skipped, failures: [...failures, failure], files });
        process.exit(1);
      }, LONGEST_END_MS).unref();
    });
  }
}

/** The file of a test or hook, by its path below `dist/test`. */
function nameOf({ file, parent }: Runnable): string {
  return relative('dist/test', file ?? parent?.file ?? '');
}
