import { setTimeout as delay } from 'node:timers/promises';
import { SseError } from '../errors/sse-error.js';

/** Further tries of a call that failed. */
export interface Retry {
  /** Further tries after the first; 0: none. */
  readonly count: number;
  /** Milliseconds between two, give or take half. */
  readonly interval: number;
}

/**
 * Repeats `call` while it fails with a retryable `SseError`. The first try begins at once, before this returns, so that
 * calls begin in the order they are made. An aborted signal ends the waiting with the last failure.
 */
export async function withRetry<T>(
  { count, interval }: Retry,
  call: () => Promise<T>,
  signal: AbortSignal,
): Promise<T> {
  for (let tries = 0; ; tries += 1) {
    try {
      return await call();
    } catch (error) {
      if (tries >= count || !SseError.is(error) || !error.retryable) throw error;
      try {
        await delay(interval * (0.5 + Math.random()), undefined, { signal });
      } catch {
        throw error;
      }
    }
  }
}
