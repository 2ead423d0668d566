import type { Context, Next } from 'koa';
import { HttpError } from './http-error.js';

/** Answers everything that is not 2xx as `{"error":{"code","message"}}`, and refuses broken percent-encoding. */
export async function answerErrors(ctx: Context, next: Next): Promise<void> {
  try {
    checkEncoding(ctx);
    await next();
  } catch (error) {
    const known = error instanceof HttpError;
    if (!known) ctx.app.emit('error', error, ctx);
    ctx.status = known ? error.status : 500;
    const code = known ? error.code : 'INTERNAL';
    ctx.body = { error: { code, message: known ? error.message : 'internal error' } };
    return;
  }
  if (ctx.status < 400 || ctx.respond === false || ctx.body != null) return;
  const { status } = ctx;
  const code = status === 404 ? 'NOT_FOUND' : status === 405 ? 'METHOD_NOT_ALLOWED' : 'REFUSED';
  ctx.body = { error: { code, message: `${ctx.method} ${ctx.path}: ${ctx.message}` } };
  ctx.status = status;
}

function checkEncoding(ctx: Context): void {
  try {
    decodeURIComponent(ctx.path);
    decodeURIComponent(ctx.querystring);
  } catch {
    throw new HttpError(400, 'INVALID_REQUEST', 'the URL must be percent-encoded UTF-8');
  }
}
