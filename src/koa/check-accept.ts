import type { Context } from 'koa';
import { SseError } from '../errors/sse-error.js';

const MEDIA_TYPE = 'text/event-stream';

/** @throws SseError `NOT_ACCEPTABLE` */
export function checkAccept(ctx: Context): void {
  const { accept } = ctx.req.headers;
  // What nearly every client sends need not be parsed.
  if (accept === undefined || accept === MEDIA_TYPE || accept === '*/*') return;
  if (ctx.accepts(MEDIA_TYPE) !== false) return;
  throw new SseError(
    'NOT_ACCEPTABLE',
    `this answers with ${MEDIA_TYPE}, which the Accept header excludes; accept it, or send no Accept header`,
  );
}
