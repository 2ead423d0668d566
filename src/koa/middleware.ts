import type { Container } from 'inversify';
import type { Context, Middleware, Next } from 'koa';
import type { Admission } from '../contracts/authorization.js';
import type { ResetHook, SseConnection } from '../contracts/connection.js';
import { Audit, Logger } from '../contracts/logger.js';
import { type ResumableSource, SseService } from '../contracts/service.js';
import { Telemetry } from '../contracts/telemetry.js';
import { httpStatusOf, SseError, type SseErrorCode } from '../errors.js';
import { assertKnownKeys, shownValue } from '../options/problems.js';
import { ResolvedSseOptions } from '../options/sse-options.js';
import { hideHttpPath, noteHttpRoute } from '../telemetry/connections.js';
import type { EndpointRequest } from './endpoints.js';
import { admit, type GuardServices, RequestLimits } from './guards.js';
import {
  answerHead,
  answerRefusal,
  asRefusal,
  completeAnswer,
  isAnsweredByStream,
  isUnanswered,
  keepFromCaches,
  type RefusalServices,
} from './refusal.js';
import { isReport } from './reports.js';
import {
  allowedMethods,
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
  // A caller in JavaScript may have forgotten it, or the call itself: `app.use(sseMiddleware)`.
  if (typeof (container as Partial<Container> | undefined)?.isBound !== 'function') {
    throw new SseError(
      'INVALID_ENDPOINT',
      `sseMiddleware must be called with a container, got ${shownValue(container)}: ` +
        'app.use(sseMiddleware(container, { controllers: [Class] }))',
    );
  }
  assertKnownKeys('sseMiddleware', settings, ['controllers', 'sensitive', 'strict'], 'INVALID_ENDPOINT');
  const routes = endpointRoutes(settings.controllers ?? [], settings);
  if (!container.isBound(SseService)) {
    throw new SseError(
      'INVALID_ENDPOINT',
      'sseMiddleware needs the module in its container: container.load(sseModule())',
    );
  }
  assertBound(container, routes);
  const service = container.get(SseService);
  const logger = container.get(Logger);
  const options = container.get(ResolvedSseOptions);
  const telemetry = container.get(Telemetry).connections;
  const audit = container.get(Audit);
  const requests = new Requests(routes, service, {
    container,
    logger,
    options,
    telemetry,
    timeout: options.guards.timeout,
    limits: new RequestLimits(options, logger, audit),
    audit,
  });
  service.start().catch((error: unknown) => {
    logger.warn('the node could not join the cluster yet; it tries again with the next call', { error });
  });
  const { hideConnectionIds } = options.telemetry;
  return (ctx, next) => {
    if (hideConnectionIds) hideHttpPath(ctx.res);
    return telemetry.receiving(ctx.req.headers, () => requests.serve(ctx, next));
  };
}

// What the application decides or gives: beside limits the refusals whose cause is looked for on the server.
const LOGGED: readonly SseErrorCode[] = ['FORBIDDEN', 'INVALID_CONNECTION_ID'];

/** The requests of one middleware: those of its endpoints, and those that a later middleware may turn into streams. */
class Requests {
  // Kinds of refusals that are in the log.
  readonly #logged = new Set<string>();

  constructor(
    private readonly routes: readonly EndpointRoute[],
    private readonly service: SseService,
    private readonly services: EndpointServices,
  ) {}

  async serve(ctx: Context, next: Next): Promise<void> {
    const { telemetry, options, limits, logger } = this.services;
    const stream = new StreamRequest(ctx, this.service, telemetry, options.connection, limits, logger);
    // Read-only for others by type; defining a read-only property would cost more than the rest of this function.
    (ctx as { sse: SseContext }).sse = stream;
    const matched = matchRoutes(this.routes, ctx.request.path);
    const reports = options.confirmation.enabled && isReport(ctx);
    // An endpoint may answer only GET.
    const chosen = reports ? matched[0] : chooseByMethod(matched, ctx.request.method);
    try {
      if (chosen !== undefined) {
        await this.#handle(chosen, ctx, stream, reports);
        return;
      }
      await next();
      await stream.finish();
    } catch (error) {
      await stream.finish();
      this.#fail({ ctx, stream, error, isEndpoint: chosen !== undefined, reports });
      return;
    }
    if (stream.connection !== undefined) return;
    if (stream.refusal !== undefined) this.#record(ctx, stream, stream.refusal);
    if (stream.refusal !== undefined) completeAnswer(ctx, stream.refusal, this.services);
    else if (matched.length > 0 && isUnanswered(ctx)) answerNotAllowed(ctx, matched, this.services);
  }

  /**
   * Answers a request for an endpoint: checks Accept, asks the guards, and opens the stream.
   * @param reports the request is the report of a client, for which the guards decide as well
   */
  async #handle(matched: MatchedRoute, ctx: Context, stream: StreamRequest, reports: boolean): Promise<void> {
    const { route, params } = matched;
    ignoreDisconnects(ctx);
    noteHttpRoute(route.path);
    const request: EndpointRequest = Object.assign(ctx, { params: decodeParams(params) });
    if (!reports) stream.negotiate();
    const admission = await admit(route, request, this.services);
    if (reports) {
      await stream.confirm(admission?.user);
      return;
    }
    if (ctx.method === 'HEAD') {
      answerHead(ctx);
      return;
    }
    await this.#stream(route, request, stream, admission);
  }

  /** Opens the connection of an admitted request and calls the controller. */
  async #stream(
    route: EndpointRoute,
    request: EndpointRequest,
    stream: StreamRequest,
    admission: Admission | undefined,
  ): Promise<void> {
    // Built before the connection registers: if the controller cannot be built, no other client is displaced.
    const controller = await this.services.container.getAsync(route.controller);
    const { backlog, ids, compression, onDuplicate, onReset, resumable, shared = false } = route.options;
    const handle = (subject: SseConnection | ResumableSource): unknown =>
      // The decorator accepts methods only, and only methods of this class.
      (controller as Record<typeof route.method, Handler>)[route.method]?.(subject, request);
    let running: unknown;
    const begin = (connection: SseConnection): unknown => (running = begun(() => withFirstItem(handle(connection))));
    const options = {
      topics: route.topicsOf(request),
      backlog,
      ids,
      compression,
      onDuplicate,
      onReset: onReset === undefined ? undefined : hookOf(controller, onReset),
      user: admission?.user,
      expiresAt: admission?.expiresAt,
      allowedTopics: admission?.topics,
      beforeOpen: resumable === undefined ? begin : undefined,
      source: resumable === undefined ? undefined : { key: resumable(request), start: handle, shared },
    };
    const connection = await stream.open(route.connectionIdOf(request), options).catch((error: unknown) => {
      this.#abandon(running, error);
      throw error;
    });
    if (resumable !== undefined) return;
    const run = this.services.telemetry.handling(connection, () => this.#run(connection, running));
    // Only then: a promise would keep the context as long as the source runs.
    if (request.req.readableFlowing === null)
      void run.then(() => {
        stream.dropBody();
      });
  }

  /** The stream did not open, and its handler may still run. */
  #abandon(running: unknown, refusal: unknown): void {
    if (!(running instanceof Promise)) return;
    running.catch((error: unknown) => {
      if (error !== refusal) this.services.logger.debug('a handler failed whose stream did not open', { error });
    });
  }

  /** Waits for the handler and runs its source. The response is a stream by now: a failure ends the stream and is logged. */
  async #run(connection: SseConnection, handler: unknown): Promise<void> {
    try {
      const source = await handler;
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

  #record({ ip: address }: Context, { tried }: StreamRequest, refusal: SseError): void {
    // The service records what it refuses itself.
    if (!tried) this.services.audit.refused({ address }, refusal);
    const { code, status, limit, message } = refusal;
    if (limit === undefined && !LOGGED.includes(code)) return;
    // They may be many: the log has the first one of a kind.
    const kind = `${code} ${status} ${limit ?? ''}`;
    if (this.#logged.has(kind)) return;
    this.#logged.add(kind);
    const facts = { code, status, limit, reason: message };
    this.services.logger.warn('a stream was refused; others for the same reason are not logged', facts);
  }

  /** Answers an error, or gives it to Koa. */
  #fail({ ctx, stream, error, isEndpoint, reports }: Failure): void {
    const { logger } = this.services;
    stream.connection?.close('failed');
    if (stream.connection !== undefined) throw error;
    const isOurs = SseError.is(error);
    if (ctx.headerSent) {
      if (!isOurs) throw error;
      if (error.code !== 'CONNECTION_CLOSED') logger.warn('a request was refused after its head was out', { error });
      return;
    }
    const refusal = asRefusal(error);
    if ((isEndpoint && !reports) || stream.refusal !== undefined) this.#record(ctx, stream, refusal);
    // A route of the application may be no stream at all.
    const streams = (isEndpoint || ctx.method === 'GET') && isAnsweredByStream(ctx, refusal, this.services);
    if (!isOurs && !streams) {
      if (isEndpoint) keepFromCaches(ctx, error);
      throw error;
    }
    // An error of the server itself is reported to Koa as well.
    if (refusal.status >= 500 && (!isOurs || httpStatusOf(error.code) === 500)) ctx.app.emit('error', error, ctx);
    answerRefusal(ctx, refusal, this.services);
  }
}

/** A request that ended with an error. */
interface Failure {
  readonly ctx: Context;
  readonly stream: StreamRequest;
  readonly error: unknown;
  /** Whether it was for an endpoint, not for a route of the application. */
  readonly isEndpoint: boolean;
  /** Whether it was the report of a client. */
  readonly reports: boolean;
}

/** No route of the application has answered a request for the path of an endpoint. */
function answerNotAllowed(ctx: Context, matched: readonly MatchedRoute[], services: RefusalServices): void {
  const allowed = allowedMethods(matched);
  ctx.set('Allow', allowed);
  answerRefusal(ctx, new SseError('METHOD_NOT_ALLOWED', `this path answers ${allowed}, got ${ctx.method}`), services);
}

/** The services that all endpoints of one middleware use. */
interface EndpointServices extends GuardServices {
  readonly options: ResolvedSseOptions;
  readonly audit: Audit;
}

type Handler = (subject: SseConnection | ResumableSource, request: EndpointRequest) => unknown;

/** What a handler returns; a promise that rejects for one that throws, since it may have sent something before. */
function begun(handler: () => unknown): unknown {
  try {
    return handler();
  } catch (error) {
    // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- whatever it threw is passed on
    return Promise.reject(error);
  }
}

/**
 * A generator that a handler returned, with its first item: until then it may refuse the request, as an asynchronous handler
 * may. Anything else is returned as it is.
 */
function withFirstItem(result: unknown): unknown {
  if (!isGenerator(result)) return result;
  const generator = result;
  const first = generator.next();
  const resumed = (item: IteratorResult<unknown>): AsyncIterableIterator<unknown> => {
    let pending: IteratorResult<unknown> | undefined = item;
    return {
      next: async () => {
        const next = pending ?? (await generator.next());
        pending = undefined;
        return next;
      },
      return: async value => generator.return(value),
      [Symbol.asyncIterator]() {
        return this;
      },
    };
  };
  return first instanceof Promise ? first.then(resumed) : resumed(first);
}

type AnyGenerator = Generator | AsyncGenerator;

function isGenerator(value: unknown): value is AnyGenerator {
  const kind = Object.prototype.toString.call(value);
  return kind === '[object AsyncGenerator]' || kind === '[object Generator]';
}

/** `checkHook` has made sure that the method exists. */
function hookOf(controller: object, method: string): ResetHook {
  return (client, reset) => (controller as Record<string, ResetHook | undefined>)[method]?.(client, reset);
}
