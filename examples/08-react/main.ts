/**
 * A page in React. The hook `useSse` of `distributed-sse/react` has a stream for as long as its component is on the page.
 *
 * `page/votes.tsx` is the whole page. The stream begins with the votes of this moment; then come the changes. Two components
 * with one URL share a connection, by `share: true`, and so do the tabs of a browser.
 * The server is plain: one endpoint, one route, and the page, which `npm run build` has bundled.
 *
 *   npm run build && node dist/examples/08-react/main.js        then open http://127.0.0.1:3000 in two tabs
 */
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { Container, injectable } from 'inversify';
import Koa from 'koa';
import {
  drainOnSignals,
  SseEndpoint,
  sseMiddleware,
  sseModule,
  SseService,
  type SseConnection,
} from '../../src/index.js';

const votes = { tea: 0, coffee: 0 };

@injectable()
class Votes {
  @SseEndpoint('/votes', { topics: ['votes'] })
  open(connection: SseConnection): void {
    connection.send('votes', votes);
  }
}

const container = new Container();
container.load(sseModule());
container.bind(Votes).toSelf().inSingletonScope();
const sse = container.get(SseService);
const html =
  '<!doctype html><title>Votes</title><main id="page"></main><script type="module" src="/votes.js"></script>';

const app = new Koa();
app.use(sseMiddleware(container, { controllers: [Votes] }));
app.use(async ctx => {
  const [, choice] = /^\/votes\/(tea|coffee)$/.exec(ctx.path) ?? [];
  if (ctx.method === 'POST' && (choice === 'tea' || choice === 'coffee')) {
    votes[choice] += 1;
    ctx.body = await sse.publish('votes', 'votes', votes);
  } else if (ctx.path === '/votes.js') {
    ctx.type = 'js';
    ctx.body = await readFile(new URL('page/votes.js', import.meta.url));
  } else if (ctx.path === '/') {
    ctx.type = 'html';
    ctx.body = html;
  }
});

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
drainOnSignals(sse, { server });
