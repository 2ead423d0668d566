import { randomUUID } from 'node:crypto';
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { SseError } from '../../../src/errors.js';
import { retry } from '../../../src/time.js';
import { RecordingListener } from '../recording-listener.js';
import { BenchNode } from './bench-node.js';
import { gatewayOptions } from './gateway-options.js';
import { RedisNodes } from './redis-nodes.js';
import type { RedisServer } from './redis-server.js';
import { ScriptBench } from './script-bench.js';

const AT_ONCE = 200;
/** What clients asked of a Redis during some time. */
export interface Traffic {
  readonly scripts: number;
  readonly publications: number;
  readonly bytesIn: number;
}

/** What one kind of command cost a Redis. */
export interface CommandCost {
  readonly calls: number;
  /** Microseconds, by Redis' own count: with the time for which the machine gave its core to others. */
  readonly mean: number;
  readonly p50: number;
  readonly p99: number;
}

/** Bytes that Redis needs for each of so many routes of connections with UUIDs as ids, everything included. */
export async function bytesPerRoute(server: RedisServer, routes: number, partitions = 1): Promise<number> {
  const gateway = new RedisGateway(gatewayOptions({ url: server.url }));
  await gateway.open();
  const bench = new ScriptBench(gateway, server.admin, partitions);
  try {
    const node = new BenchNode(bench, `node~${'0'.repeat(20)}`);
    for (const partition of bench.keys.partitions) await node.lease({ partition });
    const before = await memory(server);
    await inBatches(routes, n => {
      const id = randomUUID();
      return node.register(id, n.toString(36), { partition: bench.keys.partitionOf(id) });
    });
    return ((await memory(server)) - before) / routes;
  } finally {
    await bench.clean();
    await gateway.close();
  }
}

/** Bytes that Redis needs for each of so many topics with these events, everything included. */
export async function bytesPerTopic(server: RedisServer, topics: number, events: readonly string[]): Promise<number> {
  const nodes = new RedisNodes(() => ({ url: server.url }));
  const coordinator = await nodes.node('a');
  try {
    await coordinator.start(new RecordingListener());
    const before = await memory(server);
    for (const event of events) {
      await inBatches(topics, n =>
        coordinator.log.publish({
          topic: `topic-${n}`,
          body: Buffer.from(event),
          retention: { maxEntries: 1_000, ttl: 300_000 },
        }),
      );
    }
    return ((await memory(server)) - before) / topics;
  } finally {
    await nodes.dispose();
  }
}

/** Nodes at rest, and for how long they are watched. */
export interface Rest {
  readonly nodes: number;
  /** Of all nodes together. */
  readonly connections: number;
  /** Milliseconds between two of their heartbeats; their probes come every five seconds whatever this is. */
  readonly heartbeat: number;
  readonly beats: number;
}

/** What nodes that have connections, and nothing to do, ask of a Redis, and what a comparison of one of them asks. */
export async function idleTraffic(
  server: RedisServer,
  { nodes, connections, heartbeat, beats }: Rest,
): Promise<{ readonly rest: Traffic; readonly comparison: Traffic }> {
  const lease = 3 * heartbeat;
  const made = new RedisNodes(() => ({ url: server.url }), { node: { heartbeat, lease } });
  const started: RedisCoordinator[] = [];
  try {
    for (let n = 0; n < nodes; n += 1) {
      const node = await made.node(`n${n}`);
      const listener = new RecordingListener();
      await node.start(listener);
      started.push(node);
      await inBatches(connections / nodes, async at => {
        await connectTo(node, listener, `c${n}-${at}`, at.toString(36));
      });
    }
    // Only then do they look for dead nodes, too.
    await delay(2 * lease);
    const rest = await trafficOf(server, () => delay(beats * heartbeat));
    const check = { scope: 'node', maxRepairs: 0, settle: 0, sample: 1, notify: false } as const;
    // The first compares everything.
    await started[0]?.selfCheck.reconcile(check);
    const comparison = await trafficOf(server, () => started[0]?.selfCheck.reconcile(check));
    return { rest, comparison };
  } finally {
    await made.dispose();
  }
}

/** What is asked of a Redis while something is done. */
export async function trafficOf(server: RedisServer, work: () => Promise<unknown> | undefined): Promise<Traffic> {
  await server.admin.config('RESETSTAT');
  await work();
  const stats = await server.admin.info('commandstats');
  const network = await server.admin.info('stats');
  const calls = (command: string): number =>
    Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(stats)?.[1] ?? 0);
  return {
    scripts: calls('evalsha') + calls('eval'),
    publications: calls('publish'),
    bytesIn: Number(/total_net_input_bytes:(\d+)/.exec(network)?.[1] ?? 0),
  };
}

/** The same with microseconds of the processor per call, in which no waiting is, but reading and answering the call is. */
export interface ScriptCost extends CommandCost {
  readonly cpu: number;
}

/** What calls of one script cost; `call` is made so many times, many of them under way together. */
export async function costOf(
  server: RedisServer,
  times: number,
  call: (n: number) => Promise<unknown>,
): Promise<ScriptCost> {
  // The first call of a connection sends the text.
  await call(0);
  await server.admin.config('RESETSTAT');
  const before = await processorTime(server);
  await inBatches(times, n => call(n + 1));
  const cpu = ((await processorTime(server)) - before) / times;
  return { ...(await commandCost(server, 'evalsha')), cpu };
}

/** Microseconds of the processor that the thread of the commands has had. */
async function processorTime(server: RedisServer): Promise<number> {
  const info = await server.admin.info('cpu');
  const times = [...info.matchAll(/used_cpu_(?:user|sys)_main_thread:([\d.]+)/g)];
  return times.reduce((sum, [, seconds]) => sum + Number(seconds) * 1e6, 0);
}

/** What a command has cost since the statistics were begun. */
export async function commandCost(server: RedisServer, command: string): Promise<CommandCost> {
  const stats = await server.admin.info('commandstats');
  const latencies = (await server.admin.call('INFO', 'latencystats')) as string;
  const [, calls = '0', mean = '0'] =
    new RegExp(`cmdstat_${command}:calls=(\\d+),usec=\\d+,usec_per_call=([\\d.]+)`).exec(stats) ?? [];
  const [, p50 = '0', p99 = '0'] = new RegExp(`usec_${command}:p50=([\\d.]+),p99=([\\d.]+)`).exec(latencies) ?? [];
  return { calls: Number(calls), mean: Number(mean), p50: Number(p50), p99: Number(p99) };
}

/** Calls once for each number below `count`, a batch at a time. */
export async function inBatches(count: number, call: (n: number) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < count; from += AT_ONCE) {
    const size = Math.min(AT_ONCE, count - from);
    await Promise.all(Array.from({ length: size }, (_, at) => call(from + at)));
  }
}

/** Registers a connection of a node; once more where a busy machine did not answer in time. */
export function connectTo(
  { routes }: RedisCoordinator,
  { connections }: RecordingListener,
  connectionId: string,
  token: string,
): Promise<unknown> {
  connections.set(connectionId, token);
  return retry(() => routes.register({ connectionId, token, onDuplicate: 'takeover' }), {
    tries: 5,
    pauseMs: 100,
    passing: error => SseError.is(error, 'UNAVAILABLE'),
  });
}

/** Bytes of a Redis without the buffers of its clients. */
async function memory({ admin }: RedisServer): Promise<number> {
  // Statistics of commands that were not used before, and slow calls with their arguments, are no cost of the data.
  await admin.config('RESETSTAT');
  await admin.slowlog('RESET');
  for (;;) {
    // INFO has their size of some time ago. Redis changes buffers by itself, so both looks must agree.
    const buffers = await bufferBytes(admin);
    const info = await admin.info('memory');
    const figure = (name: string): number => Number(new RegExp(`${name}:(\\d+)`).exec(info)?.[1] ?? 0);
    // After a replica of a former suite, writes go on filling a backlog.
    const used = figure('used_memory') - figure('mem_replication_backlog');
    if ((await bufferBytes(admin)) === buffers) return used - buffers;
  }
}

async function bufferBytes(admin: Redis): Promise<number> {
  const clients = String(await admin.client('LIST'));
  return [...clients.matchAll(/ tot-mem=(\d+)/g)].reduce((sum, [, bytes]) => sum + Number(bytes), 0);
}
