/**
 * What the cluster costs Redis: memory, calls, time of each script, traffic at rest. Prints tables, and with `--write`
 * puts them into docs/redis.md. `node dist/test/soak/redis-figures.js [--write]`; takes about three minutes.
 */
import { randomUUID } from 'node:crypto';
import type { RedisCoordinator } from '../../src/cluster/redis/cluster.js';
import { RedisGateway } from '../../src/cluster/redis/gateway.js';
import {
  lockScript,
  countScript,
  historyScript,
  lookScript,
  ownedScript,
  publishScript,
  publishUnkeptScript,
  reapScript,
  resolveScript,
  expireScript,
  reconcileScript,
} from '../../src/cluster/redis/scripts.js';
import { writeSection } from '../support/doc-section.js';
import { markdownTable } from '../support/markdown.js';
import { RecordingListener } from '../support/recording-listener.js';
import { gatewayOptions } from '../support/redis/gateway-options.js';
import { bytesPerRoute, costOf, idleTraffic, inBatches } from '../support/redis/redis-costs.js';
import { RedisNodes } from '../support/redis/redis-nodes.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { ScriptBench } from '../support/redis/script-bench.js';

const ROUTES = 100_000;
const NODES = 8;
const CALLS = 5_000;
const server = await RedisServer.start();

function table(name: string, head: readonly string[], rows: readonly (readonly unknown[])[]): void {
  const text = markdownTable(head, rows);
  console.log(`\n${text}`);
  if (process.argv.includes('--write')) writeSection('redis', name, text);
}

async function memory(): Promise<void> {
  const rows: unknown[][] = [];
  for (const partitions of [1, 16]) {
    const bytes = await bytesPerRoute(server, ROUTES, partitions);
    rows.push([partitions, ROUTES.toLocaleString('en'), bytes.toFixed(0)]);
  }
  table('memory', ['partitions', 'routes', 'bytes per route'], rows);
}

/** What an operation of a node asks of Redis: everything that a client sends, the node's own heartbeats left out. */
async function calls(): Promise<void> {
  const settings = { node: { heartbeat: 60_000, lease: 180_000 } };
  const nodes = new RedisNodes(() => ({ url: server.url }), settings);
  const node: RedisCoordinator = await nodes.node('a');
  const other = await nodes.node('b');
  const listener = new RecordingListener();
  listener.connections.set('c0', 't0');
  await node.start(listener);
  await other.start(new RecordingListener());
  const body = Buffer.from('data: x\n\n');
  const retention = { maxEntries: 100, ttl: 60_000 };
  const unkept = { topic: 'news', body, retention: false } as const;
  const frame = { bytes: body };
  const message = { connectionId: 'c0', frame, deadline: 3_000 };
  const register = (n: number) =>
    node.routes.register({ connectionId: `c${n}`, token: `t${n}`, onDuplicate: 'takeover' });
  await register(0);
  await other.log.subscribe(['news']);
  const operations: readonly (readonly [string, (n: number) => Promise<unknown>])[] = [
    ['registration', n => register(n + 1)],
    ['registration that takes over', n => register2(other, n + 1)],
    ['release of a route', n => other.routes.unregister(`c${n + 1}`, `u${n + 1}`)],
    ['send, acknowledged', n => other.messenger.send({ ...message, messageId: `m${n}`, ack: 'owner' })],
    ['send, `ack: none`', n => other.messenger.send({ ...message, messageId: `n${n}`, ack: 'none' })],
    ['publication or broadcast', () => node.log.publish({ topic: 'news', body, retention })],
    ['publication that is not kept', () => node.log.publish(unkept)],
    ['publication that is not kept, with a key', n => node.log.publish({ ...unkept, idempotencyKey: `k${n}` })],
    ['`isConnected`', () => node.routes.locate('c0')],
    ['cluster-wide count', () => node.routes.count()],
    ['command to the owner', () => other.messenger.subscribe('c0', 'sport')],
  ];
  const rows: unknown[][] = [];
  for (const [name, call] of operations) {
    // The count of the nodes is asked once per heartbeat.
    await call(1_000);
    await server.admin.config('RESETSTAT');
    const times = 100;
    await inBatches(times, call);
    const stats = await server.admin.info('commandstats');
    const of = (command: string): number => Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
    const scripts = (of('evalsha') + of('eval')) / times;
    rows.push([name, scripts, (of('publish') / times).toFixed(2)]);
  }
  await nodes.dispose();
  const head = ['operation', 'script calls', 'publications, those of the scripts included'];
  table('calls', head, rows);
}

function register2(node: RedisCoordinator, n: number) {
  return node.routes.register({ connectionId: `c${n}`, token: `u${n}`, onDuplicate: 'takeover' });
}

async function scripts(): Promise<void> {
  const gateway = new RedisGateway(gatewayOptions({ url: server.url }));
  await gateway.open();
  const bench = new ScriptBench(gateway, server.admin);
  const partition = bench.partition(0);
  const nodes = Array.from({ length: NODES }, (_, n) => bench.node(`n${n}~${'0'.repeat(20)}`));
  for (const node of nodes) await node.lease();
  const [a, b] = nodes;
  if (a === undefined || b === undefined) throw new Error('two nodes are needed');
  const ids = Array.from({ length: 10_000 }, () => randomUUID());
  const id = (n: number): string => ids[n % ids.length] ?? '';
  const payload = Buffer.from(`data: ${'x'.repeat(200)}\n\n`);
  const log = { meta: bench.keys.logMeta, metaMs: 60_000, newEpoch: 'e1', failoverJumpMs: 1, evicts: false };
  const topic = bench.keys.topic('t');
  const subscribers = { pubCommand: 'PUBLISH', channel: bench.keys.topicChannel('t') } as const;
  const publish = () =>
    gateway.run(publishScript, {
      ...log,
      topic,
      payload,
      maxEntries: 1_000,
      maxAgeMs: 60_000,
      streamMs: 60_000,
      ...subscribers,
      idempotency: log.meta,
      idempotencyMs: 0,
    });
  const publishUnkept = (n: number) => {
    const mark = bench.keys.unkeptMark('t', String(n));
    return gateway.run(publishUnkeptScript, { mark, frame: payload, ...subscribers, ms: 60_000 });
  };
  const batch = (n: number, size: number) =>
    Array.from({ length: size }, (_, at) => ({ conn: id(n * size + at), tok: 't' }));
  const many = Array.from({ length: 1_000 }, (_, n) => bench.keys.topic(`t${n}`).last);
  const history = (limit: number) =>
    gateway.run(historyScript, {
      meta: log.meta,
      topics: [topic],
      after: [{ ms: 0, sequence: 0 }],
      epoch: 'e1',
      limit,
      bytes: 262_144,
    });
  const gen = (): string => b.gen();
  const epoch = (): string => b.believed()?.epoch ?? '';
  const own = { partition, gen: '', offset: 0, limit: 500 };
  const all: readonly (readonly [string, number, (n: number) => Promise<unknown>])[] = [
    ['lease', CALLS, () => a.lease()],
    ['register, new', 10_000, n => a.register(id(n), 't')],
    ['register, takeover', 10_000, n => b.register(id(n), 't', { takeoverLimit: 500, numsub: 'NUMSUB' })],
    ['refresh, 200 routes', 300, n => b.refresh(batch(n, 200))],
    ['refresh that compares 500', 300, n => b.refresh(batch(n % 20, 500), { ttlMs: 0 })],
    ['owned, 500 routes', 300, () => gateway.run(ownedScript, { ...own, gen: gen() })],
    ['resolve', CALLS, n => gateway.run(resolveScript, { partition, epoch: epoch(), conns: [id(n)] })],
    ['send, 200 bytes', CALLS, n => b.send({ conn: id(n), payload })],
    [`count, ${NODES} nodes`, CALLS, () => gateway.run(countScript, { partition, graceMs: 0 })],
    ['expire, 300 routes', 300, () => gateway.run(expireScript, { partition, count: 300 })],
    [
      'reconcile, 200 routes',
      300,
      () => gateway.run(reconcileScript, { partition, count: 200, repairs: 0, graceMs: 0 }),
    ],
    [
      'reap, nothing to do',
      CALLS,
      () => gateway.run(reapScript, { partition, limit: 200, overBy: Date.now(), self: undefined }),
    ],
    ['unregister', CALLS, n => b.unregister(id(n), 't')],
    ['reap, 200 routes', 20, () => gateway.run(reapScript, { partition, limit: 200, overBy: 0, self: b.inc })],
    ['lock', CALLS, () => gateway.run(lockScript, { lock: bench.keys.lock('x'), holder: 'a', ms: 60_000 })],
    ['publish, 200 bytes', CALLS, publish],
    ['publish-unkept, 200 bytes', CALLS, publishUnkept],
    ['look, head', CALLS, () => gateway.run(lookScript, { ...log, forgets: log.meta, last: [] })],
    ['look, 1000 topics', 300, () => gateway.run(lookScript, { ...log, forgets: log.meta, last: many })],
    ['history, 200 entries', 300, () => history(200)],
  ];
  const rows: unknown[][] = [];
  for (const [name, times, call] of all) {
    const { calls: counted, mean, p50, p99, cpu } = await costOf(server, times, call);
    rows.push([name, counted, ...[cpu, p50, mean, p99].map(micros => micros.toFixed(0))]);
  }
  await gateway.close();
  await server.admin.flushall();
  const head = ['script', 'calls', 'processor µs', 'median µs', 'mean µs', '99 % within µs'];
  table('scripts', head, rows);
}

async function traffic(): Promise<void> {
  const beats = 20;
  const heartbeat = 500;
  const places = [
    [1, 100],
    [2, 100],
    [4, 100],
    [8, 100],
    [1, 1_000],
    [1, 10_000],
  ] as const;
  const rows: unknown[][] = [];
  for (const [nodes, connections] of places) {
    const load = { nodes, connections, heartbeat, beats };
    const { rest, comparison } = await idleTraffic(server, load);
    const perBeat = (value: number): string => (value / beats).toFixed(2);
    const numbers = [perBeat(rest.scripts), perBeat(rest.bytesIn), rest.publications];
    rows.push([nodes, connections, ...numbers, comparison.scripts]);
  }
  const head = [
    'nodes',
    'connections',
    'script calls per heartbeat',
    'bytes to Redis per heartbeat',
    `probes in ${(beats * heartbeat) / 1_000} s`,
    'script calls of one comparison of one node',
  ];
  table('traffic', head, rows);
}

await memory();
await calls();
await scripts();
await traffic();
await server.stop();
