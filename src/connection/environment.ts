import { randomBytes } from 'node:crypto';
import { isSpread } from '../close-reasons.js';
import type { CloseReason, Reset } from '../contracts/connection.js';
import type { Frame } from '../contracts/events.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import type { EventTelemetry, TrafficCounts } from '../contracts/telemetry.js';
import { type Comeback, ENDED, failedId } from '../protocol/cursor.js';
import { encodeEvent, type EventEncoder } from '../protocol/event-stream.js';
import { legalLastEventId } from '../protocol/names.js';
import { LONGEST_MS } from '../time.js';
import type { MessageMemories } from './message-memory.js';
import type { TurnBudget, WriteScheduler } from './scheduler.js';
import type { SendBufferBudget } from './send-buffer.js';
import type { HeartbeatWheel, Watchdog } from './timers.js';

/** What happens to a frame for a client whose send buffer is full. */
export type SendBufferPolicy = 'disconnect' | 'drop-oldest' | 'drop-newest';

/** Notified of the end of each connection, and of each gap that a client has. */
export interface ConnectionObserver {
  /** The connection accepts no more events. Called exactly once per connection, whatever its state was. */
  onStopped(connection: LocalConnection, reason: CloseReason): void;
  /** The client of an open connection gets `sse.reset`, ahead of every later event. */
  onReset(connection: LocalConnection, reset: Reset): void;
  /** The client has taken its resets and everything before them; one call for all of them. */
  onResetReached(connection: LocalConnection, reset: Reset): void;
  /** The socket is gone as well. Called exactly once, after `onStopped`. */
  onClosed(connection: LocalConnection): void;
}

/** The settings, services and counts that all connections of one node share. */
export interface ConnectionEnvironment {
  readonly nodeId: string;
  /** `sendBuffer.maxBytes` */
  readonly maxBytes: number;
  /** `sendBuffer.policy` */
  readonly policy: SendBufferPolicy;
  /** `reconnect` */
  readonly reconnect: ReconnectTimes;
  readonly budget: SendBufferBudget;
  readonly scheduler: WriteScheduler;
  readonly turns: TurnBudget;
  readonly watchdog: Watchdog;
  /** Undefined when `connection.heartbeat` is off. */
  readonly wheel: HeartbeatWheel | undefined;
  readonly encoder: EventEncoder;
  readonly messageIds: MessageIds;
  readonly memories: MessageMemories;
  readonly observer: ConnectionObserver;
  readonly logger: Logger;
  readonly events: Pick<EventTelemetry, 'sent'>;
  readonly traffic: TrafficCounts;
}

/** Makes message ids that no other send has. */
export class MessageIds {
  #count = 0;

  /** @param prefix keeps the ids of two nodes apart */
  constructor(private readonly prefix = randomBytes(6).toString('hex')) {}

  next(): string {
    this.#count += 1;
    return `${this.prefix}-${this.#count.toString(36)}`;
  }
}

/** When a client that is sent away comes back: after `retry` milliseconds and a random part of `jitter`. */
export interface ReconnectTimes {
  readonly retry: number;
  readonly jitter: number;
}

/** The names of a new connection. */
export interface ConnectionIdentity {
  readonly id: string;
  /** Number of the connection within its node. */
  readonly ordinal: number;
  readonly lastEventId: string | undefined;
  /** `application`: its events have ids of the application. */
  readonly ids?: 'application' | undefined;
  /** How often in a row the streams of its client have failed. Default 0. */
  readonly failures?: number;
}

/** The last event of a stream, `sse.closed`, with the reason; without an id and a time the client keeps those that it has. */
export function closedFrame(
  reason: CloseReason,
  fields: { readonly id?: string; readonly retry?: number } = {},
): Frame {
  return { bytes: encodeEvent({ event: 'sse.closed', data: JSON.stringify({ reason }), ...fields }) };
}

/** Milliseconds after which a failure no longer belongs to those before it. */
const STEADY_MS = 60_000;
const LONGEST_RETRY_MS = 300_000;

/**
 * The last event of a connection. A client that is sent away comes back later, at a time of its own; after a failure twice as
 * late as after the one before. A client whose source has ended does not come back. Otherwise the event repeats where
 * the client stands, since some clients forget it at an event without an id.
 */
export function lastFrame(
  reason: CloseReason,
  { retry, jitter }: ReconnectTimes,
  { lastEventId, failures, openMs }: Comeback & { readonly openMs: number },
): Frame {
  if (reason === 'completed') return closedFrame(reason, { id: ENDED });
  if (reason === 'failed') {
    const row = openMs < STEADY_MS ? failures : 0;
    const id = failedId({ lastEventId, failures: row + 1 });
    const least = Math.max(retry, Math.min(retry * 2 ** row, LONGEST_RETRY_MS));
    const isLegal = legalLastEventId(id) !== undefined;
    return closedFrame(reason, { retry: wait(least * (1 + Math.random())), ...(isLegal && { id }) });
  }
  return closedFrame(reason, {
    ...(isSpread(reason) && { retry: wait(retry + Math.random() * jitter) }),
    ...(lastEventId !== undefined && { id: lastEventId }),
  });
}

/** The timers of clients know no longer waits: they fire at once. */
function wait(ms: number): number {
  return Math.min(Math.round(ms), LONGEST_MS);
}
