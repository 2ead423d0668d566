import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { Container } from 'inversify';
import { Cluster } from 'ioredis';
import Koa from 'koa';
import { answerErrors } from '../../examples/01-one-process/answer-errors.js';
import { demoRoutes } from '../../examples/01-one-process/demo-routes.js';
import { StreamController } from '../../examples/01-one-process/stream-controller.js';
import { ResolvedSseOptions, sseMiddleware, sseModule, SseService } from '../../src/index.js';

/** The demo's streams and routes on a Redis Cluster, whose masters listen on the ports in `CLUSTER_PORTS`. */
const { PORT = '0', CLUSTER_PORTS = '', NODE_ID = 'node' } = process.env;
const masters = CLUSTER_PORTS.split(',').map(port => ({ host: '127.0.0.1', port: Number(port) }));
const client = new Cluster(masters, { lazyConnect: true });
client.on('error', () => undefined);

const container = new Container();
container.load(sseModule({ redis: { client }, node: { id: NODE_ID } }));
container.bind(StreamController).toSelf().inSingletonScope();
const sse = container.get(SseService);

const app = new Koa();
app.use(answerErrors);
app.use(sseMiddleware(container, { controllers: [StreamController] }));
const router = demoRoutes(sse, container.get(ResolvedSseOptions));
app.use(router.routes());
app.use(router.allowedMethods());
await sse.start();
const server = app.listen(Number(PORT), '127.0.0.1', () => {
  const { port } = server.address() as AddressInfo;
  console.log(`listening on http://127.0.0.1:${port} node=${sse.nodeId} coordinator=redis`);
});
