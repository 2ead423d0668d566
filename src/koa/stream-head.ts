import type { OutgoingHttpHeaders, ServerResponse } from 'node:http';
import type { Http2ServerResponse } from 'node:http2';

/** The response of either protocol. */
export type AnyResponse = ServerResponse | Http2ServerResponse;

const HEADERS = {
  'Content-Type': 'text/event-stream',
  // no-transform keeps compressing middleware and proxies away; nginx buffers unless told not to.
  'Cache-Control': 'no-cache, no-transform',
  'X-Accel-Buffering': 'no',
} as const;

/**
 * Writes the head that makes a response an event stream, which proxies and compression leave alone.
 * @param more further headers of the protocol
 */
export function writeStreamHead(response: AnyResponse, more: OutgoingHttpHeaders): void {
  response.removeHeader('Content-Length');
  response.removeHeader('Content-Encoding');
  response.writeHead(200, { ...HEADERS, ...more });
}
