/**
 * A live dashboard. Each client first gets a snapshot of all figures, then every change.
 *
 * A client that comes back gets the changes that it missed. Where the log no longer has them, the client gets `sse.reset`, and
 * the hook `onReset` sends a new snapshot. So no client shows an old figure for ever. `page.html` needs no library for that.
 * With several nodes, keep the figures where all nodes read them, such as a database.
 *
 *   npm run build && node dist/examples/03-dashboard/main.js        then open http://127.0.0.1:3000
 *   curl -X PUT http://127.0.0.1:3000/figures/orders/12
 */
import 'reflect-metadata';
import { readFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { Container, inject, injectable } from 'inversify';
import Koa from 'koa';
import {
  drainOnSignals,
  SseEndpoint,
  sseMiddleware,
  sseModule,
  SseService,
  type PublishReceipt,
  type ResetClient,
  type SseConnection,
} from '../../src/index.js';

@injectable()
class Dashboard {
  readonly #figures = new Map<string, number>();

  constructor(@inject(SseService) private readonly sse: SseService) {}

  @SseEndpoint('/dashboard', { topics: ['figures'], onReset: 'snapshot' })
  open(connection: SseConnection): void {
    // A client that brings a last id has the figures up to that id.
    if (connection.lastEventId === undefined) this.snapshot(connection);
  }

  snapshot(client: ResetClient): void {
    client.send('snapshot', Object.fromEntries(this.#figures));
  }

  change(name: string, value: number): Promise<PublishReceipt> {
    this.#figures.set(name, value);
    return this.sse.publish('figures', 'change', { name, value });
  }
}

const container = new Container();
container.load(sseModule());
container.bind(Dashboard).toSelf().inSingletonScope();

const app = new Koa();
app.use(sseMiddleware(container, { controllers: [Dashboard] }));
app.use(async ctx => {
  const [, name, value] = /^\/figures\/(\w+)\/(\d+)$/.exec(ctx.path) ?? [];
  if (ctx.method === 'PUT' && name !== undefined) {
    ctx.body = await container.get(Dashboard).change(name, Number(value));
  } else if (ctx.path === '/') {
    ctx.type = 'html';
    ctx.body = await readFile(new URL('../../../examples/03-dashboard/page.html', import.meta.url));
  }
});

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
drainOnSignals(container.get(SseService), { server });
