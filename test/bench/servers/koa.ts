/** This library under Koa, with the settings an application has that changes none but `connection.maxConnections`. */
import 'reflect-metadata';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseMiddleware, sseModule, SseService } from '../../../src/index.js';
import { benchData } from './bench-event.js';
import { serve } from './serve.js';

const container = new Container();
container.load(sseModule());
const service = container.get(SseService);
const app = new Koa();
app.use(sseMiddleware(container));
let opened = 0;
app.use(async ctx => {
  opened += 1;
  await ctx.sse.connect(`client-${opened}`);
});
const handle = app.callback();
let events = 0;
let sent = 0;

serve({
  onRequest: (request, response) => void handle(request, response),
  broadcast: () => {
    events += 1;
    service.broadcast('tick', benchData(events));
  },
  send: () => {
    sent += 1;
    service.sendMessage(`client-${(sent % opened) + 1}`, 'tick', benchData(sent));
  },
});
