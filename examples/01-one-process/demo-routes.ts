import Router from '@koa/router';
import type { Context } from 'koa';
import type { BroadcastReceipt, PublishReceipt, Receipt, ResolvedSseOptions, SseService } from '../../src/index.js';
import { HttpError } from './http-error.js';
import { readEventData } from './request-body.js';

/** The demo's plain routes: send, broadcast, publish, close, look. */
export function demoRoutes(sse: SseService, { limits }: ResolvedSseOptions): Router {
  const router = new Router();

  router.post('/sse/send{/:clientId}', async ctx => {
    const data = await readEventData(ctx, limits.maxEventBytes);
    answerReceipt(ctx, await sse.sendMessageToConnection(clientId(ctx), eventName(ctx), data));
  });

  router.post('/sse/broadcast', async ctx => {
    const data = await readEventData(ctx, limits.maxEventBytes);
    const receipt = await sse.broadcastToCluster(eventName(ctx), data);
    if (receipt.outcome === 'rejected') {
      refuse(ctx, receipt);
      return;
    }
    const { local, nodes, degraded } = receipt;
    ctx.status = 202;
    ctx.body = degraded === true ? { local, nodes, degraded } : { local, nodes };
  });

  router.post('/sse/topics{/:topic}', async ctx => {
    const data = await readEventData(ctx, limits.maxEventBytes);
    const receipt = await sse.publish(ctx.params['topic'] ?? '', eventName(ctx), data);
    if (receipt.outcome !== 'stored' && receipt.outcome !== 'routed') {
      refuse(ctx, receipt);
      return;
    }
    ctx.status = 202;
    ctx.body = { id: receipt.outcome === 'stored' ? receipt.id : undefined };
  });

  router.delete('/sse/connections/:clientId', async ctx => {
    const { closed, missing, unavailable } = await sse.closeConnection(clientId(ctx));
    if (unavailable !== undefined) throw new HttpError(503, unavailable, 'the cluster could not be asked');
    if (missing.length > 0) throw new HttpError(504, 'unknown', `no answer of ${missing.join(', ')}`);
    if (closed === 0) throw notConnected();
    ctx.status = 204;
  });

  router.get('/sse/connections', async ctx => {
    const local = sse.getConnectionCount();
    try {
      const [cluster, nodes] = await Promise.all([sse.getClusterConnectionCount(), sse.nodes()]);
      ctx.body = {
        local,
        cluster,
        nodes: Object.fromEntries(nodes.map(({ nodeId, connections }) => [nodeId, connections])),
      };
    } catch {
      ctx.body = { local, cluster: null, nodes: { [sse.nodeId]: local }, degraded: true };
    }
  });

  router.get('/sse/connections/:clientId', async ctx => {
    const nodeId = await sse.locate(clientId(ctx));
    if (nodeId === undefined) throw notConnected();
    ctx.body = { connected: true, nodeId };
  });

  router.get('/health/live', ctx => answerHealth(ctx, sse, sse.health().live));
  router.get('/health/ready', ctx => answerHealth(ctx, sse, sse.health().ready));
  return router;
}

const STATUS: Readonly<Record<(Receipt | PublishReceipt)['outcome'], number>> = {
  confirmed: 200,
  delivered: 200,
  buffered: 200,
  stored: 200,
  routed: 200,
  'not-connected': 404,
  rejected: 429,
  unavailable: 503,
  unknown: 504,
};

const REJECTED: Readonly<Partial<Record<string, number>>> = {
  EVENT_TOO_LARGE: 413,
  FORBIDDEN: 403,
  INVALID_EVENT_ID: 422,
};

function answerReceipt(ctx: Context, receipt: Receipt): void {
  if (STATUS[receipt.outcome] === 200) ctx.body = receipt;
  else refuse(ctx, receipt);
}

/** Answers that an event was not sent, or that this is not known. */
function refuse(ctx: Context, receipt: Receipt | PublishReceipt | BroadcastReceipt): void {
  const code = 'code' in receipt ? receipt.code : receipt.outcome;
  ctx.status = REJECTED[code] ?? STATUS[receipt.outcome];
  if (ctx.status === 429 || ctx.status === 503) ctx.set('Retry-After', '1');
  ctx.body = {
    error: { code, message: `the event was not delivered: ${receipt.outcome}` },
    receipt,
  };
}

function answerHealth(ctx: Context, sse: SseService, good: boolean): void {
  const { live, ready, degraded, reasons } = sse.health();
  if (good) {
    ctx.body = { live, ready, degraded, reasons };
    return;
  }
  ctx.status = 503;
  ctx.body = {
    error: { code: 'NOT_READY', message: reasons.map(({ message }) => message).join('; ') },
    live,
    ready,
    degraded,
    reasons,
  };
}

function clientId(ctx: Context): string {
  return (ctx['params'] as Record<string, string | undefined>)['clientId'] ?? '';
}

function eventName({ query }: Context): string {
  const name = [query['event'] ?? 'message'].flat()[0] ?? '';
  return name === '' ? 'message' : name;
}

function notConnected(): HttpError {
  return new HttpError(404, 'not-connected', 'no node has a connection of this id');
}
