/**
 * An answer as of a language model. It runs once, and each reader gets it from its start or from where the reader was.
 *
 * `answer-controller.ts` is the endpoint: its key is the question, and its generator runs on the node that was asked first. A
 * reload of the page, a second tab and another node all follow that run. `page/answer.ts` shows the words as they come, and
 * says so when the answer broke off. A real application yields the tokens of a model: docs/language-models.md.
 * With `REDIS_URL` several processes are one cluster; set `PORT` for each.
 *
 *   npm run build && node dist/examples/06-resumable-answers/main.js        then open http://127.0.0.1:3000, and reload
 *   curl -N 'http://127.0.0.1:3000/answers/why?words=20'
 */
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseMiddleware, sseModule } from '../../src/index.js';
import { AnswerController } from './answer-controller.js';

// Without a Redis it is one node, and everything works the same but the change of nodes.
const { PORT = '3000', REDIS_URL } = process.env;
// The page as it is written, and its script and style as `npm run build` has bundled them.
const PAGE = new URL('../../../examples/06-resumable-answers/page/index.html', import.meta.url);
const FILES: Readonly<Record<string, readonly [file: URL, type: string]>> = {
  '/': [PAGE, 'html'],
  '/answer.css': [new URL('page/answer.css', import.meta.url), 'css'],
  '/answer.js': [new URL('page/answer.js', import.meta.url), 'js'],
};

const container = new Container();
container.load(sseModule(REDIS_URL === undefined ? {} : { redis: { url: REDIS_URL } }));
container.bind(AnswerController).toSelf().inSingletonScope();

const app = new Koa();
app.use(sseMiddleware(container, { controllers: [AnswerController] }));
app.use(async ctx => {
  const [file, type] = FILES[ctx.path] ?? [];
  if (file === undefined || type === undefined) return;
  ctx.type = type;
  ctx.set('Content-Security-Policy', "default-src 'self'; img-src data:; frame-ancestors 'none'");
  ctx.body = await readFile(file);
});

const server = app.listen(Number(PORT), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port}`);
});
