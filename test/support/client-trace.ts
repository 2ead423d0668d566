import { randomBytes } from 'node:crypto';

/** A trace that a client begins: its id, the id of the client's span, and the headers that carry both. */
export interface ClientTrace {
  readonly traceId: string;
  readonly clientSpan: string;
  readonly headers: Record<string, string>;
}

/** A new trace, sampled. */
export function newTrace(): ClientTrace {
  const [traceId, clientSpan] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
  return { traceId, clientSpan, headers: { traceparent: `00-${traceId}-${clientSpan}-01` } };
}
