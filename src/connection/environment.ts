import type { CloseReason } from '../contracts/connection.js';
import type { Frame, Gap } from '../contracts/events.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import type { EventTelemetry, TrafficCounts } from '../contracts/telemetry.js';
import { encodeEvent, type EventEncoder } from '../protocol/event-stream.js';
import type { ResetNotice } from '../protocol/gap.js';
import type { WriteScheduler } from './scheduler.js';
import type { SendBufferBudget } from './send-buffer.js';
import type { HeartbeatWheel, Watchdog } from './timers.js';

/** What to do with a frame for a client whose send buffer is full. */
export type SendBufferPolicy = 'disconnect' | 'drop-oldest' | 'drop-newest';

/** Learns of the end of each connection. */
export interface ConnectionObserver {
  /** It takes nothing any more; called exactly once per connection, whatever its state was. */
  onStopped(connection: LocalConnection, reason: CloseReason): void;
  /** Its client is told of a gap, ahead of whatever is given to it from now on. */
  onTold(connection: LocalConnection, gap: Gap): void;
  /** Its socket is gone as well; called exactly once, after `onStopped`. */
  onClosed(connection: LocalConnection): void;
}

/** What all connections of one node share. */
export interface ConnectionEnvironment {
  readonly nodeId: string;
  /** `sendBuffer.maxBytes` */
  readonly maxBytes: number;
  /** `sendBuffer.policy` */
  readonly policy: SendBufferPolicy;
  readonly budget: SendBufferBudget;
  readonly scheduler: WriteScheduler;
  readonly watchdog: Watchdog;
  /** Undefined when `connection.heartbeat` is off. */
  readonly wheel: HeartbeatWheel | undefined;
  readonly encoder: EventEncoder;
  readonly observer: ConnectionObserver;
  readonly logger: Logger;
  readonly events: Pick<EventTelemetry, 'sent'>;
  readonly traffic: TrafficCounts;
  /** A message id that no other send has. */
  nextMessageId(): string;
  /** The notice of a gap, the same for all connections. */
  noticeOf(gap: Gap): ResetNotice;
  /** The reconnection time, in milliseconds, for a client that is sent away with this reason; `undefined` says nothing. */
  reconnectIn(reason: CloseReason): number | undefined;
}

/** What names a connection when it is made. */
export interface ConnectionIdentity {
  readonly id: string;
  /** Number of the connection within its node. */
  readonly ordinal: number;
  readonly lastEventId: string | undefined;
}

/**
 * The last event of a stream, which tells the client why it ends.
 *
 * @param retry the client's reconnection time in milliseconds; `undefined` leaves it as it is
 */
export function closedFrame(reason: CloseReason, retry: number | undefined): Frame {
  return { bytes: encodeEvent({ event: 'sse.closed', data: JSON.stringify({ reason }), retry }) };
}
