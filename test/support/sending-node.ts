/**
 * A node for outage tests, run as a child with `--expose-gc`: serves `/sse/connect/:id`, prints its address, and answers an
 * {@link Order} over IPC by sending, and ignores the outcome.
 */
import 'reflect-metadata';
import type { AddressInfo } from 'node:net';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseMiddleware, sseModule, SseService, type Receipt } from '../../src/index.js';

/** What to send. */
export interface Order {
  /** Sends per second that are begun, whether or not those before have ended; fewer where the machine is too slow. */
  readonly rate: number;
  /** How long, at that rate; what is due is begun in any case. */
  readonly seconds: number;
  /** Connection ids; one after the other gets the next number as event `note`. */
  readonly targets: readonly string[];
  /** Every so many are durable; 0: none. */
  readonly durableEvery: number;
  /** The first number. Default: 0. */
  readonly first?: number;
}

/** What became of it. */
export interface Sent {
  /** Of each number from the first on, in {@link OUTCOMES}; -1: its promise has not settled five seconds after the last was begun. */
  readonly outcomes: readonly number[];
  /** Milliseconds of the send that took longest. */
  readonly longestMs: number;
  /** Milliseconds that the event loop was late at most: by so much a send may take longer than its deadline. */
  readonly latestMs: number;
  /** Sends per second that the machine managed to begin. */
  readonly attained: number;
  /** Bytes of heap in use after garbage collection, every other second. */
  readonly heap: readonly number[];
}

/** The outcomes a receipt can have. */
export const OUTCOMES: readonly Receipt['outcome'][] = [
  'delivered',
  'buffered',
  'stored',
  'routed',
  'not-connected',
  'rejected',
  'unknown',
  'unavailable',
];

const TICK_MS = 10;
const SAMPLE_MS = 2_000;
/** The part of a second that is begun at once, at most. */
const CATCH_UP = 20;
const PATIENCE_MS = 5_000;

async function serve(): Promise<void> {
  const container = new Container();
  const url = process.env['REDIS_URL'] ?? '';
  container.load(sseModule({ redis: { url } }));
  const service = container.get(SseService);
  const app = new Koa();
  app.use(sseMiddleware(container));
  app.use(async ctx => {
    await ctx.sse.connect(ctx.path.split('/').at(-1) ?? '', {});
  });
  await service.start();
  process.on('message', (order: Order) => {
    void carryOut(service, order).then(sent => process.send?.(sent));
  });
  const server = app.listen(0, '127.0.0.1', () => {
    console.log(`listening on ${(server.address() as AddressInfo).port}`);
  });
}

async function carryOut(service: SseService, order: Order): Promise<Sent> {
  const { rate, seconds, targets, durableEvery, first = 0 } = order;
  const total = rate * seconds;
  // Beside the heap, which is watched.
  const outcomes = new Int8Array(total).fill(-1);
  const heap: number[] = [];
  const loop = monitorEventLoopDelay({ resolution: TICK_MS });
  loop.enable();
  let longestMs = 0;
  let open = 0;
  const send = async (at: number): Promise<void> => {
    open += 1;
    const number = first + at;
    const began = performance.now();
    const target = targets[number % targets.length] ?? '';
    const durable = durableEvery > 0 && number % durableEvery === 0 ? { durable: true } : {};
    const { outcome } = await service.sendMessageToConnection(target, 'note', `${number}`, durable);
    outcomes[at] = OUTCOMES.indexOf(outcome);
    longestMs = Math.max(longestMs, performance.now() - began);
    open -= 1;
  };
  const began = performance.now();
  let nextSample = began + SAMPLE_MS;
  for (let at = 0; at < total;) {
    const due = ((performance.now() - began) * rate) / 1_000;
    // A machine that is late does not get later by catching up.
    const now = Math.min(total, due, at + rate / CATCH_UP);
    for (; at < now; at += 1) void send(at);
    await delay(TICK_MS);
    if (performance.now() < nextSample) continue;
    nextSample += SAMPLE_MS;
    gc?.();
    heap.push(process.memoryUsage().heapUsed);
  }
  const attained = total / ((performance.now() - began) / 1_000);
  const end = performance.now() + PATIENCE_MS;
  while (open > 0 && performance.now() < end) await delay(TICK_MS);
  loop.disable();
  return { outcomes: [...outcomes], longestMs, latestMs: loop.max / 1e6, attained, heap };
}

// Imported for its names elsewhere.
if (process.send !== undefined && process.argv[1]?.endsWith('sending-node.js') === true) {
  await serve();
}
