/**
 * Plain Koa, without controllers and decorators: `ctx.sse.connect` turns a request into a stream.
 *
 * The middleware puts `ctx.sse` on each context. A route of your own checks the request, connects, and may send at once. Errors
 * of a refused stream are answered by the middleware, so that the route needs no `catch`.
 * The container is there because it holds the services; nothing else needs Inversify.
 *
 *   npm run build && node dist/examples/09-plain-koa/main.js
 *   curl -N http://127.0.0.1:3000/streams/me
 *   curl -X POST 'http://127.0.0.1:3000/streams/me?text=hello'
 */
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Container } from 'inversify';
import Koa from 'koa';
import { drainOnSignals, sseMiddleware, sseModule, SseService } from '../../src/index.js';

const container = new Container();
container.load(sseModule());
const sse = container.get(SseService);

const app = new Koa();
app.use(sseMiddleware(container));
app.use(async ctx => {
  const [, id] = /^\/streams\/(\w+)$/.exec(ctx.path) ?? [];
  if (id === undefined) return;
  if (ctx.method === 'GET') {
    const connection = await ctx.sse.connect(id, { topics: ['news'] });
    connection.send('welcome', { node: sse.nodeId });
  } else if (ctx.method === 'POST') {
    ctx.body = await sse.sendMessageToConnection(id, 'note', { text: ctx.query['text'] });
  }
});

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
drainOnSignals(sse, { server });
