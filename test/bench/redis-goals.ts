/**
 * The goals of the Redis half, in one run: registrations and sends beside ioredis alone, and with `CENTRIFUGO` in the
 * environment publications and resumes beside that program, in turn on the same Redis. Prints ratios, writes nothing.
 *
 *   node dist/test/bench/redis-goals.js [--rounds 5] [--operations 10000] [--clients 1000]
 *   CENTRIFUGO=~/go/bin/centrifugo node dist/test/bench/redis-goals.js
 */
import { parseArgs } from 'node:util';
import { EventStreamClient } from '../support/event-stream-client.js';
import { markdownTable } from '../support/markdown.js';
import { BenchClients } from './client/bench-clients.js';
import { CentrifugoNode } from './cluster/centrifugo.js';
import { ClusterRound } from './cluster/cluster-round.js';
import { MeasureThroughput } from './cluster/measure-throughput.js';
import { benchData, dataOf } from './servers/bench-event.js';
import { summarize } from './statistics.js';

const { values: flags } = parseArgs({
  options: {
    rounds: { type: 'string', default: '5' },
    operations: { type: 'string', default: '10000' },
    clients: { type: 'string', default: '1000' },
  },
});
const operations = Number(flags.operations);
const clientCount = Number(flags.clients);
const program = process.env['CENTRIFUGO'];
const RESUMED = 300;
const KEPT = 1_000;

/** What one contender needs: microseconds of processor time for each publication, and for a resume of all clients. */
interface Costs {
  readonly redisKept: number;
  readonly redisUnkept: number;
  readonly nodeKept: number;
  readonly nodeUnkept: number;
  readonly resume: number;
  readonly resumeMs: number;
}

/** A contender: publishes on one node, and has clients on the other. */
interface Contender {
  readonly port: number;
  readonly path: string;
  publish(what: 'kept' | 'unkept' | '1kb', count: number): Promise<unknown>;
  cpu(): number | Promise<number>;
  /** How clients come that miss everything that is published from now on. */
  position(): Promise<{ readonly path: string; readonly lastEventId?: string }>;
}

const figures = new Map<string, number[]>();
const note = (name: string, value: number): void => {
  figures.set(name, [...(figures.get(name) ?? []), value]);
};

for (let number = 1; number <= Number(flags.rounds); number += 1) {
  console.log(`round ${number}`);
  await ratiosToIoredis();
  if (program !== undefined) await ratiosToCentrifugo(program);
}
const rows: string[][] = [];
row('registrations per second ÷ bare `SET`', '≥ 0.8', 'register', 'raw-set');
row('acknowledged sends per second ÷ ioredis round trips', '≥ 0.6', 'send', 'raw-round-trip');
row("sends with `ack: 'none'` per second ÷ ioredis `PUBLISH`", '≥ 0.8', 'send-none', 'raw-publish');
if (program !== undefined) {
  const goals: readonly (readonly [keyof Costs, string, string])[] = [
    ['redisKept', 'Redis CPU µs per kept publication', '≤ 1.3'],
    ['redisUnkept', 'Redis CPU µs per publication that is not kept', '≤ 1.3'],
    ['nodeKept', 'CPU µs of the receiving node, one subscriber, kept', '≤ 2'],
    ['nodeUnkept', 'CPU µs of the receiving node, one subscriber, not kept', '≤ 2'],
    ['resume', `CPU ms of node and Redis, ${clientCount} clients resume ${RESUMED} events of 1 kB`, '≤ 0.5'],
    ['resumeMs', 'the same, ms until all have everything', '–'],
  ];
  for (const [name, what, goal] of goals) row(`${what} ÷ Centrifugo`, goal, name, `centrifugo-${name}`);
}
console.log(`\n${markdownTable(['what', 'goal', 'measured', 'spread', 'figures'], rows)}`);

function row(what: string, goal: string, name: string, base: string): void {
  const [own = [], other = []] = [figures.get(name), figures.get(base)];
  const { median, spread } = summarize(own.map((value, at) => value / (other[at] ?? Number.NaN)));
  const pair = [own, other].map(values => summarize(values).median.toFixed(1)).join(' / ');
  rows.push([what, goal, median.toFixed(2), `±${(spread * 100).toFixed(0)} %`, pair]);
}

async function ratiosToIoredis(): Promise<void> {
  const round = await ClusterRound.start();
  try {
    const raw = await round.pair('raw-node');
    const library = await round.pair('library-node');
    const client = round.clients();
    await client.open({ port: library.receiver.port, path: '/target' }, 1);
    const measured = await new MeasureThroughput(raw, library, client, round.meter, 0).run(operations);
    for (const [kind, { perSecond = 0 }] of Object.entries(measured)) note(kind, perSecond);
  } finally {
    await round.stop();
  }
}

async function ratiosToCentrifugo(path: string): Promise<void> {
  const own = await ownCosts();
  for (const [name, value] of Object.entries(own)) note(name, Number(value));
  const theirs = await centrifugoCosts(path);
  for (const [name, value] of Object.entries(theirs)) note(`centrifugo-${name}`, Number(value));
}

async function ownCosts(): Promise<Costs> {
  const round = await ClusterRound.start();
  try {
    const { sender, receiver } = await round.pair('library-node');
    const kinds = { kept: 'publish-history', unkept: 'publish', '1kb': 'publish-1kb' } as const;
    const contender: Contender = {
      port: receiver.port,
      path: '/',
      publish: (what, count) => sender.many(kinds[what], count),
      cpu: () => receiver.cpu(),
      position: async () => {
        const witness = await EventStreamClient.open(`http://127.0.0.1:${receiver.port}/`);
        await sender.many('publish-history', 1);
        const { id } = await witness.event('tick');
        witness.leave();
        return id === undefined ? { path: '/' } : { path: '/', lastEventId: id };
      },
    };
    const kept = await publications(round, contender, 'kept');
    const unkept = await publications(round, contender, 'unkept');
    return { ...costsOf(kept, unkept), ...(await resume(round, contender)) };
  } finally {
    await round.stop();
  }
}

async function centrifugoCosts(path: string): Promise<Costs> {
  const kept = await withCentrifugo(path, KEPT, async (round, contender) => ({
    ...(await publications(round, contender, 'kept')),
    ...(await resume(round, contender)),
  }));
  const unkept = await withCentrifugo(path, 0, (round, contender) => publications(round, contender, 'unkept'));
  return { ...costsOf(kept, unkept), resume: kept.resume, resumeMs: kept.resumeMs };
}

async function withCentrifugo<T>(
  path: string,
  keeps: number,
  work: (round: ClusterRound, contender: Contender) => Promise<T>,
): Promise<T> {
  const round = await ClusterRound.start();
  const a = await CentrifugoNode.start(path, round.redis.url, keeps);
  const b = await CentrifugoNode.start(path, round.redis.url, keeps);
  try {
    return await work(round, {
      port: b.port,
      path: b.path(),
      publish: (what, count) => a.publish(count, what === '1kb' ? number => dataOf(number, 1_000) : benchData),
      cpu: () => b.cpu(),
      position: async () => ({ path: b.path(await b.position()) }),
    });
  } finally {
    await Promise.all([a.stop(), b.stop()]);
    await round.stop();
  }
}

type Publications = Readonly<Record<'redis' | 'node', number>>;

function costsOf(kept: Publications, unkept: Publications) {
  return { redisKept: kept.redis, redisUnkept: unkept.redis, nodeKept: kept.node, nodeUnkept: unkept.node };
}

async function publications(round: ClusterRound, contender: Contender, what: 'kept' | 'unkept'): Promise<Publications> {
  const { port, path } = contender;
  const clients = BenchClients.start();
  try {
    await clients.open({ port, path }, 1);
    const warmUp = operations;
    await contender.publish(what, warmUp);
    await clients.completed(warmUp);
    const before = await contender.cpu();
    const { cpuUs } = await round.meter.during(async () => {
      await contender.publish(what, operations);
      await clients.completed(warmUp + operations);
    });
    return { redis: cpuUs / operations, node: ((await contender.cpu()) - before) / operations };
  } finally {
    await clients.stop();
  }
}

async function resume(round: ClusterRound, contender: Contender) {
  const [follower, first, clients] = [BenchClients.start(), BenchClients.start(), BenchClients.start()];
  try {
    // The node follows the topic, as one with clients does.
    await follower.open({ port: contender.port, path: contender.path }, 1);
    const from = await contender.position();
    await contender.publish('1kb', RESUMED);
    await first.open({ port: contender.port, ...from }, Math.ceil(clientCount / 4));
    await first.completed(RESUMED);
    await first.stop();
    const before = await contender.cpu();
    const begun = performance.now();
    const { cpuUs } = await round.meter.during(async () => {
      await clients.open({ port: contender.port, ...from }, clientCount);
      await clients.completed(RESUMED);
    });
    const resumeMs = performance.now() - begun;
    return { resume: (cpuUs + (await contender.cpu()) - before) / 1_000, resumeMs };
  } finally {
    await Promise.all([follower, first, clients].map(each => each.stop()));
  }
}
