import type { Container } from 'inversify';
import type { Context, Middleware, Next } from 'koa';
import { Logger } from '../contracts/logger.js';
import { SseService } from '../contracts/sse-service.js';
import { SseError } from '../errors/sse-error.js';
import { ResolvedSseOptions } from '../options/sse-options.js';
import { answerError } from './answer-error.js';
import { connectRequest } from './connect-request.js';
import { EndpointHandler } from './endpoint-handler.js';
import { endpointRoutes, type ControllerClass } from './endpoint-route.js';
import { chooseByMethod, matchRoutes } from './match-routes.js';
import type { SseContext } from './koa-context.js';

/** Settings of the middleware. */
export interface SseMiddlewareOptions {
  /** Classes with `@SseEndpoint` methods, bound in the container. */
  readonly controllers?: readonly ControllerClass[];
}

/**
 * Serves the endpoints of controllers, gives every later middleware `ctx.sse`, and answers each `SseError` that reaches it
 * as `{"error":{"code","message"}}` with the status that fits. Requests for other paths pass through.
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
  const handler = new EndpointHandler({ container, service, logger, options });
  service.start().catch((error: unknown) => {
    logger.warn('the node could not join the cluster yet; it tries again with the next call', {
      error,
    });
  });

  return async (ctx: Context, next: Next) => {
    const sse: SseContext = {
      connect: (connectionId, connectOptions) =>
        connectRequest(ctx, service, connectionId, connectOptions),
    };
    Object.defineProperty(ctx, 'sse', { value: sse, configurable: true });
    try {
      const matched = ctx.method === 'OPTIONS' ? [] : matchRoutes(routes, ctx.path);
      if (matched.length === 0) await next();
      else await handler.handle(chooseByMethod(matched, ctx), ctx);
    } catch (error) {
      if (!SseError.is(error)) throw error;
      // A head that is out cannot be taken back; the stream has been cut.
      if (ctx.headerSent || !ctx.writable) ctx.respond = false;
      else answerError(ctx, error, options.reconnect);
    }
  };
}
