import { randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import type { SseConnection } from '../contracts/sse-connection.js';
import type { SseService } from '../contracts/sse-service.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import type { ConnectionSettings } from '../options/connection-settings.js';
import { SseError } from '../errors/sse-error.js';
import { checkAccept } from './check-accept.js';
import { forgetContext } from './forget-context.js';
import { ignoreDisconnects } from './ignore-disconnects.js';
import type { ConnectOptions, SseContext } from './koa-context.js';
import { lastEventIdOf } from './last-event-id-of.js';
import type { RequestSink } from './request-sink.js';
import { sinkFor } from './sink-for.js';

/** One request and the stream it may become. */
export class StreamRequest implements SseContext {
  #connecting = false;
  #connection: SseConnection | undefined;

  constructor(
    private readonly ctx: Context,
    private readonly service: SseService,
    private readonly telemetry: ConnectionTelemetry,
    private readonly detach: ConnectionSettings['detach'],
  ) {}

  /** The stream, once it is open. */
  get connection(): SseConnection | undefined {
    return this.#connection;
  }

  /** @throws SseError `NOT_ACCEPTABLE`, `INVALID_REQUEST` when the request cannot become a stream */
  negotiate(connectionId?: string): void {
    this.#tellingRefusal(connectionId, () => {
      checkAccept(this.ctx);
      this.#checkStreamable();
    });
  }

  async connect(
    connectionId: string = randomUUID(),
    options: ConnectOptions = {},
  ): Promise<SseConnection> {
    this.negotiate(connectionId);
    const { req, res } = this.ctx;
    const sink = this.#tellingRefusal(connectionId, () => sinkFor(req, res, this.detach));
    this.#connecting = true;
    try {
      this.#connection = await this.#open(connectionId, sink, options);
      this.ctx.respond = false;
      if (this.detach !== false) forgetContext(this.ctx);
      return this.#connection;
    } finally {
      this.#connecting = false;
    }
  }

  async #open(
    connectionId: string,
    sink: RequestSink,
    options: ConnectOptions,
  ): Promise<SseConnection> {
    const { ctx } = this;
    ignoreDisconnects(ctx);
    const lastEventId = options.lastEventId ?? lastEventIdOf(ctx);
    try {
      return await this.service.createConnection(
        connectionId,
        sink,
        lastEventId === undefined ? options : { ...options, lastEventId },
      );
    } catch (error) {
      // One that did open still reports its end to the connection, which is closing.
      if (!ctx.headerSent) sink.detach();
      throw error;
    }
  }

  #tellingRefusal<T>(connectionId: string | undefined, step: () => T): T {
    try {
      return step();
    } catch (error) {
      this.telemetry.refused(connectionId, error);
      throw error;
    }
  }

  #checkStreamable(): void {
    if (this.ctx.req.method === 'HEAD') {
      throw new SseError(
        'INVALID_REQUEST',
        'a HEAD request has no body to stream; send GET or POST',
      );
    }
    if (this.#connecting || this.ctx.headerSent) {
      throw new SseError(
        'INVALID_REQUEST',
        'a request becomes one stream, before anything else is written to it; call connect once',
      );
    }
  }
}
