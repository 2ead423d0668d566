import type { CloseReason, Reset } from '../contracts/connection.js';
import type { Logger } from '../contracts/logger.js';
import type { LocalConnection } from '../contracts/store.js';
import type { TrafficCounts } from '../contracts/telemetry.js';
import type { MessageMemories, SendEnvironment } from './direct-send.js';
import type { HeartbeatWheel, TurnBudget, Watchdog, WriteScheduler } from './scheduler.js';
import type { SendBufferBudget } from './send-buffer.js';

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
export interface ConnectionEnvironment extends SendEnvironment {
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
  readonly memories: MessageMemories;
  readonly observer: ConnectionObserver;
  readonly logger: Logger;
  readonly traffic: TrafficCounts;
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
  /** By the monotonic clock, when its client was admitted. Default now. */
  readonly openedAt?: number | undefined;
  /** How often in a row the streams of its client have failed. Default 0. */
  readonly failures?: number;
}
