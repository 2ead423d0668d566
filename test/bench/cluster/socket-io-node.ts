/** socket.io with its Redis adapter, over WebSocket only, without compression as it is by default. */
import * as http from 'node:http';
import type { AddressInfo } from 'node:net';
import { Redis } from 'ioredis';
import { peer } from '../peer.js';
import { benchData } from '../servers/bench-event.js';
import { Arrivals, offerWork } from './work.js';

/** The parts of their interfaces that are used here. */
interface SocketIo {
  readonly Server: new (server: http.Server, options: object) => Server;
}
interface Server {
  emit(event: string, data: unknown): boolean;
}
interface RedisAdapter {
  createAdapter(publisher: Redis, subscriber: Redis): unknown;
}

const { Server } = (await import(peer('socket.io'))) as SocketIo;
const { createAdapter } = (await import(peer('@socket.io/redis-adapter'))) as RedisAdapter;
const url = process.env['SSE_REDIS_URL'] ?? '';
const [publisher, subscriber] = [new Redis(url), new Redis(url)];
const server = http.createServer();
const io = new Server(server, {
  adapter: createAdapter(publisher, subscriber),
  transports: ['websocket'],
  // The clients of this benchmark answer no ping.
  pingInterval: 3_600_000,
});

offerWork({ broadcast: async number => io.emit('tick', benchData(number)) }, new Arrivals(), {
  // Subscribed without an acknowledgement.
  nodes: async () => Number((await publisher.pubsub('NUMSUB', 'socket.io-request#/#'))[1]),
});
server.listen(0, '127.0.0.1', 4096, () => {
  console.log(`listening on ${(server.address() as AddressInfo).port}`);
});
