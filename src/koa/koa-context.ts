import type { ConnectionOptions } from '../contracts/sse-service.js';
import type { SseConnection } from '../contracts/sse-connection.js';

/** Settings of `ctx.sse.connect`. */
export interface ConnectOptions extends ConnectionOptions {
  /** Default: the header `Last-Event-ID`, else the query parameter `lastEventId`. */
  readonly lastEventId?: string;
}

/** What the middleware puts on every context as `ctx.sse`. */
export interface SseContext {
  /**
   * Turns this request into an event stream and resolves once it is open. Koa is told not to respond; the handler may
   * return, the stream goes on. The id defaults to a random one.
   * @throws SseError what `SseService.createConnection` throws, `NOT_ACCEPTABLE`, `INVALID_REQUEST`; the middleware
   * answers it.
   */
  connect(connectionId?: string, options?: ConnectOptions): Promise<SseConnection>;
}

declare module 'koa' {
  interface DefaultContext {
    readonly sse: SseContext;
  }
}
