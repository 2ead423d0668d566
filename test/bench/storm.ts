/**
 * When clients come back to a node that goes away for some seconds: those of the client, and those of npm `eventsource`, which
 * keeps the rules of a native EventSource. Prints the requests in the fullest tenth of a second, and when all were back.
 * `node dist/test/bench/storm.js [clients] [seconds]`
 */
import 'reflect-metadata';
import { once } from 'node:events';
import { createServer, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { EventSource } from 'eventsource';
import { connect } from '../../src/client/index.js';
import { until } from '../support/until.js';

const [clients = 1_000, seconds = 10] = process.argv.slice(2).map(Number);
const SLICE_MS = 100;
const LONGEST_MS = 60_000;

/** A node that is there, gone, and there again at the same port. It asks for nothing, so that the clients decide. */
class Node {
  readonly open = new Set<ServerResponse>();
  readonly #sockets = new Set<Socket>();
  #server: Server | undefined;

  async listen(port: number): Promise<number> {
    this.#server = createServer((_, response) => {
      response.writeHead(200, { 'content-type': 'text/event-stream' });
      response.write('event: connected\ndata: {}\n\n');
      this.open.add(response);
      response.once('close', () => this.open.delete(response));
    });
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once('close', () => this.#sockets.delete(socket));
    });
    this.#server.listen({ port, host: '127.0.0.1', backlog: 4_096 });
    await once(this.#server, 'listening');
    return (this.#server.address() as AddressInfo).port;
  }

  leave(): void {
    this.#server?.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

type Fetch = typeof fetch;
/** @returns what ends the stream */
type Open = (url: string, counted: Fetch) => () => void;

const KINDS: Readonly<Record<string, Open>> = {
  'the client': (url, counted) => {
    const stream = connect(url, { fetch: counted });
    return () => stream.close();
  },
  'npm eventsource': (url, counted) => {
    const source = new EventSource(url, { fetch: counted });
    return () => source.close();
  },
};

for (const [name, open] of Object.entries(KINDS)) await storm(name, open);

async function storm(name: string, open: Open): Promise<void> {
  const node = new Node();
  const port = await node.listen(0);
  const requests: number[] = [];
  const counted: Fetch = (input, init) => {
    requests.push(performance.now());
    return fetch(input, init);
  };
  const ends = Array.from({ length: clients }, () => open(`http://127.0.0.1:${port}/`, counted));
  await until(() => node.open.size === clients, `${clients} streams`, LONGEST_MS);
  requests.length = 0;
  node.leave();
  await sleep(seconds * 1_000);
  await node.listen(port);
  const backAt = performance.now();
  await until(() => node.open.size === clients, 'all streams to be back', LONGEST_MS);
  const took = (performance.now() - backAt) / 1_000;
  for (const end of ends) end();
  node.leave();
  const atNode = requests.filter(at => at > backAt);
  console.log(
    `${name}: ${clients} streams, ${seconds} s without the node: ${requests.length} requests, ${peakOf(requests)} in the ` +
      `fullest ${SLICE_MS} ms, ${peakOf(atNode)} at the node that is back; all back after ${took.toFixed(1)} s`,
  );
}

function peakOf(times: readonly number[]): number {
  const slices = new Map<number, number>();
  for (const at of times) slices.set(Math.floor(at / SLICE_MS), (slices.get(Math.floor(at / SLICE_MS)) ?? 0) + 1);
  return Math.max(0, ...slices.values());
}
