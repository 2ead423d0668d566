import type { ClientConnection } from '../connection/client-connection.js';
import type { Cursor, Frame } from '../contracts/frame.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { formatCursor } from '../protocol/cursor.js';
import { encodeEvent } from '../protocol/encode-event.js';

/** The first event of a stream. @param start where it starts; without it the client keeps the id it has */
export function connectedFrame(
  { id: connectionId }: ClientConnection,
  { node, reconnect }: ResolvedSseOptions,
  start: Cursor | undefined,
): Frame {
  return {
    bytes: encodeEvent({
      event: 'connected',
      id: start && formatCursor(start),
      // Spread around the setting, so that the clients of a node that dies do not come back in one instant.
      retry: Math.round(reconnect.retry * (0.5 + Math.random())),
      data: `{"connectionId":${JSON.stringify(connectionId)},"nodeId":${JSON.stringify(node.id)}}`,
    }),
  };
}
