import { Http2ServerResponse } from 'node:http2';
import type { Context } from 'koa';

/**
 * Keeps a client's abrupt end from being told as an error of the application. Koa passes the error that broke the socket to
 * `ctx.onerror`; for a stream it is one more way to end.
 */
export function ignoreDisconnects(ctx: Context): void {
  const response: object = ctx.res;
  const socket = response instanceof Http2ServerResponse ? response.stream : ctx.req.socket;
  const report = ctx.onerror.bind(ctx);
  ctx.onerror = error => {
    if (error !== socket.errored) report(error);
  };
}
