/**
 * What the console costs a node with 10,000 connections: the processor time of the node while nobody looks, with a viewer of
 * `live`, and with the lists of connections and topics as well. The viewer is a process of its own. Prints each round and the
 * medians. `node dist/test/bench/console.js [connections] [seconds]`
 */
import 'reflect-metadata';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Container } from 'inversify';
import Koa from 'koa';
import { sseConsole } from '../../src/console/index.js';
import { sseModule } from '../../src/container.js';
import { SseService } from '../../src/contracts/service.js';
import { OPEN_SINK } from '../support/open-sink.js';

const [connections = 10_000, seconds = 4] = process.argv.slice(2).map(Number);
const TOPICS = 500;
const ROUNDS = 3;
/** Milliseconds after which a node without viewers samples no more. */
const FORGOTTEN_MS = 7_500;
const BEGUN_MS = 1_500;

const container = new Container();
container.load(sseModule({ connection: { maxConnections: connections } }, { environment: false }));
const sse = container.get(SseService);
const app = new Koa();
app.use(sseConsole(container, { guard: false }));
const server = app.listen(0, '127.0.0.1');
await once(server, 'listening');
await sse.start();
for (let n = 0; n < connections; n += 1) {
  await sse.createConnection(`client-${n}`, OPEN_SINK, { topics: ['news', `topic-${n % TOPICS}`] });
}
const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/console/api/`;

function viewer(...resources: string[]): ChildProcess {
  const urls = JSON.stringify(resources.map(resource => base + resource));
  const program = `const { get } = require('node:http');
    for (const url of ${urls}) get(url, { headers: { accept: 'text/event-stream' } }, response => response.resume());`;
  return spawn(process.execPath, ['-e', program], { stdio: 'inherit' });
}

/** Percent of a core. */
async function processorTime(): Promise<number> {
  const before = process.cpuUsage();
  const startedAt = performance.now();
  await sleep(seconds * 1_000);
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 10 / (performance.now() - startedAt);
}

const rounds: { readonly nobody: number; readonly live: number; readonly lists: number }[] = [];
for (let round = 0; round < ROUNDS; round += 1) {
  await sleep(FORGOTTEN_MS);
  const nobody = await processorTime();
  const viewers = [viewer('live')];
  await sleep(BEGUN_MS);
  const live = await processorTime();
  viewers.push(viewer('connections?limit=50', 'topics'));
  await sleep(BEGUN_MS);
  const lists = await processorTime();
  for (const each of viewers) each.kill();
  rounds.push({ nobody, live, lists });
  print(`round ${round + 1}`, rounds[round]);
}
print('median', { nobody: median('nobody'), live: median('live'), lists: median('lists') });
await sse.close();
server.close();

function median(what: keyof (typeof rounds)[number]): number {
  const values = rounds.map(round => round[what]).sort((a, b) => a - b);
  return values[Math.floor(values.length / 2)] ?? NaN;
}

function print(name: string, round: (typeof rounds)[number] | undefined): void {
  if (round === undefined) return;
  const { nobody, live, lists } = round;
  const more = (value: number): string => `${(value - nobody).toFixed(2)} % more`;
  console.log(`${name}: nobody ${nobody.toFixed(2)} % of a core, live ${more(live)}, with lists ${more(lists)}`);
}
