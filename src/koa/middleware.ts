import type { Container } from 'inversify';
import type { Context, Middleware, Next } from 'koa';
import type { SseConnection } from '../contracts/connection.js';
import { Logger } from '../contracts/logger.js';
import { type ConnectionOptions, SseService } from '../contracts/service.js';
import { Telemetry } from '../contracts/telemetry.js';
import { SseError, type SseErrorCode } from '../errors.js';
import { ResolvedSseOptions } from '../options/sse-options.js';
import { EndpointHandler } from './endpoint-handler.js';
import { chooseByMethod, type ControllerClass, endpointRoutes, matchRoutes } from './routes.js';
import { StreamRequest } from './stream-request.js';

/** Settings of the middleware. */
export interface SseMiddlewareOptions {
  /** Classes with `@SseEndpoint` methods, bound in the container. */
  readonly controllers?: readonly ControllerClass[];
}

/**
 * Serves the endpoints of controllers, gives every later middleware `ctx.sse`, and answers each `SseError` that reaches it
 * as `{"error":{"code","message"}}` with the status that fits. Requests for other paths pass through. An error that comes
 * after the stream has opened ends it with reason `failed` and goes on to Koa.
 *
 * It starts the service in the background, so that readiness is known before the first client comes.
 * @throws SseError `INVALID_ENDPOINT`
 */
export function sseMiddleware(
  container: Container,
  { controllers = [] }: SseMiddlewareOptions = {},
): Middleware {
  const routes = endpointRoutes(controllers);
  const service = container.get(SseService);
  const logger = container.get(Logger);
  const options = container.get(ResolvedSseOptions);
  const telemetry = container.get(Telemetry).connections;
  const handler = new EndpointHandler({ container, logger, options, telemetry });
  service.start().catch((error: unknown) => {
    logger.warn('the node could not join the cluster yet; it tries again with the next call', {
      error,
    });
  });

  const serve = async (ctx: Context, next: Next): Promise<void> => {
    const stream = new StreamRequest(ctx, service, telemetry, options.connection.detach);
    // Read-only to everyone else; a property defined as such would cost more than all else here.
    (ctx as { sse: SseContext }).sse = stream;
    try {
      const matched = ctx.method === 'OPTIONS' ? [] : matchRoutes(routes, ctx.path);
      if (matched.length === 0) await next();
      else await handler.handle(chooseByMethod(matched, ctx), ctx, stream);
    } catch (error) {
      stream.connection?.close('failed');
      if (stream.connection !== undefined || !SseError.is(error)) throw error;
      if (!ctx.headerSent) {
        // A mistake of the server's own is told as Koa tells it, too.
        if (httpStatusOf(error.code) === 500) ctx.app.emit('error', error, ctx);
        answerError(ctx, error, options.reconnect);
      } else if (error.code !== 'CONNECTION_CLOSED') {
        logger.warn('a request was refused after its head was out', { error });
      }
    }
  };
  return (ctx, next) => telemetry.receiving(ctx.headers, () => serve(ctx, next));
}

const RETRY_LATER: ReadonlySet<number> = new Set([429, 503]);

/**
 * Answers a request with an error: `{"error":{"code","message"}}`, and for 429 and 503 a `Retry-After` of its own for
 * each client, so that those who are refused together do not come back together.
 */
export function answerError(
  ctx: Context,
  error: SseError,
  reconnect: ResolvedSseOptions['reconnect'],
  status: number = httpStatusOf(error.code),
): void {
  ctx.status = status;
  if (RETRY_LATER.has(status)) ctx.set('Retry-After', String(retryAfter(reconnect)));
  ctx.body = { error: { code: error.code, message: error.message } };
}

/** Whole seconds, at least one, since `reconnect.retry` is at least a millisecond. */
function retryAfter({ retry, jitter }: ResolvedSseOptions['reconnect']): number {
  return Math.ceil((retry + Math.random() * jitter) / 1000);
}

const STATUS: Readonly<Partial<Record<SseErrorCode, number>>> = {
  INVALID_REQUEST: 400,
  INVALID_CONNECTION_ID: 400,
  FORBIDDEN: 403,
  METHOD_NOT_ALLOWED: 405,
  NOT_ACCEPTABLE: 406,
  DUPLICATE_CONNECTION: 409,
  CONNECTION_CLOSED: 410,
  EVENT_TOO_LARGE: 413,
  INVALID_EVENT_NAME: 422,
  INVALID_EVENT_ID: 422,
  INVALID_RETRY: 422,
  INVALID_TOPIC: 422,
  INVALID_REASON: 422,
  NOT_SERIALIZABLE: 422,
  OUTBOX_FULL: 429,
  MESSAGE_LIMIT: 429,
  CONNECTION_LIMIT: 503,
  DRAINING: 503,
  CLOSED: 503,
  UNAVAILABLE: 503,
  INCONSISTENT: 503,
  // The only status that stops an EventSource for good (HTML standard, section 9.2.3).
  TAKEOVER_STORM: 204,
  SOURCE_ENDED: 204,
};

/** The HTTP status that says the same as an error code; 500 for what is the server's own mistake. */
export function httpStatusOf(code: SseErrorCode): number {
  return STATUS[code] ?? 500;
}

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
