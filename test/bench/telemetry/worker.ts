import 'reflect-metadata';
import { fork, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { context, trace } from '@opentelemetry/api';
import { Container } from 'inversify';
import Koa from 'koa';
import { LocalCoordinator, MemoryBus, SseEndpoint, sseMiddleware, sseModule, SseService } from '../../../src/index.js';
import { enter, isStubbed, MODES } from './modes.js';

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

/** Something to measure: how many operations one round of it is. */
interface Work {
  readonly operations: number;
  run(round: number): Promise<unknown>;
}

const mode = MODES.find(name => name === process.argv[2]) ?? 'stub';
const REDIS_URL = process.argv[3];

enter(mode);
const bus = new MemoryBus();
const [a, b] = [await startNode('a', bus), await startNode('b', bus)];
const [c, d] = [await startNode('c', undefined), await startNode('d', undefined)];
const clients = fork(fileURLToPath(new URL('many-sockets.js', import.meta.url)));
await ask(clients, { port: a.port, count: CONNECTIONS, path: '/sse/a#' });
await ask(clients, { port: b.port, count: 100, path: '/sse/b#' });
await ask(clients, { port: d.port, count: 100, path: '/sse/d#' });
const visitors = fork(fileURLToPath(new URL('many-sockets.js', import.meta.url)));
const tracer = trace.getTracer('bench');

const works: Record<string, Work> = {
  'broadcast, per delivery': {
    operations: CONNECTIONS,
    run: async () => a.sse.broadcast('tick', EVENT),
  },
  'publication, per delivery': {
    // On both nodes.
    operations: CONNECTIONS + 100,
    run: () => a.sse.publish('news', 'tick', EVENT, { history: false }),
  },
  'send on the node, alone': { operations: 200, run: async round => sendHere(round) },
  'send on the node, in a request': {
    operations: 200,
    run: round => inRequest(() => sendHere(round)),
  },
  'send over Redis, alone': { operations: 100, run: () => sendToAll(c, 'd') },
  'send over Redis, in a request': {
    operations: 100,
    run: () => inRequest(() => sendToAll(c, 'd')),
  },
  'publication over Redis, per delivery': {
    operations: 100,
    run: () => c.sse.publish('news', 'tick', EVENT),
  },
  'connect and leave': {
    operations: 50,
    run: async () => {
      await ask(visitors, { port: a.port, count: 50, path: '/sse/c#' });
      await ask(visitors, { leave: true });
    },
  },
};

// Runs slices of work on request until it is stopped; answers microseconds of processor time per operation.
process.on('message', (request: { work: string; ms: number } | 'stop') => {
  void (request === 'stop' ? stop() : answer(request));
});
// The parent process may end early.
process.on('disconnect', () => process.exit());
process.send?.(Object.keys(works));

async function answer({ work, ms }: { work: string; ms: number }): Promise<void> {
  const { operations, run } = works[work] ?? { operations: Number.NaN, run: async () => undefined };
  await turn(run, 0);
  const before = process.cpuUsage();
  const deadline = performance.now() + ms;
  let rounds = 0;
  while (performance.now() < deadline) {
    rounds += 1;
    await turn(run, rounds);
  }
  const { user, system } = process.cpuUsage(before);
  process.send?.((user + system) / (rounds * operations));
}

/** One round, and what its sockets have to write. */
async function turn(run: Work['run'], round: number): Promise<void> {
  await run(round);
  await new Promise(resolve => setImmediate(resolve));
}

async function stop(): Promise<void> {
  for (const child of [clients, visitors]) child.disconnect();
  await Promise.all([a, b, c, d].map(node => node.close()));
  process.disconnect();
}

function sendHere(round: number): void {
  for (let n = 0; n < 200; n += 1) a.sse.sendMessage(`a${(round + n) % 1000}`, 'tick', EVENT);
}

/** @throws Error when a client does not get its event: a send that fails costs another amount */
async function sendToAll(from: BenchNode, prefix: string): Promise<void> {
  const sends = Array.from({ length: 100 }, (_, n) => from.sse.sendMessageToConnection(`${prefix}${n}`, 'tick', EVENT));
  for (const { outcome } of await Promise.all(sends)) {
    if (outcome !== 'delivered' && outcome !== 'buffered') throw new Error(`a send is ${outcome}`);
  }
}

async function inRequest(work: () => unknown): Promise<void> {
  const span = tracer.startSpan('request');
  await context.with(trace.setSpan(context.active(), span), work);
  span.end();
}

/** @param meeting where it meets others; without one, in Redis */
async function startNode(nodeId: string, meeting: MemoryBus | undefined): Promise<BenchNode> {
  const takeovers = { takeoverLimit: 1000, takeoverWindow: 1 };
  const container = new Container();
  const options = {
    node: { id: nodeId },
    connection: { ...takeovers, maxConnections: 10_000 },
    telemetry: { enabled: !isStubbed(mode) },
    redis: meeting === undefined ? { url: REDIS_URL, prefix: `${mode}:`, channel: `${mode}:` } : {},
  };
  const overrides =
    meeting === undefined ? {} : { clusterCoordinator: new LocalCoordinator(nodeId, takeovers, meeting) };
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
      await container.get(SseService).close();
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
