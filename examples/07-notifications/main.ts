/**
 * Notifications that wait for a client that is away, in its mailbox.
 *
 * A send with `durable: true` is kept in a mailbox of the connection. The receipt says `delivered` when the client has it, and
 * `stored` while it waits. The client gets what waits when it comes back, in order and once.
 * A mailbox belongs to a connection id, so a device needs an id that stays the same. All devices of a user at once: `publishToUser`.
 * The user of this example stands in the path. A real guard reads a session or a token: docs/authentication.md.
 *
 *   npm run build && node dist/examples/07-notifications/main.js
 *   curl -X POST 'http://127.0.0.1:3000/notes/alice/phone?text=hello'          stored
 *   curl -N http://127.0.0.1:3000/notes/alice/phone                            gets it
 */
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Container, injectable } from 'inversify';
import Koa from 'koa';
import {
  connectionIdOf,
  drainOnSignals,
  SseEndpoint,
  sseMiddleware,
  sseModule,
  SseService,
  type Admission,
  type SseGuard,
  type SseRequest,
} from '../../src/index.js';

@injectable()
class NamedInPath implements SseGuard {
  canConnect({ params }: SseRequest): Admission {
    return { user: params['user'] ?? '' };
  }
}

@injectable()
class Notes {
  @SseEndpoint('/notes/:user/:device', { connectionId: 'device', guards: [NamedInPath] })
  open(): void {
    // Nothing to send: what waits in the mailbox comes by itself.
  }
}

const container = new Container();
container.load(sseModule({ mailbox: { enabled: true } }));
container.bind(Notes).toSelf().inSingletonScope();
container.bind(NamedInPath).toSelf();
const sse = container.get(SseService);

const app = new Koa();
app.use(sseMiddleware(container, { controllers: [Notes] }));
app.use(async ctx => {
  const [, user, device] = /^\/notes\/(\w+)\/(\w+)$/.exec(ctx.path) ?? [];
  if (ctx.method !== 'POST' || user === undefined || device === undefined) return;
  const note = { text: String(ctx.query['text']) };
  ctx.body = await sse.sendMessageToConnection(connectionIdOf(user, device), 'note', note, { durable: true });
});

const server = app.listen(Number(process.env['PORT'] ?? 3000), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
drainOnSignals(sse, { server });
