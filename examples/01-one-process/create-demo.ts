import 'reflect-metadata';
import { Container } from 'inversify';
import Koa, { type Middleware } from 'koa';
import {
  ClusterCoordinator,
  ResolvedSseOptions,
  sseMiddleware,
  sseModule,
  SseService,
  type SseOptions,
} from '../../src/index.js';
import { answerErrors } from './answer-errors.js';
import { demoConsole } from './demo-console.js';
import { demoRoutes } from './demo-routes.js';
import { pageFiles } from './page-files.js';
import { StreamController } from './stream-controller.js';
import { BOARD_HISTORY, TourController } from './tour-controller.js';
import { tourMail } from './tour-mail.js';
import { tourRoutes } from './tour-routes.js';

/** What the demo's main program runs. */
export interface Demo {
  readonly app: Koa;
  readonly sse: SseService;
  readonly coordinator: string;
  /** Closes what the tour has beside `sse`. */
  readonly closeTour: () => Promise<void>;
}

/**
 * The whole application: a container, two controllers, and a few plain routes.
 * @param first middleware in front of all other
 */
export async function createDemo(env: NodeJS.ProcessEnv, first: readonly Middleware[] = []): Promise<Demo> {
  const container = new Container();
  container.load(sseModule(demoOptions(env)));
  container.bind(StreamController).toSelf().inSingletonScope();
  container.bind(TourController).toSelf().inSingletonScope();
  const sse = container.get(SseService);
  const options = container.get(ResolvedSseOptions);
  const coordinator = container.get(ClusterCoordinator).kind;
  const mail = tourMail();
  const shown = demoConsole(container, env);
  const facts = { nodeId: sse.nodeId, coordinator, console: shown?.path ?? null };

  const app = new Koa();
  for (const middleware of first) app.use(middleware);
  app.use(answerErrors);
  if (shown !== undefined) app.use(shown.middleware);
  app.use(mail.middleware);
  app.use(sseMiddleware(container, { controllers: [StreamController, TourController] }));
  const tour = tourRoutes({ sse, mail: mail.sse, tour: container.get(TourController) }, options, facts);
  for (const router of [await pageFiles(), tour, demoRoutes(sse, options)]) {
    app.use(router.routes());
    app.use(router.allowedMethods());
  }
  return { app, sse, coordinator, closeTour: () => mail.sse.close() };
}

function demoOptions({ REDIS_URL: url, NODE_ID: id }: NodeJS.ProcessEnv): SseOptions {
  return {
    ...(url ? { redis: { url } } : {}),
    ...(id ? { node: { id } } : {}),
    history: { topics: { 'tour/board/*': { maxEntries: BOARD_HISTORY } } },
  };
}
