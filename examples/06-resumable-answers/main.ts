import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseMiddleware, sseModule } from '../../src/index.js';
import { AnswerController } from './answer-controller.js';
import { PAGE } from './page.js';

// Without a Redis it is one node, and everything works the same but the change of nodes.
const { PORT = '3000', REDIS_URL } = process.env;

const container = new Container();
container.load(sseModule(REDIS_URL === undefined ? {} : { redis: { url: REDIS_URL } }));
container.bind(AnswerController).toSelf().inSingletonScope();

const app = new Koa();
app.use(sseMiddleware(container, { controllers: [AnswerController] }));
app.use(ctx => {
  ctx.type = 'html';
  ctx.body = PAGE;
});

const server = app.listen(Number(PORT), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}`);
});
