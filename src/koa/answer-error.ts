import type { Context } from 'koa';
import type { SseError } from '../errors/sse-error.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { httpStatusOf } from './http-status.js';

const RETRY_LATER: ReadonlySet<number> = new Set([429, 503]);

/**
 * Answers a request with an error: `{"error":{"code","message"}}`, and for 429 and 503 a `Retry-After` of its own for
 * each client, so that those who are refused together do not come back together.
 */
export function answerError(
  ctx: Context,
  error: SseError,
  reconnect: ResolvedSseOptions['reconnect'],
  status: number = httpStatusOf(error.code),
): void {
  ctx.status = status;
  if (RETRY_LATER.has(status)) ctx.set('Retry-After', String(retryAfter(reconnect)));
  ctx.body = { error: { code: error.code, message: error.message } };
}

/** Whole seconds, at least one, since `reconnect.retry` is at least a millisecond. */
function retryAfter({ retry, jitter }: ResolvedSseOptions['reconnect']): number {
  return Math.ceil((retry + Math.random() * jitter) / 1000);
}
