/** A node of this library, on plain `node:http`, with the Redis of the environment. */
import 'reflect-metadata';
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Container } from 'inversify';
import { ClusterCoordinator, type Receipt, sseModule, SseService } from '../../../src/index.js';
import { sinkFor } from '../../../src/koa/stream-request.js';
import { benchData, dataOf, MARKER } from '../servers/bench-event.js';
import { inFlight } from './in-flight.js';
import { Arrivals, offerWork } from './work.js';

const container = new Container();
container.load(sseModule());
const service = container.get(SseService);
const coordinator = container.get(ClusterCoordinator);
await service.start();
const arrivals = new Arrivals();
const registered: string[] = [];
let opened = 0;

offerWork(
  {
    publish: number => service.publish('bench', 'tick', benchData(number), { history: false }),
    'publish-history': number => service.publish('bench', 'tick', benchData(number)),
    'publish-1kb': number => service.publish('bench', 'tick', dataOf(number, 1_000)),
    'publish-10kb': number => service.publish('bench', 'tick', dataOf(number, 10_000)),
    broadcast: number => service.broadcastToCluster('tick', benchData(number), { history: false }),
    'broadcast-history': number => service.broadcastToCluster('tick', benchData(number)),
    send: async number => expectOutcome(await send(number, 'owner'), ['delivered', 'buffered']),
    'send-none': async number => expectOutcome(await send(number, 'none'), ['routed']),
    register: async number => {
      const connectionId = `registered-${number}`;
      registered.push(connectionId);
      const registration = { connectionId, token: connectionId, onDuplicate: 'takeover' } as const;
      const { outcome } = await coordinator.routes.register(registration);
      if (outcome !== 'registered') throw new Error(`a registration came to ${outcome}`);
    },
  },
  arrivals,
  {
    unregister: async () => {
      const all = registered.splice(0);
      await inFlight(all.length, async index => {
        const id = all[index] ?? '';
        await coordinator.routes.unregister(id, id);
      });
    },
    ready: () => service.health().ready,
    // A node knows the others a moment after they came.
    nodes: async () => (await service.nodes()).length,
  },
);

const server = http.createServer((request, response) => {
  opened += 1;
  const timed = request.url === '/target';
  const sink = sinkFor(request, response);
  if (timed) noteWrites(sink);
  const connectionId = timed ? 'target' : `client-${service.nodeId}-${opened}`;
  const lastEventId = request.headers['last-event-id']?.toString();
  const cursor = lastEventId === undefined ? {} : { lastEventId };
  void service.createConnection(connectionId, sink, { topics: ['bench'], ...cursor });
});
server.listen(0, '127.0.0.1', 4096, () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});

function send(number: number, ack: 'owner' | 'none'): Promise<Receipt> {
  return service.sendMessageToConnection('target', 'tick', benchData(number), { ack });
}

function expectOutcome({ outcome }: Receipt, expected: readonly string[]): void {
  if (!expected.includes(outcome)) throw new Error(`a send came to ${outcome}`);
}

function noteWrites(sink: ReturnType<typeof sinkFor>): void {
  const write = sink.write.bind(sink);
  sink.write = bytes => {
    // Neither the greeting nor a heartbeat.
    if (bytes.includes(MARKER)) arrivals.note();
    return write(bytes);
  };
}
