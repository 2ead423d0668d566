import type { ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

/** The response of either protocol. */
export type AnyResponse = ServerResponse | Http2ServerResponse;

/** Sets what makes a response an event stream that proxies and compression leave alone. */
export function setStreamHeaders(response: AnyResponse): void {
  response.statusCode = 200;
  response.setHeader('Content-Type', 'text/event-stream');
  // no-transform keeps compressing middleware and proxies away; nginx buffers unless told not to.
  response.setHeader('Cache-Control', 'no-cache, no-transform');
  response.setHeader('X-Accel-Buffering', 'no');
  response.removeHeader('Content-Length');
  response.removeHeader('Content-Encoding');
}
