import 'reflect-metadata';
import { Container } from 'inversify';
import Koa, { type Middleware } from 'koa';
import { ClusterCoordinator, ResolvedSseOptions, sseMiddleware, sseModule, SseService } from '../../src/index.js';
import { answerErrors } from './answer-errors.js';
import { demoRoutes } from './demo-routes.js';
import { pageFiles } from './page-files.js';
import { StreamController } from './stream-controller.js';

/** What the demo's main program runs. */
export interface Demo {
  readonly app: Koa;
  readonly sse: SseService;
  readonly coordinator: string;
}

/**
 * The whole application: a container, a controller, and a few plain routes.
 * @param first middleware in front of all other
 */
export async function createDemo(env: NodeJS.ProcessEnv, first: readonly Middleware[] = []): Promise<Demo> {
  const { REDIS_URL: url, NODE_ID: id } = env;
  const container = new Container();
  container.load(sseModule({ ...(url ? { redis: { url } } : {}), ...(id ? { node: { id } } : {}) }));
  container.bind(StreamController).toSelf().inSingletonScope();
  const sse = container.get(SseService);

  const app = new Koa();
  for (const middleware of first) app.use(middleware);
  app.use(answerErrors);
  app.use(sseMiddleware(container, { controllers: [StreamController] }));
  for (const router of [await pageFiles(), demoRoutes(sse, container.get(ResolvedSseOptions))]) {
    app.use(router.routes());
    app.use(router.allowedMethods());
  }
  return { app, sse, coordinator: container.get(ClusterCoordinator).kind };
}
