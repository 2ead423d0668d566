import { randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import type { SseConnection } from '../contracts/sse-connection.js';
import type { SseService } from '../contracts/sse-service.js';
import { SseError } from '../errors/sse-error.js';
import type { ConnectOptions } from './koa-context.js';
import { sinkFor } from './sink-for.js';

const MEDIA_TYPE = 'text/event-stream';

/** @throws SseError `NOT_ACCEPTABLE` */
export function checkAccept(ctx: Context): void {
  if (ctx.accepts(MEDIA_TYPE) !== false) return;
  throw new SseError(
    'NOT_ACCEPTABLE',
    `this answers with ${MEDIA_TYPE}, which the Accept header excludes; accept it, or send no Accept header`,
  );
}

/** Turns a request into a connection. The request is Koa's again when it rejects before the head was written. */
export async function connectRequest(
  ctx: Context,
  service: SseService,
  connectionId: string = randomUUID(),
  options: ConnectOptions = {},
): Promise<SseConnection> {
  checkAccept(ctx);
  const sink = sinkFor(ctx.req, ctx.res);
  const lastEventId = options.lastEventId ?? lastEventIdOf(ctx);
  const connection = await service.createConnection(
    connectionId,
    sink,
    lastEventId === undefined ? options : { ...options, lastEventId },
  );
  ctx.respond = false;
  return connection;
}

/** A browser cannot set the header on its first request, hence the query parameter. */
function lastEventIdOf(ctx: Context): string | undefined {
  const header = ctx.get('Last-Event-ID');
  if (header !== '') return header;
  const { lastEventId } = ctx.query;
  return typeof lastEventId === 'string' ? lastEventId : undefined;
}
