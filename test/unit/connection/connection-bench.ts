import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { ClientConnection } from '../../../src/connection/client-connection.js';
import type { ConnectionEnvironment, SendBufferPolicy } from '../../../src/connection/environment.js';
import { MessageIds, MessageMemories } from '../../../src/connection/direct-send.js';
import { HeartbeatWheel, TurnBudget, Watchdog, WriteScheduler } from '../../../src/connection/scheduler.js';
import { SendBufferBudget } from '../../../src/connection/send-buffer.js';
import type { Cursor, Frame } from '../../../src/contracts/events.js';
import type { Comeback } from '../../../src/protocol/cursor.js';
import { EventEncoder } from '../../../src/protocol/event-stream.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { FakeSink } from '../../support/fake-sink.js';
import { RecordingLogger } from '../../support/recording-logger.js';

/** Where connections of these tests begin in the log. */
export const START: Cursor = { epoch: 'e1', ms: 1000, sequence: 10 };

/** The first event of a stream, shortened. */
export const FIRST = frame('first');

export interface BenchSettings {
  readonly maxBytes?: number;
  readonly maxTotalBytes?: number;
  readonly policy?: SendBufferPolicy;
  readonly timeout?: number;
  readonly maxAge?: number | false;
  readonly heartbeat?: number | false;
  readonly maxEventBytes?: number;
  readonly retry?: number;
  readonly turns?: TurnBudget;
}

/** A connection together with its socket. */
export interface Client {
  readonly connection: ClientConnection;
  readonly sink: FakeSink;
}

/** Everything a connection needs, and a record of what it reports. */
export class Bench {
  readonly environment: ConnectionEnvironment;
  readonly logger = new RecordingLogger();
  readonly telemetry = new SilentTelemetry();
  /** The calls of the observer, in order. */
  readonly news: string[] = [];
  readonly #wheel: HeartbeatWheel | undefined;
  #ordinal = 0;

  constructor(settings: BenchSettings = {}) {
    const { heartbeat = false, timeout = 30_000, maxAge = false } = settings;
    this.#wheel = heartbeat === false ? undefined : new HeartbeatWheel(heartbeat);
    this.environment = {
      nodeId: 'node-a',
      maxBytes: settings.maxBytes ?? 1_000_000,
      policy: settings.policy ?? 'disconnect',
      budget: new SendBufferBudget(settings.maxTotalBytes ?? 100_000_000),
      // Long enough that a busy machine does not split a flush; write-scheduler.test.ts tests the slices.
      scheduler: new WriteScheduler(60_000),
      turns: settings.turns ?? new TurnBudget(10),
      watchdog: new Watchdog(timeout, maxAge),
      wheel: this.#wheel,
      encoder: new EventEncoder(settings.maxEventBytes ?? 2_000_000),
      observer: {
        onStopped: ({ id }, reason) => this.news.push(`${id} stopped ${reason}`),
        onReset: ({ id }, { reason }) => this.news.push(`${id} reset ${reason}`),
        onResetReached: ({ id }, { topics }) => this.news.push(`${id} reached ${topics.join(' ')}`),
        onClosed: ({ id }) => this.news.push(`${id} closed`),
      },
      logger: this.logger,
      events: this.telemetry.events,
      traffic: this.telemetry.traffic,
      messageIds: new MessageIds('m'),
      memories: new MessageMemories(),
      reconnect: { retry: settings.retry ?? 0, jitter: 0 },
    };
  }

  /** Bytes counted in the process budget. */
  get used(): number {
    return this.environment.budget.used;
  }

  /** A connection in state `opening` that has written nothing. */
  opening(id = `c${this.#ordinal + 1}`, sink = new FakeSink(), comeback?: Partial<Comeback>): Client {
    this.#ordinal += 1;
    const identity = { id, ordinal: this.#ordinal, lastEventId: undefined, ...comeback };
    return { connection: new ClientConnection(identity, sink, this.environment), sink };
  }

  /** An open connection. Its first event has been written and is not part of what its sink remembers. */
  open(id?: string, sink?: FakeSink, comeback?: Partial<Comeback>): Client {
    const client = this.opening(id, sink, comeback);
    client.connection.open(FIRST);
    client.connection.goLive(START);
    client.sink.writes.length = 0;
    return client;
  }

  /** Stops the timers. */
  stop(): void {
    this.#wheel?.stop();
    this.environment.watchdog.stop();
    this.environment.memories.stop();
  }
}

/** A whole event with this data. */
export function frame(data: string, position?: Cursor): Frame {
  const bytes = Buffer.from(`data: ${data}\n\n`);
  return position === undefined ? { bytes } : { bytes, position };
}

/** A whole event of exactly so many bytes, at least 8. */
export function frameOf(size: number, fill = 'x'): Frame {
  return frame(fill.repeat(size - 8));
}

/** The entry of the log so many ids after {@link START}. */
export function entry(offset: number, epoch = START.epoch): Frame {
  const { ms, sequence } = START;
  return frame(`entry ${offset}`, { epoch, ms, sequence: sequence + offset });
}

/** The events in a piece of event stream, as an independent parser reads them. */
export function eventsIn(text: string): EventSourceMessage[] {
  const events: EventSourceMessage[] = [];
  createParser({ onEvent: event => events.push(event) }).feed(text);
  return events;
}

/** The data of the events in a piece of event stream. */
export function dataIn(text: string): string[] {
  return eventsIn(text).map(({ data }) => data);
}
