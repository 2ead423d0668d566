import type { Context } from 'koa';
import type { CommandReceipt } from '../contracts/events.js';
import type { SseService } from '../contracts/service.js';
import { SseError } from '../errors.js';

/** Accepted by the stream request of a client that confirms, and the only type that its reports accept. */
export const CONFIRM_TYPE = 'application/vnd.distributed-sse.confirm';

/** Whether a request is the report of a client, by its method and its header Accept. */
export function isReport({ req, method }: Context): boolean {
  return method === 'POST' && req.headers.accept === CONFIRM_TYPE;
}

/** Bytes of a report: 100 message ids of 128 bytes, escaped. */
const MAX_REPORT_BYTES = 32_768;

/**
 * Answers the report of a client: 204, or the status of an error. After 429 and 5xx the client reports the same again.
 * @throws SseError `INVALID_REQUEST`, `EVENT_TOO_LARGE`, `FORBIDDEN`, `CONNECTION_CLOSED`, `UNAVAILABLE`
 */
export async function answerReport(
  ctx: Context,
  service: Pick<SseService, 'confirm'>,
  user: string | undefined,
): Promise<void> {
  const refusal = refusalOf(await service.confirm(await jsonBodyOf(ctx, 'a report', MAX_REPORT_BYTES), user));
  if (refusal === undefined) ctx.status = 204;
  else if (refusal.code !== 'RATE_LIMITED') throw refusal;
  else answerTooMany(ctx, refusal);
}

/** Why a report had no effect; `undefined` when it had. */
export function refusalOf(receipt: CommandReceipt): SseError | undefined {
  switch (receipt.outcome) {
    case 'delivered':
    case 'stored':
      return undefined;
    case 'not-connected':
      return new SseError('CONNECTION_CLOSED', 'no node has this connection; a report after its end has no effect');
    case 'rejected': {
      const { code } = receipt;
      return code === 'RATE_LIMITED'
        ? new SseError(code, 'too many reports; report again later, and more at once')
        : new SseError(code, 'the report must have the token of its connection; see docs/client.md');
    }
    case 'unknown':
    case 'unavailable':
      return new SseError('UNAVAILABLE', 'the node of this connection cannot be reached; report again later');
  }
}

/** A client that is refused a stream waits longer. */
function answerTooMany(ctx: Context, { code, message, status }: SseError): void {
  ctx.status = status;
  ctx.set({ 'Retry-After': '1', 'Cache-Control': 'no-store' });
  ctx.body = { error: { code, message } };
}

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
