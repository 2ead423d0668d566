/** A node of `revocation.ts`: `/<user>/<id>` is a stream of that user. Prints its port, and answers over IPC. */
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseMiddleware, sseModule, SseService } from '../../src/index.js';

/** What the node is asked. */
export type RevocationQuestion =
  { readonly ask: 'count' } | { readonly ask: 'revoke'; /** `u0`, `u1`, … */ readonly users: number };

/** Connections of this node. */
export interface NodeCount {
  readonly connections: number;
}

/** All answers of `revoke` together. */
export interface RevokedUsers {
  readonly closed: number;
  /** Nodes that one answer at least named. */
  readonly missing: readonly string[];
  /** Answers of a node that could not reach the cluster. */
  readonly unavailable: number;
}

/** Revocations under way at once. */
const AT_ONCE = 50;

const { REDIS_URL = '', NODE_ID = '' } = process.env;
const container = new Container();
container.load(
  sseModule({ redis: { url: REDIS_URL }, node: { id: NODE_ID }, connection: { maxConnections: 100_000 } }),
);
const service = container.get(SseService);
await service.start();
const app = new Koa();
app.use(sseMiddleware(container));
app.use(async ctx => {
  const [, user = '', id = ''] = ctx.path.split('/');
  await ctx.sse.connect(id, { user });
});

async function revoke(users: number): Promise<RevokedUsers> {
  const missing = new Set<string>();
  let [closed, unavailable, next] = [0, 0, 0];
  const one = async (): Promise<void> => {
    while (next < users) {
      const user = `u${next}`;
      next += 1;
      const receipt = await service.revoke({ user });
      closed += receipt.closed;
      for (const node of receipt.missing) missing.add(node);
      if (receipt.unavailable !== undefined) unavailable += 1;
    }
  };
  await Promise.all(Array.from({ length: AT_ONCE }, one));
  return { closed, missing: [...missing], unavailable };
}

process.on('message', (question: RevocationQuestion) => {
  if (question.ask === 'count') process.send?.({ connections: service.getConnectionCount() } satisfies NodeCount);
  else void revoke(question.users).then(answer => process.send?.(answer));
});
const server = app.listen(0, '127.0.0.1', 4096, () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});
