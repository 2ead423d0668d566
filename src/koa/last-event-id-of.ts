import type { Context } from 'koa';

/**
 * Where the client says it stands: the header `Last-Event-ID`, else the query parameter `lastEventId`, since a browser cannot
 * set the header on its first request.
 */
export function lastEventIdOf(ctx: Context): string | undefined {
  const header = ctx.req.headers['last-event-id'];
  // Clients send UTF-8 (HTML standard, section 9.2.3), which Node reads as Latin-1.
  if (typeof header === 'string' && header !== '')
    return Buffer.from(header, 'latin1').toString('utf8');
  if (ctx.req.url?.includes('?') !== true) return undefined;
  const { lastEventId } = ctx.query;
  return typeof lastEventId === 'string' ? lastEventId : undefined;
}
