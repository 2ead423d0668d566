/** An application with users, two of which form a cluster; `start.js` is loaded in front of it. */
import 'reflect-metadata';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import Router from '@koa/router';
import { logs } from '@opentelemetry/api-logs';
import { Container } from 'inversify';
import { Redis } from 'ioredis';
import Koa from 'koa';
import { nameRoutes } from '../../../examples/05-telemetry/name-routes.js';
import {
  type Logger,
  type LogFields,
  SseEndpoint,
  type SseGuard,
  type SseRequest,
  sseMiddleware,
  sseModule,
  SseService,
} from '../../../src/index.js';

class NamedUser implements SseGuard {
  canConnect({ headers }: SseRequest): { user: string } {
    return { user: String(headers['x-user']) };
  }
}

class Streams {
  @SseEndpoint('/sse/:clientId', { guards: [NamedUser], topics: ['news'] })
  connect(): void {
    // Only held open.
  }
}

/** Has the lines of the library exported, without the field that names connections. */
class ExportedLog implements Logger {
  debug = exporter('debug');
  info = exporter('info');
  warn = exporter('warn');
  error = exporter('error');
}

function exporter(severityText: string) {
  return (body: string, { connectionId: _, ...attributes }: LogFields = {}): void => {
    logs.getLogger('application').emit({ severityText, body, attributes: { line: JSON.stringify(attributes) } });
  };
}

const { REDIS_URL: url = '' } = process.env;
const container = new Container();
container.load(sseModule({ redis: { url }, mailbox: { enabled: true } }, { logger: new ExportedLog() }));
container.bind(Streams).toSelf().inSingletonScope();
container.bind(NamedUser).toSelf().inSingletonScope();
const sse = container.get(SseService);
const redis = new Redis(url);

const router = new Router();
router.post('/send/:connectionId', async ctx => {
  const { connectionId = '' } = ctx.params;
  const { event, durable } = ctx.query;
  ctx.body = await sse.sendMessageToConnection(connectionId, String(event ?? 'chat'), ctx.get('x-body'), {
    durable: durable === 'true',
  });
});
// A command of the application, which the instrumentation records.
router.get('/own', async ctx => {
  ctx.body = String(await redis.get('own-key'));
});
router.post('/topics/:topic', async ctx => {
  ctx.body = await sse.publish(ctx.params['topic'] ?? '', 'headline', ctx.get('x-body'));
});
router.delete('/users/:user', async ctx => {
  ctx.body = await sse.revoke({ user: ctx.params['user'] ?? '' });
});

const app = new Koa();
app.use(sseMiddleware(container, { controllers: [Streams] }));
app.use(nameRoutes).use(router.routes());
await sse.start();
const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
