import type { IncomingHttpHeaders } from 'node:http';
import type { Context } from 'koa';
import type { ContentEncoding } from './socket-sink.js';

/** The media type of event streams (HTML standard, section 9.2.8). */
export const MEDIA_TYPE = 'text/event-stream';

/** What an Accept header says about event streams: it names the type, allows it without naming it, or excludes it. */
type Acceptance = 'named' | 'allowed' | 'excluded';

// The most specific range decides (RFC 9110, section 12.5.1).
const RANGES: readonly string[] = [MEDIA_TYPE, 'text/*', '*/*'];

/** Whether a client accepts an event stream. An EventSource names the type. */
export function acceptOf({ accept }: IncomingHttpHeaders): Acceptance {
  // Nearly every client sends one of these; they need no parsing.
  if (accept === MEDIA_TYPE) return 'named';
  if (accept === undefined || accept === '*/*' || accept.trim() === '') return 'allowed';
  const weights = RANGES.map(() => -1);
  // Other parameters, such as a character set, choose no other stream.
  for (const [range, weight] of weighted(accept, 1)) {
    const index = RANGES.indexOf(range);
    if (index >= 0) weights[index] = Math.max(weights[index] ?? -1, weight);
  }
  const index = weights.findIndex(weight => weight >= 0);
  if ((weights[index] ?? 0) === 0) return 'excluded';
  return index === 0 ? 'named' : 'allowed';
}

// In the order of choice where the client has none: brotli compresses events as well and takes more than three times the memory.
const ENCODINGS: readonly ContentEncoding[] = ['gzip', 'br'];

/** The encoding that a client prefers by its header `Accept-Encoding` (RFC 9110, section 12.5.3); `undefined`: none. */
export function encodingOf({ 'accept-encoding': accepted }: IncomingHttpHeaders): ContentEncoding | undefined {
  if (typeof accepted !== 'string') return undefined;
  const weights = new Map(weighted(accepted, 0));
  const weightOf = (name: string): number => weights.get(name) ?? weights.get('*') ?? 0;
  const best = ENCODINGS.toSorted((one, other) => weightOf(other) - weightOf(one))[0];
  return best !== undefined && weightOf(best) > 0 && weightOf(best) >= (weights.get('identity') ?? 0)
    ? best
    : undefined;
}

/** The items of a header with their weights, in lower case. @param broken the weight where `q` is no number */
function* weighted(header: string, broken: number): Iterable<[item: string, weight: number]> {
  for (const part of header.toLowerCase().split(',')) {
    const [item = '', ...parameters] = part.split(';').map(each => each.trim());
    const weight = Number(parameters.find(parameter => parameter.startsWith('q='))?.slice(2) ?? 1);
    yield [item, Number.isNaN(weight) ? broken : weight];
  }
}

/** Accepted by the stream request of a client that confirms, and the only type that its reports accept. */
const CONFIRM_TYPE = 'application/vnd.distributed-sse.confirm';

/** Whether the client of a stream request will confirm what it has handled. */
export function confirms({ req }: Context): boolean {
  return req.headers.accept?.includes(CONFIRM_TYPE) === true;
}

/** Whether a request is the report of a client, by its method and its header Accept. */
export function isReport({ req, method }: Context): boolean {
  return method === 'POST' && req.headers.accept === CONFIRM_TYPE;
}
