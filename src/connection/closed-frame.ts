import type { CloseReason } from '../contracts/close-reason.js';
import type { Frame } from '../contracts/frame.js';
import { encodeEvent } from '../protocol/encode-event.js';

/**
 * The last event of a stream, which tells the client why it ends.
 *
 * @param retry the client's reconnection time in milliseconds; `undefined` leaves it as it is
 */
export function closedFrame(reason: CloseReason, retry: number | undefined): Frame {
  return { bytes: encodeEvent({ event: 'sse.closed', data: JSON.stringify({ reason }), retry }) };
}
