import type { Container } from 'inversify';
import type { Context, Middleware, Next } from 'koa';
import type { ResetHook, SseConnection } from '../contracts/connection.js';
import { Logger } from '../contracts/logger.js';
import { type ResumableSource, SseService } from '../contracts/service.js';
import { type ConnectionTelemetry, Telemetry } from '../contracts/telemetry.js';
import { SseError, type SseErrorCode } from '../errors.js';
import { assertKnownKeys } from '../options/problems.js';
import { ResolvedSseOptions } from '../options/sse-options.js';
import { noteHttpRoute } from '../telemetry/connections.js';
import type { EndpointRequest } from './endpoints.js';
import {
  assertBound,
  chooseByMethod,
  type ControllerClass,
  decodeParams,
  type EndpointRoute,
  endpointRoutes,
  type MatchedRoute,
  type MatchingOptions,
  matchRoutes,
} from './routes.js';
import { ignoreDisconnects, type SseContext, StreamRequest } from './stream-request.js';

/** Settings of the middleware. */
export interface SseMiddlewareOptions extends MatchingOptions {
  /** Classes with `@SseEndpoint` methods, bound in the container. */
  readonly controllers?: readonly ControllerClass[];
}

/**
 * Serves the endpoints of controllers, gives every later middleware `ctx.sse`, and answers each `SseError` that reaches it
 * with `{"error":{"code","message"}}` and the matching status. Requests for other paths pass through. An error after the
 * stream has opened ends the stream with reason `failed` and goes on to Koa.
 *
 * The middleware starts the service in the background, so that health is known before the first client connects.
 * @throws SseError `INVALID_ENDPOINT`
 */
export function sseMiddleware(container: Container, settings: SseMiddlewareOptions = {}): Middleware {
  assertKnownKeys('sseMiddleware', settings, ['controllers', 'sensitive', 'strict'], 'INVALID_ENDPOINT');
  const routes = endpointRoutes(settings.controllers ?? [], settings);
  assertBound(container, routes);
  const service = container.get(SseService);
  const logger = container.get(Logger);
  const options = container.get(ResolvedSseOptions);
  const telemetry = container.get(Telemetry).connections;
  const handler = new EndpointHandler({ container, logger, options, telemetry });
  service.start().catch((error: unknown) => {
    logger.warn('the node could not join the cluster yet; it tries again with the next call', { error });
  });

  const serve = async (ctx: Context, next: Next): Promise<void> => {
    const stream = new StreamRequest(ctx, service, telemetry, options.connection.detach);
    // Read-only for others by type; defining a read-only property would cost more than the rest of this function.
    (ctx as { sse: SseContext }).sse = stream;
    try {
      const matched = ctx.method === 'OPTIONS' ? [] : matchRoutes(routes, ctx.path);
      if (matched.length === 0) await next();
      else await handler.handle(chooseByMethod(matched, ctx), ctx, stream);
    } catch (error) {
      stream.connection?.close('failed');
      if (stream.connection !== undefined || !SseError.is(error)) throw error;
      if (!ctx.headerSent) {
        // An error of the server itself is reported to Koa as well.
        if (httpStatusOf(error.code) === 500) ctx.app.emit('error', error, ctx);
        answerError(ctx, error, options.reconnect);
      } else if (error.code !== 'CONNECTION_CLOSED') {
        logger.warn('a request was refused after its head was out', { error });
      }
    }
  };
  return (ctx, next) => telemetry.receiving(ctx.headers, () => serve(ctx, next));
}

/** The services that all endpoints of one middleware use. */
interface EndpointServices {
  readonly container: Container;
  readonly logger: Logger;
  readonly options: ResolvedSseOptions;
  readonly telemetry: ConnectionTelemetry;
}

type Handler = (subject: SseConnection | ResumableSource, request: EndpointRequest) => unknown;

/** Answers a request for an endpoint: checks Accept, asks the guards, opens the connection, calls the controller. */
class EndpointHandler {
  constructor(private readonly services: EndpointServices) {}

  async handle({ route, params }: MatchedRoute, ctx: Context, stream: StreamRequest): Promise<void> {
    ignoreDisconnects(ctx);
    noteHttpRoute(route.path);
    const request: EndpointRequest = Object.assign(ctx, { params: decodeParams(params) });
    stream.negotiate();
    if (!(await this.#admitted(route, ctx, request))) return;
    // Built before the connection registers: if the controller cannot be built, no other client is displaced.
    const controller = await this.services.container.getAsync(route.controller);
    const { topics = [], onDuplicate, onReset, resumable } = route.options;
    const handle = (subject: SseConnection | ResumableSource): unknown =>
      // The decorator accepts methods only, and only methods of this class.
      (controller as Record<typeof route.method, Handler>)[route.method]?.(subject, request);
    const connection = await stream.connect(route.connectionIdOf(request), {
      topics: typeof topics === 'function' ? topics(request) : topics,
      ...(onDuplicate === undefined ? {} : { onDuplicate }),
      ...(onReset === undefined ? {} : { onReset: hookOf(controller, onReset) }),
      ...(resumable === undefined ? {} : { source: { key: resumable(request), start: handle } }),
    });
    if (resumable !== undefined) return;
    void this.services.telemetry.handling(connection, () => this.#run(connection, () => handle(connection)));
  }

  async #admitted(route: EndpointRoute, ctx: Context, request: EndpointRequest): Promise<boolean> {
    for (const guardClass of route.guards) {
      const guard = await this.services.container.getAsync(guardClass);
      const verdict: unknown = await guard.canConnect(request);
      if (verdict === true) continue;
      const refusal = new SseError('FORBIDDEN', `${guardClass.name} does not admit this request`);
      this.services.telemetry.refused(undefined, refusal);
      answerError(ctx, refusal, this.services.options.reconnect, typeof verdict === 'number' ? verdict : undefined);
      return false;
    }
    return true;
  }

  /** Runs the handler and its source. The response is a stream by now, so a failure ends the stream and is logged. */
  async #run(connection: SseConnection, handler: () => unknown): Promise<void> {
    try {
      const source = await handler();
      if (source === undefined) return;
      await connection.pipe(source);
      connection.close('completed');
    } catch (error) {
      const facts = { connectionId: connection.id, error };
      if (connection.signal.aborted) {
        // Usually the abort itself, thrown by a call that the handler awaited.
        this.services.logger.debug('a handler failed after its stream had ended', facts);
        return;
      }
      this.services.logger.error('a handler or its source failed; its stream was ended', facts);
      connection.close('failed');
    }
  }
}

/** `checkHook` has made sure that the method exists. */
function hookOf(controller: object, method: string): ResetHook {
  return (client, reset) => (controller as Record<string, ResetHook | undefined>)[method]?.(client, reset);
}

const RETRY_LATER: ReadonlySet<number> = new Set([429, 503]);

/**
 * Answers a request with an error: `{"error":{"code","message"}}`. With 429 and 503 each client gets a random
 * `Retry-After`, so that clients that were refused together do not return together.
 */
function answerError(
  ctx: Context,
  { code, message }: SseError,
  { retry, jitter }: ResolvedSseOptions['reconnect'],
  status: number = httpStatusOf(code),
): void {
  ctx.status = status;
  // Whole seconds, at least one, since `reconnect.retry` is at least a millisecond.
  if (RETRY_LATER.has(status)) ctx.set('Retry-After', String(Math.ceil((retry + Math.random() * jitter) / 1000)));
  ctx.body = { error: { code, message } };
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
  SEND_BUFFER_FULL: 429,
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

/** The HTTP status of an error code; 500 for errors of the server itself. */
export function httpStatusOf(code: SseErrorCode): number {
  return STATUS[code] ?? 500;
}
