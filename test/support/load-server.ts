/**
 * A server for load tests, run as a child with `--expose-gc`. It prints its address and answers over IPC: `{ ask: 'size' }`
 * with the number of its connections, `{ ask: 'memory' }` with the bytes that are in use after garbage collection,
 * `{ ask: 'stats' }` with counts of everything a connection could leave behind, for which it looks through the whole heap, and
 * `{ ask: 'flood' }` by broadcasting as fast as the connections named `healthy-…` take it.
 */
import 'reflect-metadata';
import { type AddressInfo, Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';
import * as v8 from 'node:v8';
import { Container } from 'inversify';
import Koa from 'koa';
import { ClientConnection } from '../../src/connection/client-connection.js';
import { FrameWriter } from '../../src/connection/writer.js';
import { ConnectionStore, sseMiddleware, sseModule, SseService } from '../../src/index.js';
import { SocketSink } from '../../src/koa/socket-sink.js';

/** Connections, those that are opening included. */
export interface LoadSize {
  readonly connections: number;
}

/** Bytes after garbage collection. */
export interface LoadMemory {
  readonly heapUsed: number;
  readonly arrayBuffers: number;
}

/** What a connection could leave behind, counted after garbage collection. */
export interface LoadStats extends LoadMemory {
  readonly connections: number;
  readonly opening: number;
  readonly topics: number;
  readonly objects: number;
  readonly sockets: number;
  readonly timers: number;
  readonly processListeners: number;
}

/** What a flood did. */
export interface FloodReport {
  readonly events: number;
  /** Highest resident set size seen, in bytes. */
  readonly peakRss: number;
  readonly rssBefore: number;
  /** Highest number of bytes waiting for all clients. */
  readonly peakWaiting: number;
  readonly slow: number;
  readonly dropped: number;
}

interface Question {
  readonly ask: 'size' | 'memory' | 'stats' | 'flood';
  readonly events?: number;
  readonly bytes?: number;
}

const container = new Container();
container.load(sseModule());
const service = container.get(SseService);
const store = container.get(ConnectionStore);
const app = new Koa();
app.use(sseMiddleware(container));
app.use(async ctx => {
  await ctx.sse.connect(ctx.path.slice(1), { topics: ['load', `own-${ctx.path}`] });
});
let appErrors = 0;
app.on('error', error => {
  appErrors += 1;
  console.error(error);
});
process.on('unhandledRejection', error => {
  console.error(error);
  process.exit(70);
});
process.on('message', (question: Question) => {
  void answer(question);
});
const server = app.listen(0, '127.0.0.1', 4096, () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});

async function answer({ ask, events = 0, bytes = 0 }: Question): Promise<void> {
  switch (ask) {
    case 'size':
      process.send?.({ connections: store.size + store.opening } satisfies LoadSize);
      break;
    case 'memory':
      process.send?.(memory());
      break;
    case 'stats':
      process.send?.(await stats());
      break;
    case 'flood':
      process.send?.(await flood(events, bytes));
  }
}

function memory(): LoadMemory {
  gc?.();
  const { heapUsed, arrayBuffers } = process.memoryUsage();
  return { heapUsed, arrayBuffers };
}

async function stats(): Promise<LoadStats> {
  // Closed sockets are let go over a few turns of the loop.
  for (let round = 0; round < 2; round += 1) {
    await turn();
    gc?.();
  }
  const count = (type: new (...args: never[]) => unknown): number =>
    v8.queryObjects(type, {
      format: 'count',
    });
  return {
    connections: store.size,
    opening: store.opening,
    topics: [...store.topics()].length,
    objects: count(ClientConnection) + count(FrameWriter) + count(SocketSink),
    sockets: count(Socket),
    timers: process.getActiveResourcesInfo().filter(name => name === 'Timeout').length,
    processListeners: process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), appErrors),
    ...memory(),
  };
}

async function flood(events: number, bytes: number): Promise<FloodReport> {
  gc?.();
  const rssBefore = process.memoryUsage.rss();
  let [peakRss, peakWaiting, slow, dropped] = [rssBefore, 0, 0, 0];
  const data = 'x'.repeat(bytes);
  for (let number = 0; number < events; number += 1) {
    const report = service.broadcast('load', `${number} ${data}`);
    slow = Math.max(slow, report.buffered);
    dropped += report.rejected;
    if (number % 20 !== 0) continue;
    await turn();
    const connections = [...store.connections()];
    for (const connection of connections) {
      if (connection.id.startsWith('healthy-')) await connection.drained();
    }
    peakRss = Math.max(peakRss, process.memoryUsage.rss());
    const waiting = connections.reduce((sum, { sendBufferBytes }) => sum + sendBufferBytes, 0);
    peakWaiting = Math.max(peakWaiting, waiting);
  }
  return { events, peakRss, rssBefore, peakWaiting, slow, dropped };
}
