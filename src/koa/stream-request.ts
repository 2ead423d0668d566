import { randomUUID } from 'node:crypto';
import type { Context } from 'koa';
import type { SseConnection } from '../contracts/sse-connection.js';
import type { SseService } from '../contracts/sse-service.js';
import { SseError } from '../errors/sse-error.js';
import { checkAccept } from './check-accept.js';
import { ignoreDisconnects } from './ignore-disconnects.js';
import type { ConnectOptions, SseContext } from './koa-context.js';
import { lastEventIdOf } from './last-event-id-of.js';
import { sinkFor } from './sink-for.js';

/** One request and the stream it may become. */
export class StreamRequest implements SseContext {
  #connecting = false;
  #connection: SseConnection | undefined;

  constructor(
    private readonly ctx: Context,
    private readonly service: SseService,
  ) {}

  /** The stream, once it is open. */
  get connection(): SseConnection | undefined {
    return this.#connection;
  }

  async connect(
    connectionId: string = randomUUID(),
    options: ConnectOptions = {},
  ): Promise<SseConnection> {
    checkAccept(this.ctx);
    this.#checkStreamable();
    this.#connecting = true;
    try {
      this.#connection = await this.#open(connectionId, options);
      this.ctx.respond = false;
      return this.#connection;
    } finally {
      this.#connecting = false;
    }
  }

  async #open(connectionId: string, options: ConnectOptions): Promise<SseConnection> {
    const { ctx } = this;
    const sink = sinkFor(ctx.req, ctx.res);
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
