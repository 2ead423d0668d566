import 'reflect-metadata';
import { once } from 'node:events';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { context, propagation, trace } from '@opentelemetry/api';
import { Container, injectable } from 'inversify';
import Koa from 'koa';
import { LocalCoordinator, MemoryBus, SseEndpoint, sseMiddleware, sseModule, SseService } from '../../src/index.js';
import { nameRoute } from './name-routes.js';

@injectable()
class Streams {
  @SseEndpoint('/stream/:clientId')
  connect(): void {
    // Only held open.
  }
}

interface Node {
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Two nodes, a client that connects to one of them, and a request that sends to it from the other; all inside one span, as
 * if a browser had begun it. Returns the id of the trace.
 */
export async function sendFromNodeToNode(): Promise<string> {
  const bus = new MemoryBus();
  const [a, b] = [await startNode('node-a', bus), await startNode('node-b', bus)];
  const traceId = await trace.getTracer('example').startActiveSpan('say hello', async span => {
    const stream = await fetch(`${b.url}/stream/client-1`, { headers: traceHeaders() });
    const reader = events(stream);
    await reader.next('connected');
    await fetch(`${a.url}/send/client-1`, { method: 'POST', headers: traceHeaders() });
    await reader.next('hello');
    span.end();
    return span.spanContext().traceId;
  });
  await Promise.all([a.close(), b.close()]);
  return traceId;
}

/** What the HTTP instrumentation of a client would send. */
function traceHeaders(): Record<string, string> {
  const headers = {};
  propagation.inject(context.active(), headers);
  return headers;
}

async function startNode(nodeId: string, bus: MemoryBus): Promise<Node> {
  const takeovers = { takeoverLimit: 5, takeoverWindow: 30_000 };
  const clusterCoordinator = new LocalCoordinator(nodeId, takeovers, bus);
  const container = new Container();
  container.load(sseModule({ node: { id: nodeId } }, { clusterCoordinator }));
  container.bind(Streams).toSelf().inSingletonScope();
  const sse = container.get(SseService);

  const app = new Koa();
  app.use(sseMiddleware(container, { controllers: [Streams] }));
  app.use(async ctx => {
    nameRoute('/send/:clientId');
    const [, connectionId = ''] = /^\/send\/(.+)$/.exec(ctx.path) ?? [];
    ctx.body = await sse.sendMessageToConnection(connectionId, 'hello', { from: nodeId });
  });
  const server: Server = app.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    close: async () => {
      await container.get(SseService).close();
      server.close();
      server.closeAllConnections();
    },
  };
}

/** Reads a stream just well enough to wait for an event. */
function events(response: Response): { next(name: string): Promise<void> } {
  const reader = response.body?.pipeThrough(new TextDecoderStream()).getReader();
  let text = '';
  return {
    next: async name => {
      while (!text.includes(`event: ${name}\n`)) {
        const chunk = await reader?.read();
        if (chunk?.value === undefined) throw new Error(`the stream ended without ${name}`);
        text += chunk.value;
      }
    },
  };
}
