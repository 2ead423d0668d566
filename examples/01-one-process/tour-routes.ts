import Router from '@koa/router';
import type { Context } from 'koa';
import type { ResolvedSseOptions, SseService } from '../../src/index.js';
import { HttpError } from './http-error.js';
import { readEventData } from './request-body.js';
import { SlowClients } from './slow-clients.js';
import { boardTopic, type TourController } from './tour-controller.js';

const MOST_POINTS = 300;

/** What the page of the tour asks its node. */
export interface TourFacts {
  readonly nodeId: string;
  readonly coordinator: string;
  /** Where the console is; `null`: there is none. */
  readonly console: string | null;
}

/** What the routes of the tour use. */
export interface TourServices {
  readonly sse: SseService;
  /** The service with mailboxes. */
  readonly mail: SseService;
  readonly tour: TourController;
}

/** The routes of the tour: facts, points of a board, a client that does not read, and a send that waits for its client. */
export function tourRoutes(
  { sse, mail, tour }: TourServices,
  { limits }: ResolvedSseOptions,
  facts: TourFacts,
): Router {
  const router = new Router();
  const slow = new SlowClients();

  router.get('/tour', ctx => {
    ctx.body = facts;
  });

  // The starter of a cluster answers this itself, since a node cannot end and start another one.
  router.get('/tour/cluster', ctx => {
    ctx.body = { nodes: [], redis: null };
  });

  router.post('/tour/points/:clientId', async ctx => {
    const clientId = parameter(ctx, 'clientId');
    const points = Number(ctx.query['points'] ?? 1);
    if (!(Number.isInteger(points) && points >= 1 && points <= MOST_POINTS)) {
      throw new HttpError(422, 'INVALID_POINTS', `points must be a whole number from 1 to ${MOST_POINTS}`);
    }
    const scores = Array.from({ length: points }, () => tour.addPoint(clientId));
    await Promise.all(scores.map(score => sse.publish(boardTopic(clientId), 'point', { score })));
    ctx.status = 202;
    ctx.body = { score: scores.at(-1) };
  });

  router.post('/tour/slow/:clientId', async ctx => {
    const { localPort = 0, localAddress = '' } = ctx.socket;
    await slow.open(localPort, localAddress, `/sse/connect/${encodeURIComponent(parameter(ctx, 'clientId'))}`);
    ctx.status = 201;
    ctx.body = { nodeId: sse.nodeId };
  });

  router.post('/tour/mailbox/:clientId', async ctx => {
    const data = await readEventData(ctx, limits.maxEventBytes);
    ctx.body = await mail.sendMessageToConnection(parameter(ctx, 'clientId'), 'mail', data, { durable: true });
  });

  return router;
}

function parameter(ctx: Context, name: string): string {
  return (ctx['params'] as Record<string, string | undefined>)[name] ?? '';
}
