import { IncomingMessage, ServerResponse } from 'node:http';
import { Http2ServerResponse } from 'node:http2';
import { SseError } from '../errors/sse-error.js';
import type { ConnectionSettings } from '../options/connection-settings.js';
import type { RequestSink } from './request-sink.js';
import { ResponseSink } from './response-sink.js';
import { SocketSink } from './socket-sink.js';

/**
 * The sink for a request that is to become a stream.
 * @param detach `connection.detach`
 * @throws SseError `INVALID_REQUEST` for a pipelined request: its response would wait behind one that never ends;
 * `CONNECTION_CLOSED` when the client is gone already.
 */
export function sinkFor(
  request: object,
  response: object,
  detach: ConnectionSettings['detach'] = 'auto',
): RequestSink {
  if (response instanceof Http2ServerResponse)
    return new ResponseSink(response as Http2ServerResponse);
  if (!(request instanceof IncomingMessage) || !(response instanceof ServerResponse)) {
    throw new SseError(
      'INVALID_REQUEST',
      "a stream needs the request and response of node:http, node:https or node:http2's compatibility layer",
    );
  }
  if (response.socket !== null)
    return new SocketSink(request, response as ServerResponse, response.socket, detach);
  if (request.socket.destroyed) {
    throw new SseError('CONNECTION_CLOSED', 'the client left before its stream was open');
  }
  throw new SseError(
    'INVALID_REQUEST',
    'a pipelined request cannot become a stream; send it on a connection of its own',
  );
}
