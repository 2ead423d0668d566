import { addEndpoint, type SseEndpointOptions } from './endpoint-metadata.js';

/**
 * Makes a controller's method an event-stream endpoint. Path syntax is path-to-regexp 8: `/sse/:clientId`, `/a{/:b}`.
 *
 * The method is called with the open connection and the request. It may return nothing, or a source of events (see
 * `SseConnection.pipe`): its stream ends with the source. What it throws ends the stream with reason `failed`.
 *
 * Writes one metadata record and nothing else; `sseMiddleware` serves it.
 */
export function SseEndpoint(path: string, options: SseEndpointOptions = {}) {
  // Generic in the method, since a descriptor's type is invariant.
  return <Handler extends (...args: never[]) => unknown>(
    prototype: object,
    method: string | symbol,
    _descriptor: TypedPropertyDescriptor<Handler>,
  ): void => {
    addEndpoint(prototype.constructor, { path, method, options });
  };
}
