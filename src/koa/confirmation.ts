import type { Context } from 'koa';
import type { SseService } from '../contracts/service.js';
import { SseError } from '../errors.js';
import { jsonBodyOf } from './json-body.js';

/** Accepted by the stream request of a client that confirms, and the only type that its reports accept. */
const CONFIRM_TYPE = 'application/vnd.distributed-sse.confirm';
/** Bytes of a report: 100 message ids of 128 bytes, escaped. */
const MAX_BYTES = 32_768;

/** Whether the client of a stream request will confirm what it has handled. */
export function confirms({ req }: Context): boolean {
  return req.headers.accept?.includes(CONFIRM_TYPE) === true;
}

/** Whether a request is the report of a client, by its method and its header Accept. */
export function isReport({ req, method }: Context): boolean {
  return method === 'POST' && req.headers.accept === CONFIRM_TYPE;
}

/**
 * Answers the report of a client: 204, or the status of an error. After 429 and 5xx the client reports the same again.
 * @throws SseError `INVALID_REQUEST`, `EVENT_TOO_LARGE`, `FORBIDDEN`, `CONNECTION_CLOSED`, `UNAVAILABLE`
 */
export async function answerReport(
  ctx: Context,
  service: Pick<SseService, 'confirm'>,
  user: string | undefined,
): Promise<void> {
  const receipt = await service.confirm(await jsonBodyOf(ctx, 'a report', MAX_BYTES), user);
  switch (receipt.outcome) {
    case 'delivered':
    case 'stored':
      ctx.status = 204;
      return;
    case 'not-connected':
      throw new SseError('CONNECTION_CLOSED', 'no node has this connection; a report after its end has no effect');
    case 'rejected':
      // A client that is refused a stream waits longer.
      if (receipt.code === 'RATE_LIMITED') answerTooMany(ctx);
      else throw new SseError(receipt.code, 'the report must have the token of its connection; see docs/client.md');
      return;
    case 'unknown':
    case 'unavailable':
      throw new SseError('UNAVAILABLE', 'the node of this connection cannot be reached; report again later');
  }
}

function answerTooMany(ctx: Context): void {
  ctx.status = 429;
  ctx.set({ 'Retry-After': '1', 'Cache-Control': 'no-store' });
  ctx.body = { error: { code: 'RATE_LIMITED', message: 'too many reports; report again later, and more at once' } };
}
