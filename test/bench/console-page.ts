/**
 * Whether the page of the console keeps up with a large cluster: four nodes of this process with 12,500 connections each,
 * publications and sends, and Chromium with each view in turn. Prints for each view its frames, those of more than 50 ms, and the
 * tasks of more than 50 ms. `node dist/test/bench/console-page.js [connections] [seconds per view]`
 */
import 'reflect-metadata';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { Container } from 'inversify';
import Koa from 'koa';
import { chromium, type Page } from 'playwright-core';
import { MemoryBus } from '../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../src/cluster/memory/coordinator.js';
import { sseConsole } from '../../src/console/index.js';
import { sseModule } from '../../src/container.js';
import { SseService } from '../../src/contracts/service.js';
import { OPEN_SINK } from '../support/open-sink.js';

const [connections = 50_000, seconds = 8] = process.argv.slice(2).map(Number);
const NODES = ['a', 'b', 'c', 'd'];
const TOPICS = 500;
const LONG_MS = 50;

const bus = new MemoryBus();
const nodes = NODES.map(id => {
  const clusterCoordinator = new LocalCoordinator(id, { takeoverLimit: 5, takeoverWindow: 30_000 }, bus);
  const container = new Container();
  const options = { node: { id }, connection: { maxConnections: connections } };
  container.load(sseModule(options, { environment: false, clusterCoordinator }));
  const app = new Koa();
  app.use(sseConsole(container, { guard: false }));
  return { id, sse: container.get(SseService), app };
});
await Promise.all(nodes.map(({ sse }) => sse.start()));
for (let n = 0; n < connections; n += 1) {
  const topics = ['news', `topic-${n % TOPICS}`];
  await nodes[n % nodes.length]?.sse.createConnection(`client-${n}`, OPEN_SINK, { topics, user: `user-${n % 1_000}` });
}
const [first] = nodes;
if (first === undefined) throw new Error('there is no node');
const server = first.app.listen(0, '127.0.0.1');
await once(server, 'listening');

/** A cluster at work: sends to connections of every node, and publications to some topics. */
const work = setInterval(() => {
  for (const { sse } of nodes) {
    const n = Math.floor(Math.random() * connections);
    void sse.sendMessageToConnection(`client-${n}`, 'note', { n });
    void sse.publish(`topic-${n % TOPICS}`, 'headline', { n });
  }
}, 50);

const executablePath = process.env['CHROMIUM_PATH'] ?? '/usr/bin/chromium';
const browser = await chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-gpu'] });
const page = await browser.newPage({ viewport: { width: 1280, height: 900 } });
await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/console/`);
await page.getByText('live', { exact: true }).waitFor();
await page.evaluate(`
  window.frames50 = { frames: 0, long: 0, tasks: 0 };
  let before = performance.now();
  const frame = now => {
    window.frames50.frames += 1;
    window.frames50.long += now - before > ${LONG_MS};
    before = now;
    requestAnimationFrame(frame);
  };
  requestAnimationFrame(frame);
  new PerformanceObserver(list => (window.frames50.tasks += list.getEntries().length)).observe({ type: 'longtask' });`);

console.log(`${connections} connections on ${nodes.length} nodes, ${seconds} s for each view`);
for (const view of ['Overview', 'Connections', 'Topics and log', 'Sources', 'Sends']) {
  await page.getByRole('link', { name: view, exact: true }).click();
  await report(view, () => sleep(seconds * 1_000));
}
await page.getByRole('link', { name: 'Connections', exact: true }).click();
await report('a search and ten pages of connections', () => searchAndTurn(page));
clearInterval(work);
await browser.close();
server.close();
await Promise.all(nodes.map(({ sse }) => sse.close()));

async function searchAndTurn(shown: Page): Promise<void> {
  await shown.getByLabel('Search').pressSequentially('client-4', { delay: 50 });
  const matching = Array.from({ length: connections }, (_, n) => n).filter(n => String(n).startsWith('4')).length;
  await shown.getByText(` of ${matching.toLocaleString('en')} that match`).waitFor();
  for (let turn = 1; turn <= 10; turn += 1) {
    await shown.getByRole('button', { name: 'Next' }).click();
    await shown.getByText(new RegExp(`^${turn * 50 + 1} to `)).waitFor();
  }
}

/** What the page counted while something happened. */
async function report(name: string, happens: () => Promise<void>): Promise<void> {
  await page.evaluate('Object.assign(window.frames50, { frames: 0, long: 0, tasks: 0 })');
  const startedAt = performance.now();
  await happens();
  const counted = await page.evaluate<{ frames: number; long: number; tasks: number }>('window.frames50');
  const { frames, long, tasks } = counted;
  const took = ((performance.now() - startedAt) / 1_000).toFixed(1);
  console.log(`${name}: ${frames} frames in ${took} s, ${long} over ${LONG_MS} ms; tasks over ${LONG_MS} ms: ${tasks}`);
}
