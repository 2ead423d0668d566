import type { Container } from 'inversify';
import type { Context } from 'koa';
import type { SseRequest } from '../contracts/authorization.js';
import type { ResetHook, SseConnection } from '../contracts/connection.js';
import type { Logger } from '../contracts/logger.js';
import type { ResumableSource } from '../contracts/service.js';
import type { ConnectionTelemetry } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import type { ResolvedSseOptions } from '../options/sse-options.js';
import { noteHttpRoute } from '../telemetry/http-span.js';
import { answerError } from './answer-error.js';
import { decodeParams, type EndpointRoute, type MatchedRoute } from './routes.js';
import { ignoreDisconnects, type StreamRequest } from './stream-request.js';

/** What the endpoints of one middleware share. */
interface EndpointServices {
  readonly container: Container;
  readonly logger: Logger;
  readonly options: ResolvedSseOptions;
  readonly telemetry: ConnectionTelemetry;
}

type Handler = (subject: SseConnection | ResumableSource, request: SseRequest) => unknown;

/** Answers a request for an endpoint: method, Accept, guards, connection, and then the controller's method. */
export class EndpointHandler {
  constructor(private readonly services: EndpointServices) {}

  async handle(
    { route, params }: MatchedRoute,
    ctx: Context,
    stream: StreamRequest,
  ): Promise<void> {
    ignoreDisconnects(ctx);
    noteHttpRoute(route.path);
    const request: SseRequest = Object.assign(ctx, { params: decodeParams(params) });
    stream.negotiate();
    if (!(await this.#admitted(route, ctx, request))) return;
    // Built before anything is registered, so that a controller that cannot be built harms no client.
    const controller = await this.services.container.getAsync(route.controller);
    const { topics = [], connectionId, onDuplicate, onReset, resumable } = route.options;
    const handle = (subject: SseConnection | ResumableSource): unknown =>
      // The decorator accepts methods only, and only methods of this class.
      (controller as Record<typeof route.method, Handler>)[route.method]?.(subject, request);
    const connection = await stream.connect(
      connectionId?.(request) ?? request.params['connectionId'] ?? request.params['clientId'],
      {
        topics: typeof topics === 'function' ? topics(request) : topics,
        ...(onDuplicate === undefined ? {} : { onDuplicate }),
        ...(onReset === undefined ? {} : { onReset: hookOf(controller, onReset) }),
        ...(resumable === undefined ? {} : { source: { key: resumable(request), start: handle } }),
      },
    );
    if (resumable !== undefined) return;
    void this.services.telemetry.handling(connection, () =>
      this.#run(connection, () => handle(connection)),
    );
  }

  async #admitted(route: EndpointRoute, ctx: Context, request: SseRequest): Promise<boolean> {
    for (const guardClass of route.guards) {
      const guard = await this.services.container.getAsync(guardClass);
      const verdict: unknown = await guard.canConnect(request);
      if (verdict === true) continue;
      const refusal = new SseError('FORBIDDEN', `${guardClass.name} does not admit this request`);
      this.services.telemetry.refused(undefined, refusal);
      const status = typeof verdict === 'number' ? verdict : undefined;
      answerError(ctx, refusal, this.services.options.reconnect, status);
      return false;
    }
    return true;
  }

  /** Runs the handler and its source. The response is a stream by now, so failures end it and are logged. */
  async #run(connection: SseConnection, handler: () => unknown): Promise<void> {
    try {
      const source = await handler();
      if (source === undefined) return;
      await connection.pipe(source);
      connection.close('completed');
    } catch (error) {
      const facts = { connectionId: connection.id, error };
      if (connection.signal.aborted) {
        // Often the abort itself, thrown by what the handler waited for.
        this.services.logger.debug('a handler failed after its stream had ended', facts);
        return;
      }
      this.services.logger.error('a handler or its source failed; its stream was ended', facts);
      connection.close('failed');
    }
  }
}

/** The method was looked for when the routes were made. */
function hookOf(controller: object, method: string): ResetHook {
  return (client, reset) =>
    (controller as Record<string, ResetHook | undefined>)[method]?.(client, reset);
}
