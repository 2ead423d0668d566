import { setTimeout as delay } from 'node:timers/promises';

/** Resolves when the condition holds; rejects after `timeout` milliseconds with what was waited for. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  timeout = 10_000,
): Promise<void> {
  const deadline = Date.now() + timeout;
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${timeout} ms for ${what}`);
    await delay(5);
  }
}
