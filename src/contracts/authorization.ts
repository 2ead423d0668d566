import type { IncomingHttpHeaders } from 'node:http';
import type { ParsedUrlQuery } from 'node:querystring';

/** The part of a request that guards and endpoint functions may rely on. A Koa context is one. */
export interface SseRequest {
  readonly method: string;
  readonly path: string;
  readonly url: string;
  readonly ip: string;
  readonly headers: IncomingHttpHeaders;
  readonly query: ParsedUrlQuery;
  /** Decoded path parameters. */
  readonly params: Readonly<Record<string, string | undefined>>;
  /** Values that earlier middleware stored for later ones. */
  readonly state: Record<string, unknown>;
}

/**
 * Decides whether a request may become a stream, before anything is registered. The container builds it.
 *
 * Only `true` lets the request pass. `false` answers 403, a number from 400 to 599 is the status to answer; any other number
 * and anything thrown is the application's own error. The guards of a request have `guards.timeout` together.
 */
export interface SseGuard {
  canConnect(request: SseRequest): boolean | number | Promise<boolean | number>;
}
