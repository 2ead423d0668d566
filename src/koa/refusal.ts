import { randomUUID } from 'node:crypto';
import { Http2ServerResponse } from 'node:http2';
import type { Context } from 'koa';
import type { Logger } from '../contracts/logger.js';
import { httpStatusOf, sentenceOf, SseError, type SseErrorCode, statusOf } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { encodeEvent } from '../protocol/event-stream.js';
import { LONGEST_MS } from '../time.js';
import { STREAM_HEADERS } from './socket-sink.js';
import { acceptOf, lastEventIdOf } from './stream-request.js';

/** How refusals are answered. */
export interface RefusalServices {
  readonly options: Pick<ResolvedSseOptions, 'disclosure' | 'reconnect'>;
  readonly logger: Logger;
}

/** Why a client is sent away that may come back, as `sse.closed` says it. */
type RefusalReason = 'draining' | 'full' | 'rate-limited' | 'unavailable' | 'inconsistent' | 'closed' | 'error';

/** What stands in an answer without a stream, and in a refusal: no cache may give it to another client. */
const NO_STORE = 'no-store';
/** A failure of the server: longer than the time in which most of them pass. */
const LEAST_AFTER_ERROR_MS = 10_000;
/** The least wait after a refusal of this code. */
const LEAST_MS: Readonly<Partial<Record<SseErrorCode, number>>> = { RATE_LIMITED: 30_000 };

const REASONS: Readonly<Partial<Record<SseErrorCode, RefusalReason>>> = {
  CONNECTION_LIMIT: 'full',
  SEND_BUFFER_FULL: 'rate-limited',
  MESSAGE_LIMIT: 'rate-limited',
  RATE_LIMITED: 'rate-limited',
  DRAINING: 'draining',
  CLOSED: 'draining',
  UNAVAILABLE: 'unavailable',
  INCONSISTENT: 'inconsistent',
  // The application closed the connection while it opened. A client that left itself gets no answer at all.
  CONNECTION_CLOSED: 'closed',
};

/**
 * The reason of a refusal that may pass by itself; `undefined` for one that does not. Guards and handlers may choose the
 * status: 429 and every 5xx pass.
 */
function temporaryReason({ code, status }: SseError): RefusalReason | undefined {
  if (status === 429) return 'rate-limited';
  return REASONS[code] ?? (status >= 500 ? 'error' : undefined);
}

/**
 * Answers a request for a stream that gets none.
 *
 * A permanent refusal is its status and `{"error":{"code","message"}}`; a 5xx has a `reference`, which the log has too. A temporary one is a stream that says when to come
 * back and ends: an EventSource gives up at every status but 200 (HTML standard, section 9.2.2). It repeats the last id of
 * the request, since some clients forget theirs at an event without one, and closes its connection, so that the next try can
 * reach another node. Requests that do not name text/event-stream, and all of them with `reconnect.refusal: 'status'`, get
 * the status with `Retry-After`.
 */
export function answerRefusal(ctx: Context, error: SseError, services: RefusalServices): void {
  if (ctx.method === 'HEAD' && error.code === 'CONNECTION_CLOSED') {
    answerHead(ctx);
    return;
  }
  const reason = temporaryReason(error);
  const { reconnect } = services.options;
  const streams = reason !== undefined && isAnsweredByStream(ctx, error, services);
  const waitMs = waitOf(reason === 'error' ? LEAST_AFTER_ERROR_MS : (LEAST_MS[error.code] ?? 0), reconnect);
  ctx.set('Cache-Control', NO_STORE);
  if (reason !== undefined) closeAfterwards(ctx);
  if (streams) answerStream(ctx, reason, waitMs);
  else answerStatus(ctx, error, waitMs, services);
}

/** Whether {@link answerRefusal} answers with a stream. */
export function isAnsweredByStream(ctx: Context, error: SseError, { options }: RefusalServices): boolean {
  return (
    options.reconnect.refusal === 'stream' &&
    temporaryReason(error) !== undefined &&
    acceptOf(ctx.req.headers) === 'named'
  );
}

/**
 * Completes the answer to a refusal that a route, or an error handler behind the middleware, has caught: answers when
 * nothing else did, and keeps a browser from giving up when the handler kept the status.
 */
export function completeAnswer(ctx: Context, error: SseError, services: RefusalServices): void {
  const kept = ctx.status === error.status;
  if (isUnanswered(ctx) || (kept && isAnsweredByStream(ctx, error, services))) answerRefusal(ctx, error, services);
  else if (kept) ctx.set('Cache-Control', NO_STORE);
}

/** Keeps caches from the answer that Koa, or an error handler in front of the middleware, gives to an error. */
export function keepFromCaches(ctx: Context, error: unknown): void {
  ctx.set('Cache-Control', NO_STORE);
  if (!(error instanceof Error) || !Object.isExtensible(error)) return;
  // Koa drops the headers that are set already and reads those of the error.
  const answered: Error & { headers?: object } = error;
  answered.headers = { 'Cache-Control': NO_STORE, ...answered.headers };
}

function answerStream(ctx: Context, reason: RefusalReason, retry: number): void {
  ctx.status = 200;
  ctx.set('Content-Type', STREAM_HEADERS['Content-Type']);
  ctx.remove('Content-Encoding');
  const data = JSON.stringify({ reason });
  ctx.body = encodeEvent({ event: 'sse.closed', data, id: lastEventIdOf(ctx), retry }).toString();
}

function answerStatus(ctx: Context, error: SseError, waitMs: number, { options, logger }: RefusalServices): void {
  const { code } = error;
  // An SseError of another copy of this package may have no status.
  const status = (error as Partial<SseError>).status ?? httpStatusOf(code);
  ctx.status = status;
  ctx.remove('Content-Type');
  if (RETRY_LATER.has(status)) ctx.set('Retry-After', String(Math.ceil(waitMs / 1000)));
  // Messages may name hosts, users, limits or code.
  const message = options.disclosure === 'message' ? error.message : sentenceOf(code);
  const reference = status < 500 ? undefined : randomUUID();
  if (reference !== undefined) {
    // Refusals of a busy node are many, and none of them is a failure.
    const level = status === 500 ? 'error' : 'debug';
    logger[level]('a request for a stream was answered with a server error', { reference, error });
  }
  ctx.body = { error: { code, message, ...(reference !== undefined && { reference }) } };
}

const RETRY_LATER: ReadonlySet<number> = new Set([429, 503]);

/** Milliseconds; random, so that clients that were refused together do not return together. */
function waitOf(least: number, { retry, jitter }: ResolvedSseOptions['reconnect']): number {
  return Math.min(Math.round(Math.max(retry, least) + Math.random() * jitter), LONGEST_MS);
}

function closeAfterwards(ctx: Context): void {
  const response: object = ctx.res;
  // Streams that are open on the session go on; the client opens its next one on another session.
  if (!(response instanceof Http2ServerResponse)) ctx.set('Connection', 'close');
  else if (!response.stream.destroyed) response.stream.session?.close();
}

/** Answers HEAD with the head that GET would get. */
export function answerHead(ctx: Context): void {
  ctx.status = 200;
  ctx.set(STREAM_HEADERS);
}

/** Whether nothing has answered the request yet. */
export function isUnanswered(ctx: Context): boolean {
  return ctx.respond !== false && !ctx.headerSent && ctx.status === 404 && ctx.body == null;
}

/** An error of the application as the library answers it. @param error anything that was thrown */
export function asRefusal(error: unknown): SseError {
  if (SseError.is(error)) return error;
  return new SseError('INTERNAL', 'the application failed', { cause: error, status: statusOf(error) });
}
