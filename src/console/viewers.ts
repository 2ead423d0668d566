import type { Context } from 'koa';
import { ClientConnection } from '../connection/client-connection.js';
import type { ConnectionEnvironment, ConnectionObserver } from '../connection/environment.js';
import { MessageMemories } from '../connection/direct-send.js';
import { HeartbeatWheel, TurnBudget, Watchdog, WriteScheduler } from '../connection/scheduler.js';
import { SendBufferBudget } from '../connection/send-buffer.js';
import type { ConnectionSink, SseConnection } from '../contracts/connection.js';
import type { CommandReceipt } from '../contracts/events.js';
import { SseError } from '../errors.js';
import { refuseCrossSite } from '../koa/guards.js';
import { StreamRequest } from '../koa/stream-request.js';
import type { SseNode } from '../node/node.js';
import { connectedFrame } from '../node/replay.js';
import { EventEncoder } from '../protocol/event-stream.js';
import type { Station } from './station.js';

/** Streams of viewers on one node; a page has two or three. */
const MOST_VIEWERS = 64;
const MAX_EVENT_BYTES = 4 * 1024 * 1024;
const MAX_WAITING_BYTES = 2 * MAX_EVENT_BYTES;
const MAX_TOTAL_BYTES = 64 * 1024 * 1024;
const HEARTBEAT_MS = 15_000;

/**
 * The streams of the console's viewers. They are connections like those of clients, with buffers, timers and counts of their own,
 * and no store knows them: no broadcast reaches them, and they are in no count, no limit and no `closeAllConnections`.
 */
export class Viewers implements ConnectionObserver {
  readonly #open = new Set<ClientConnection>();
  readonly #environment: ConnectionEnvironment;
  readonly #node: SseNode;
  #ordinal = 0;

  constructor(private readonly station: Station) {
    this.#node = station.node;
    const { slice } = this.#node.options.sendBuffer;
    this.#environment = {
      ...this.#node.environment,
      maxBytes: MAX_WAITING_BYTES,
      policy: 'disconnect',
      budget: new SendBufferBudget(MAX_TOTAL_BYTES),
      scheduler: new WriteScheduler(slice),
      turns: new TurnBudget(slice),
      watchdog: new Watchdog(this.#node.options.connection.timeout, false),
      wheel: new HeartbeatWheel(HEARTBEAT_MS),
      encoder: new EventEncoder(MAX_EVENT_BYTES),
      memories: new MessageMemories(),
      observer: this,
      events: { sent: () => undefined },
      traffic: { bytesWritten: 0, eventsDropped: 0 },
    };
    station.onClose(() => this.#close());
  }

  /**
   * Answers a request with a stream of what a source yields, and ends it with the source.
   * @throws SseError `CONNECTION_LIMIT`, `CLOSED`, and what a request for a stream is refused with
   */
  async stream(ctx: Context, source: (signal: AbortSignal) => AsyncIterable<unknown>): Promise<void> {
    const { options, logger } = this.#node;
    const limits = { enter: () => refuseCrossSite(ctx, 'refuse'), addressOf: () => undefined };
    const request = new StreamRequest(ctx, this, { refused: () => undefined }, options.connection, limits, logger);
    const connection = await request.open();
    request.dropBody();
    void connection
      .pipe(source(connection.signal))
      .then(() => connection.close('completed'))
      .catch((error: unknown) => {
        if (connection.signal.aborted) return;
        logger.error('a stream of the console failed', { error });
        connection.close('failed');
      });
  }

  /** As the service does it, without the service. */
  async createConnection(id: string, sink: ConnectionSink): Promise<SseConnection> {
    this.#node.assertOpen();
    if (this.#open.size >= MOST_VIEWERS) {
      throw new SseError('CONNECTION_LIMIT', `the console has ${MOST_VIEWERS} streams on this node; close a page`);
    }
    this.#ordinal += 1;
    const connection = new ClientConnection(
      { id, ordinal: this.#ordinal, lastEventId: undefined },
      sink,
      this.#environment,
    );
    this.#open.add(connection);
    this.station.viewers = this.#open.size;
    connection.open(connectedFrame(connection, this.#node, undefined));
    connection.goLive(undefined);
    return connection;
  }

  /** A viewer has no connection that could confirm anything. */
  confirm(): Promise<CommandReceipt> {
    return Promise.resolve({ outcome: 'not-connected' });
  }

  onStopped(connection: ClientConnection): void {
    this.#open.delete(connection);
    this.station.viewers = this.#open.size;
  }

  onReset(): void {
    // A viewer follows no topic.
  }

  onResetReached(): void {
    // A viewer follows no topic.
  }

  onClosed(): void {
    // Nothing waits for the end of a viewer.
  }

  #close(): void {
    for (const connection of [...this.#open]) connection.close('shutdown');
    const { wheel, watchdog, memories } = this.#environment;
    wheel?.stop();
    watchdog.stop();
    memories.stop();
  }
}
