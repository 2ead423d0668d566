import { setTimeout as delay } from 'node:timers/promises';

const FIRST_PAUSE = 2;
const LONGEST_PAUSE = 40;

/**
 * Resolves when the condition holds; rejects after `timeout` milliseconds with what was waited for. The pauses between two
 * looks grow, so that a long wait costs little.
 */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeout = 20_000,
): Promise<void> {
  const deadline = Date.now() + timeout;
  for (let pause = FIRST_PAUSE; !(await condition()); pause = Math.min(LONGEST_PAUSE, pause * 1.25)) {
    if (Date.now() > deadline) throw new Error(`waited ${timeout} ms for ${what}`);
    await delay(pause);
  }
}

/** How long a count may stay the same before the work that it counts has stopped, in milliseconds. */
const STANDSTILL = 15_000;

/**
 * Resolves when a count has reached `target`. A slow machine may take as long as it needs: this rejects only when the count
 * has not grown for 15 seconds.
 */
export async function reached(count: () => number, target: number, what: string): Promise<void> {
  for (let last = count(); last < target;) {
    const before = last;
    await until(() => count() > before, `more than ${before} of ${target} ${what}`, STANDSTILL);
    last = count();
  }
}
