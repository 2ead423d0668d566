/**
 * What the ordered log costs: `node dist/test/bench/log.js [rounds]`, 5 by default. Two nodes in this process, one
 * publishes and one is subscribed, on a Redis of its own; prints a Markdown table of medians.
 */
import type { RedisCoordinator } from '../../src/cluster/redis/cluster.js';
import type { Retention } from '../../src/contracts/cluster.js';
import { encodeEvent } from '../../src/protocol/event-stream.js';
import { RecordingListener } from '../support/recording-listener.js';
import { RedisNodes } from '../support/redis/redis-nodes.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { until } from '../support/until.js';
import { summarize } from './statistics.js';

const [rounds = 5] = process.argv.slice(2).map(Number);
const EVENTS = 20_000;
const IN_FLIGHT = 50;
const BODY_BYTES = 200;
const REPLAY_PAGE = 200;
const RETENTION: Retention = { maxEntries: 1_000_000, ttl: 600_000 };

const redis = await RedisServer.start();
const nodes = new RedisNodes(() => ({ url: redis.url }));
const figures = new Map<string, number[]>();
const note = (name: string, value: number): void => {
  figures.set(name, [...(figures.get(name) ?? []), value]);
};
const head = encodeEvent({ event: 'message', data: '' }).length;
const body = encodeEvent({ event: 'message', data: 'x'.repeat(BODY_BYTES - head) });

for (let round = 0; round < rounds; round += 1) {
  await redis.admin.flushall();
  const publisher = await nodes.node('publisher');
  const subscriber = await nodes.node('subscriber');
  const listener = new RecordingListener();
  await publisher.start(new RecordingListener());
  await subscriber.start(listener);
  await subscriber.log.subscribe(['news']);
  // The first calls load the script and warm the compiler.
  await publishAll(publisher, 2_000, RETENTION);
  await until(() => listener.publications.length >= 2_000, 'the warm-up');

  for (const [name, retention] of [
    ['with history', RETENTION],
    ['without', false],
  ] as const) {
    listener.publications.length = 0;
    const memory = await used();
    const cpu = await cpuMicros();
    const begun = performance.now();
    await publishAll(publisher, EVENTS, retention);
    const seconds = (performance.now() - begun) / 1_000;
    await until(() => listener.publications.length >= EVENTS, 'everything', 30_000);
    note(`publishes per second, ${name}`, EVENTS / seconds);
    note(`Redis CPU per publish, µs, ${name}`, ((await cpuMicros()) - cpu) / EVENTS);
    if (retention !== false) note('Redis memory per kept entry, bytes', ((await used()) - memory) / EVENTS);
  }
  await replayAll(publisher);
  await nodes.dispose();
}
await redis.stop();

console.log(`| ${rounds} rounds, events of ${BODY_BYTES} bytes | median | spread |\n|---|---|---|`);
for (const [name, values] of figures) {
  const { median, spread } = summarize(values);
  const digits = median < 100 ? 1 : 0;
  console.log(`| ${name} | ${median.toFixed(digits)} | ±${(spread * 100).toFixed(0)} % |`);
}

async function publishAll(node: RedisCoordinator, count: number, retention: Retention | false): Promise<void> {
  let left = count;
  const worker = async (): Promise<void> => {
    while (left > 0) {
      left -= 1;
      await node.log.publish({ topic: 'news', body, retention });
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, worker));
}

/** Pages as a connection that resumes reads them, one after the other. */
async function replayAll(node: RedisCoordinator): Promise<void> {
  const { head } = await node.log.replay({ topics: [], limit: 1 });
  let after = { epoch: head.epoch, ms: 0, sequence: 0 };
  let entries = 0;
  const cpu = await cpuMicros();
  const begun = performance.now();
  for (;;) {
    const page = await node.log.replay({
      topics: ['news'],
      after,
      limit: REPLAY_PAGE,
      broadcasts: false,
    });
    entries += page.frames.length;
    if (page.completeTo.sequence === page.head.sequence) break;
    after = { epoch: page.head.epoch, ms: page.completeTo.ms, sequence: page.completeTo.sequence };
  }
  note('replayed entries per second', (entries / (performance.now() - begun)) * 1_000);
  note('Redis CPU per replayed entry, µs', ((await cpuMicros()) - cpu) / entries);
}

async function used(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.admin.info('memory'))?.[1]);
}

/** Of the thread that runs commands and scripts. */
async function cpuMicros(): Promise<number> {
  const info = await redis.admin.info('cpu');
  const seconds = (which: string): number =>
    Number(new RegExp(`used_cpu_${which}_main_thread:([\\d.]+)`).exec(info)?.[1]);
  return (seconds('sys') + seconds('user')) * 1_000_000;
}
