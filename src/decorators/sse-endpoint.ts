import type { SseConnection } from '../contracts/sse-connection.js';
import type { SseRequest } from '../contracts/sse-request.js';
import { SseError } from '../errors/sse-error.js';
import { addEndpoint, type SseEndpointOptions } from './endpoint-metadata.js';

/** Written as a method, so that a handler may name a narrower request (Koa's context) or typed events. */
interface Endpoint {
  handle(connection: SseConnection, request: SseRequest): unknown;
}

/**
 * Makes a controller's method an event-stream endpoint. Path syntax is path-to-regexp 8: `/sse/:clientId`, `/a{/:b}`.
 *
 * The method is called with the open connection and the request. It may return nothing, or a source of events (see
 * `SseConnection.pipe`): its stream ends with the source. What it throws ends the stream with reason `failed`.
 *
 * Writes one metadata record and nothing else; `sseMiddleware` serves it.
 * @throws SseError `INVALID_ENDPOINT` on a static method
 */
export function SseEndpoint(path: string, options: SseEndpointOptions = {}) {
  // Generic in the method, since a descriptor's type is invariant.
  return <Handler extends Endpoint['handle']>(
    prototype: object,
    method: string | symbol,
    _descriptor: TypedPropertyDescriptor<Handler>,
  ): void => {
    if (typeof prototype === 'function') {
      throw new SseError(
        'INVALID_ENDPOINT',
        `an @SseEndpoint must be a method of instances, ${String(method)} is static; remove the keyword`,
      );
    }
    addEndpoint(prototype.constructor, { path, method, options });
  };
}
