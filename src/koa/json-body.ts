import type { Context } from 'koa';
import { SseError } from '../errors.js';

/** Milliseconds for a body. */
const BODY_MS = 10_000;

/**
 * The JSON of a request, also where a middleware of the application has read it.
 * @param what what the body is, for errors: `a report` @param maxBytes of a body that is read here
 * @throws SseError `INVALID_REQUEST`, `EVENT_TOO_LARGE`
 */
export async function jsonBodyOf(ctx: Context, what: string, maxBytes: number): Promise<unknown> {
  const parsed = (ctx.request as { readonly body?: unknown }).body;
  if (typeof parsed === 'object' && parsed !== null) return parsed;
  const text = typeof parsed === 'string' ? parsed : await textOf(ctx, what, maxBytes);
  try {
    const body: unknown = JSON.parse(text);
    return body;
  } catch (error) {
    throw new SseError('INVALID_REQUEST', `${what} must be JSON`, { cause: error });
  }
}

function textOf({ req }: Context, what: string, maxBytes: number): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const end = (finish: () => void): void => {
      clearTimeout(timer);
      req.off('data', onData).off('end', onEnd).off('close', onClose);
      // What is left of the body must not keep the socket busy.
      req.resume();
      finish();
    };
    const onData = (chunk: Buffer): void => {
      size += chunk.length;
      chunks.push(chunk);
      if (size <= maxBytes) return;
      end(() =>
        reject(new SseError('EVENT_TOO_LARGE', `${what} must be at most ${maxBytes} bytes; send less at once`)),
      );
    };
    const onEnd = (): void => end(() => resolve(Buffer.concat(chunks).toString()));
    const onClose = (): void =>
      end(() => reject(new SseError('INVALID_REQUEST', `${what} must arrive within ${BODY_MS} ms`)));
    const timer = setTimeout(onClose, BODY_MS);
    req.on('data', onData).on('end', onEnd).on('close', onClose);
  });
}
