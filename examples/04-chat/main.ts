/**
 * A chat with rooms and presence. A room is a topic. Its newest 20 messages come first (`backlog`), then every message, in one
 * order for all.
 *
 * Each stream belongs to a user, so that presence has names. Two tabs of a user are two connections and one person. The list of
 * people is published without history: a client that comes back needs the present list only.
 * The user of this example stands in the path. A real application reads a session or a token: docs/authentication.md.
 *
 *   npm run build && node dist/examples/04-chat/main.js
 *   curl -N http://127.0.0.1:3000/rooms/tea/alice
 *   curl -X POST 'http://127.0.0.1:3000/rooms/tea/bob?text=hello'
 */
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Container } from 'inversify';
import Koa from 'koa';
import { drainOnSignals, sseMiddleware, sseModule, SseService } from '../../src/index.js';

const { REDIS_URL, PORT = '3000' } = process.env;
const container = new Container();
container.load(sseModule(REDIS_URL === undefined ? {} : { redis: { url: REDIS_URL } }));
const sse = container.get(SseService);

async function showPeople(topic: string): Promise<void> {
  try {
    const { connections } = await sse.presence(topic);
    const people = [...new Set(connections.map(({ user }) => user))].sort();
    await sse.publish(topic, 'people', people, { history: false });
  } catch (error) {
    console.warn('the list of people stays as it is, since the cluster does not answer', error);
  }
}

const app = new Koa();
app.use(sseMiddleware(container));
app.use(async ctx => {
  const [, room, user] = /^\/rooms\/(\w+)\/(\w+)$/.exec(ctx.path) ?? [];
  if (room === undefined || user === undefined) return;
  const topic = `room/${room}`;
  if (ctx.method === 'GET') {
    const connection = await ctx.sse.connect(undefined, { user, topics: [topic], backlog: 20 });
    // The connection is open: it counts in the presence of the topic until it closes.
    void showPeople(topic);
    void connection.closed.then(() => showPeople(topic));
  } else if (ctx.method === 'POST') {
    ctx.body = await sse.publish(topic, 'message', { user, text: String(ctx.query['text']) });
  }
});

const server = app.listen(Number(PORT), '127.0.0.1', () => {
  console.log(`listening on http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
drainOnSignals(sse, { server });
