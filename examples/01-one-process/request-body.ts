import type { Context } from 'koa';
import rawBody from 'raw-body';
import { HttpError } from './http-error.js';

/** What a request wants to send: text as it is, or JSON text that is known to be well formed. */
export async function readEventData(ctx: Context, limit: number): Promise<string> {
  const json = isJson(ctx);
  const text = decodeUtf8(await readBytes(ctx, limit));
  if (json) checkJson(text);
  return text;
}

function isJson(ctx: Context): boolean {
  const header = ctx.get('Content-Type');
  const type = header.split(';', 1)[0]?.trim().toLowerCase();
  const charset = /;\s*charset="?([^";\s]+)/i.exec(header)?.[1]?.toLowerCase() ?? 'utf-8';
  if (charset !== 'utf-8' && charset !== 'utf8') {
    throw new HttpError(415, 'UNSUPPORTED_MEDIA_TYPE', `charset must be utf-8, got ${charset}`);
  }
  if (type === 'application/json') return true;
  if (type === '' || type === 'text/plain') return false;
  throw new HttpError(
    415,
    'UNSUPPORTED_MEDIA_TYPE',
    `content type must be text/plain or application/json, got ${type ?? header}`,
  );
}

async function readBytes(ctx: Context, limit: number): Promise<Buffer> {
  try {
    return await rawBody(ctx.req, { limit, length: ctx.get('Content-Length') || null });
  } catch (error) {
    if (error instanceof Error && 'type' in error && error.type === 'entity.too.large') {
      // What is still coming is not read; the connection cannot be used again.
      ctx.set('Connection', 'close');
      throw new HttpError(413, 'EVENT_TOO_LARGE', `the body must be at most ${limit} bytes`);
    }
    throw new HttpError(400, 'INVALID_BODY', 'the body could not be read completely');
  }
}

function decodeUtf8(bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    throw new HttpError(400, 'INVALID_BODY', 'the body must be valid UTF-8');
  }
}

/** The text itself is sent on: parsing and writing it again would round large numbers. */
function checkJson(text: string): void {
  try {
    JSON.parse(text);
  } catch {
    throw new HttpError(400, 'INVALID_JSON', 'the body must be valid JSON, as its content type says');
  }
}
