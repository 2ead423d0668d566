import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
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
app.use(async ctx => {
  const [, module] = /^\/client\/([a-z-]+\.js)$/.exec(ctx.path) ?? [];
  ctx.type = module === undefined ? 'html' : 'js';
  // `distributed-sse/client`, as it is in the package. An application would let its bundler do this.
  ctx.body = module === undefined ? PAGE : await readFile(new URL(`../../src/client/${module}`, import.meta.url));
});

const server = app.listen(Number(PORT), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}`);
});
