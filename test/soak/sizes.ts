/**
 * Storms in the sizes of large clusters: `node dist/test/soak/sizes.js [storm [clients] | flush [routes] | restart [topics]]`,
 * all three by default. Exits with 1 when a value is wrong.
 *
 * - `storm`: 1,000 clients come back at once for 300 events of 10 kB. Each connects once, and the node is ready throughout.
 * - `flush`: Redis loses 30,000 routes. No send is `not-connected` until they are written again.
 * - `restart`: Redis starts again under a node with 500,000 subscriptions. All of them come back.
 */
import type { RedisCoordinator } from '../../src/cluster/redis/cluster.js';
import { BenchClients } from '../bench/client/bench-clients.js';
import { ClusterRound } from '../bench/cluster/cluster-round.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { RecordingListener } from '../support/recording-listener.js';
import { RedisNodes } from '../support/redis/redis-nodes.js';
import { RedisServer } from '../support/redis/redis-server.js';
import { until } from '../support/until.js';

const RESUMED = 300;
const PORTION = 10_000;
const LONGEST_MS = 120_000;
let good = true;

const SIZES = {
  storm: [1_000, storm],
  flush: [30_000, flush],
  restart: [500_000, restart],
} as const;
const [chosen, size] = process.argv.slice(2);
for (const [name, [usual, run]] of Object.entries(SIZES)) {
  if (chosen !== undefined && chosen !== name) continue;
  const begun = performance.now();
  const { isRight, ...figures } = await run(Number(size ?? usual));
  console.log(name, size ?? usual, isRight ? 'right' : 'WRONG', { ...figures, allMs: since(begun) });
  good &&= isRight;
}
process.exitCode = good ? 0 : 1;

/** A socket that closes ends the process of the clients, so each connects once. */
async function storm(count: number) {
  const round = await ClusterRound.start();
  const clients = BenchClients.start();
  try {
    const { sender, receiver } = await round.pair('library-node');
    const { port } = receiver;
    const witness = await EventStreamClient.open(`http://127.0.0.1:${port}/`);
    await sender.many('publish-history', 1);
    const { id = '' } = await witness.event('tick');
    await sender.many('publish-10kb', RESUMED);
    const looks = { ready: 0, not: 0 };
    const timer = setInterval(() => {
      void receiver.ask<boolean>('ready').then(ready => (looks[ready ? 'ready' : 'not'] += 1));
    }, 50);
    const before = await receiver.cpu();
    const begun = performance.now();
    const redis = await round.meter.during(async () => {
      await clients.open({ port, path: '/', lastEventId: id }, count, count);
      await clients.completed(RESUMED);
    });
    const stormMs = since(begun);
    clearInterval(timer);
    const nodeCpuMs = Math.round(((await receiver.cpu()) - before) / 1_000);
    witness.leave();
    const received = await clients.received();
    const isRight = received === count * RESUMED && looks.not === 0;
    return { isRight, stormMs, nodeCpuMs, redisCalls: redis.scripts, redisCpuMs: redis.cpuUs / 1_000, looks };
  } finally {
    await clients.stop();
    await round.stop();
  }
}

async function flush(count: number) {
  const server = await RedisServer.start();
  const nodes = new RedisNodes(() => ({ url: server.url }));
  try {
    const a = await started(nodes, 'a', new RecordingListener());
    const listener = new RecordingListener();
    const b = await started(nodes, 'b', listener);
    const ids = Array.from({ length: count }, (_, n) => `c${n}`);
    await inPortions(ids, async some => {
      const register = async (connectionId: string): Promise<void> => {
        listener.connections.set(connectionId, connectionId);
        const result = await b.routes.register({ connectionId, token: connectionId, onDuplicate: 'takeover' });
        if (result.outcome === 'registered') listener.fencingTokens.set(connectionId, result.fencingToken);
      };
      await Promise.all(some.map(register));
    });
    await server.admin.flushall();
    const begun = performance.now();
    const outcomes: Record<string, number> = {};
    for (let n = 0, row = 0; row < 500 && since(begun) < LONGEST_MS; n += 1) {
      const connectionId = ids[(n * 7_919) % count] ?? '';
      const message = {
        connectionId,
        messageId: `m${n}`,
        frame: { bytes: Buffer.from('data: x\n\n') },
        deadline: 1_000,
      };
      const { outcome } = await a.messenger.send({ ...message, ack: 'owner' });
      outcomes[outcome] = (outcomes[outcome] ?? 0) + 1;
      row = outcome === 'delivered' ? row + 1 : 0;
    }
    const isRight = outcomes['not-connected'] === undefined && (await a.routes.count()) === count;
    return { isRight, writtenAgainMs: since(begun), outcomes };
  } finally {
    await nodes.dispose();
    await server.stop();
  }
}

async function restart(count: number) {
  let server = await RedisServer.start();
  const { port } = server;
  const nodes = new RedisNodes(() => ({ url: `redis://127.0.0.1:${port}` }));
  try {
    const node = await started(nodes, 'a', new RecordingListener());
    const topics = Array.from({ length: count }, (_, n) => `t${n}`);
    await inPortions(topics, some => node.log.subscribe(some));
    await server.stop();
    server = await RedisServer.start({ port });
    const begun = performance.now();
    await until(() => node.status().reachable && node.log.position() !== undefined, 'the feed', LONGEST_MS);
    const backMs = since(begun);
    const subscribed = /pubsub_channels:(\d+)/.exec(await server.admin.info('stats'))?.[1];
    return { isRight: Number(subscribed) >= count, backMs, subscribed };
  } finally {
    await nodes.dispose();
    await server.stop();
  }
}

async function started(nodes: RedisNodes, id: string, listener: RecordingListener): Promise<RedisCoordinator> {
  const node = await nodes.node(id);
  await node.start(listener);
  return node;
}

async function inPortions(items: readonly string[], work: (some: string[]) => Promise<unknown>): Promise<void> {
  for (let from = 0; from < items.length; from += PORTION) await work(items.slice(from, from + PORTION));
}

function since(begun: number): number {
  return Math.round(performance.now() - begun);
}
