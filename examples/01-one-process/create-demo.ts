import 'reflect-metadata';
import { Container } from 'inversify';
import Koa from 'koa';
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

/** The whole application: a container, a controller, and a few plain routes. */
export async function createDemo(env: NodeJS.ProcessEnv): Promise<Demo> {
  const { REDIS_URL: url, NODE_ID: id } = env;
  const container = new Container();
  container.load(sseModule({ ...(url ? { redis: { url } } : {}), ...(id ? { node: { id } } : {}) }));
  container.bind(StreamController).toSelf().inSingletonScope();
  const sse = container.get(SseService);

  const app = new Koa();
  app.use(answerErrors);
  app.use(sseMiddleware(container, { controllers: [StreamController] }));
  for (const router of [await pageFiles(), demoRoutes(sse, container.get(ResolvedSseOptions))]) {
    app.use(router.routes());
    app.use(router.allowedMethods());
  }
  return { app, sse, coordinator: container.get(ClusterCoordinator).kind };
}
