import type { Container } from 'inversify';
import type { Context, Middleware, Next } from 'koa';
import { Logger } from '../contracts/logger.js';
import { SseService } from '../contracts/service.js';
import { Telemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { ResolvedSseOptions } from '../options/sse-options.js';
import { answerError, httpStatusOf } from './answer-error.js';
import { EndpointHandler } from './endpoint-handler.js';
import { chooseByMethod, type ControllerClass, endpointRoutes, matchRoutes } from './routes.js';
import { type SseContext, StreamRequest } from './stream-request.js';

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
