import 'reflect-metadata';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { context, trace } from '@opentelemetry/api';
import { Container } from 'inversify';
import Koa from 'koa';
import {
  LocalCoordinator,
  MemoryBus,
  SseEndpoint,
  sseMiddleware,
  sseModule,
  SseService,
} from '../../../src/index.js';
import { enter, MODES, type Mode } from './modes.js';

class Streams {
  @SseEndpoint('/sse/:clientId', { topics: ['news'] })
  connect(): void {
    // Only held open.
  }
}

interface BenchNode {
  readonly sse: SseService;
  readonly port: number;
  close(): Promise<void>;
}

const CONNECTIONS = 1000;
const EVENT = 'x'.repeat(200);

const mode = MODES.find(name => name === process.argv[2]) ?? 'stub';
// Bounds of time for each figure, so that a slow machine is measured as long as a fast one.
const PERIOD_MS = Number(process.argv[3] ?? '3000');
const REDIS_URL = process.argv[4];

enter(mode);
const figures = await measureAll(mode);
process.send?.(figures);
process.disconnect();

/** Microseconds of processor time for one of each. */
async function measureAll(of: Mode): Promise<Record<string, number>> {
  const bus = new MemoryBus();
  const [a, b] = [await startNode('a', bus, of), await startNode('b', bus, of)];
  const [c, d] = [await startNode('c', undefined, of), await startNode('d', undefined, of)];
  const clients = fork(fileURLToPath(new URL('many-sockets.js', import.meta.url)));
  await ask(clients, { port: a.port, count: CONNECTIONS, path: '/sse/a#' });
  await ask(clients, { port: b.port, count: 100, path: '/sse/b#' });
  await ask(clients, { port: d.port, count: 100, path: '/sse/d#' });
  const tracer = trace.getTracer('bench');
  async function inRequest(work: () => unknown): Promise<void> {
    const span = tracer.startSpan('request');
    await context.with(trace.setSpan(context.active(), span), work);
    span.end();
  }
  const sendToAll = (from: BenchNode, prefix: string): Promise<unknown> =>
    Promise.all(
      Array.from({ length: 100 }, (_, n) =>
        from.sse.sendMessageToConnection(`${prefix}${n}`, 'tick', EVENT),
      ),
    );
  const sendHere = (round: number): void => {
    for (let n = 0; n < 200; n += 1) a.sse.sendMessage(`a${(round + n) % 1000}`, 'tick', EVENT);
  };

  const results: Record<string, number> = {
    'broadcast, per delivery': await perOperation(CONNECTIONS, async () => {
      a.sse.broadcast('tick', EVENT);
    }),
    // On both nodes.
    'publication, per delivery': await perOperation(CONNECTIONS + 100, async () => {
      await a.sse.publish('news', 'tick', EVENT, { history: false });
    }),
    'send on the node, alone': await perOperation(200, async round => {
      sendHere(round);
    }),
    'send on the node, in a request': await perOperation(200, round =>
      inRequest(() => {
        sendHere(round);
      }),
    ),
    'send to another node, alone': await perOperation(100, () => sendToAll(a, 'b')),
    'send to another node, in a request': await perOperation(100, () =>
      inRequest(() => sendToAll(a, 'b')),
    ),
    'the same over Redis, alone': await perOperation(100, () => sendToAll(c, 'd')),
    'the same over Redis, in a request': await perOperation(100, () =>
      inRequest(() => sendToAll(c, 'd')),
    ),
  };
  await ask(clients, { leave: true });
  results['connect and leave'] = await perOperation(200, async () => {
    await ask(clients, { port: a.port, count: 200, path: '/sse/c#' });
    await ask(clients, { leave: true });
  });
  clients.disconnect();
  await Promise.all([a, b, c, d].map(node => node.close()));
  return results;
}

/** Repeats work of so many operations for a while, lets the sockets write after each round, and divides the time. */
async function perOperation(
  operations: number,
  work: (round: number) => Promise<unknown>,
): Promise<number> {
  for (let round = 0; round < 20; round += 1) await turn(work, round);
  const before = process.cpuUsage();
  const deadline = performance.now() + PERIOD_MS;
  let rounds = 0;
  while (performance.now() < deadline) {
    await turn(work, rounds);
    rounds += 1;
  }
  const { user, system } = process.cpuUsage(before);
  return (user + system) / (rounds * operations);
}

async function turn(work: (round: number) => Promise<unknown>, round: number): Promise<void> {
  await work(round);
  await new Promise(resolve => setImmediate(resolve));
}

/** @param bus where it meets others; without one, in Redis */
async function startNode(nodeId: string, bus: MemoryBus | undefined, of: Mode): Promise<BenchNode> {
  const takeovers = { takeoverLimit: 1000, takeoverWindow: 1 };
  const container = new Container();
  const options = {
    node: { id: nodeId },
    connection: { ...takeovers, maxConnections: 10_000 },
    telemetry: { enabled: of !== 'stub' },
    redis: bus === undefined ? { url: REDIS_URL } : {},
  };
  const overrides =
    bus === undefined ? {} : { clusterCoordinator: new LocalCoordinator(nodeId, takeovers, bus) };
  container.load(sseModule(options, overrides));
  container.bind(Streams).toSelf().inSingletonScope();
  const app = new Koa();
  app.use(sseMiddleware(container, { controllers: [Streams] }));
  const server: Server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    sse: container.get(SseService),
    port: (server.address() as AddressInfo).port,
    close: async () => {
      await container.unbindAllAsync();
      server.close();
      server.closeAllConnections();
    },
  };
}

async function ask(child: ChildProcess, request: object): Promise<void> {
  const answered = once(child, 'message');
  child.send(request);
  await answered;
}
