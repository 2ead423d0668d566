import { expect } from 'chai';
import type { Backlog, ReplayPage } from '../../../src/contracts/cluster.js';
import type { Cursor } from '../../../src/contracts/events.js';
import { SseError } from '../../../src/errors.js';
import { encodeEvent } from '../../../src/protocol/event-stream.js';
import { retry } from '../../../src/time.js';
import { amount } from '../../support/extent.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const RETENTION = { maxEntries: 10_000, ttl: 300_000 };
const TOPICS = amount(2_000, 10_000);
const CLIENTS = amount(200, 1_000);
const READERS = amount(16, 64);
// As the policy of a node does: a process that reads so much may be late for an answer.
const AGAIN = { tries: 10, pauseMs: 200, passing: (error: unknown) => SseError.is(error, 'UNAVAILABLE') };

describe('reading the log in Redis', function () {
  this.timeout(120_000);
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }));
  // Whose heartbeats read nothing while a test counts what is read.
  const calm = new RedisNodes(() => ({ url: server.redis.url }), { node: { heartbeat: 5_000 } });

  afterEach(async () => {
    await nodes.dispose();
    await calm.dispose();
    await server.redis.admin.flushall();
  });

  const started = async (id: string, made = nodes) => {
    const node = await made.node(id);
    const listener = new RecordingListener();
    await node.start(listener);
    await until(() => node.log.position() !== undefined, 'the node to be live');
    return { node, listener };
  };
  type Started = Awaited<ReturnType<typeof started>>;
  const publish = ({ node }: Started, topic: string, bytes = 20) => {
    const body = encodeEvent({ event: 'message', data: 'x'.repeat(bytes) });
    return node.log.publish({ topic, body, retention: RETENTION });
  };
  const inBatches = async (count: number, call: (n: number) => Promise<unknown>, size = 50) => {
    for (let from = 0; from < count; from += size) {
      await Promise.all(Array.from({ length: Math.min(size, count - from) }, (_, n) => call(from + n)));
    }
  };
  /** Calls of a command so far. */
  const calls = async (command: string): Promise<number> => {
    const info = await server.redis.admin.info('commandstats');
    return Number(new RegExp(`cmdstat_${command}:calls=(\\d+)`).exec(info)?.[1] ?? 0);
  };
  /** Everything that a client at a position missed, as a connection reads it. */
  const resume = async ({ node }: Started, topics: readonly string[], begin: Cursor): Promise<ReplayPage[]> => {
    const pages: ReplayPage[] = [];
    let from = begin;
    for (let goal: Cursor | undefined; ;) {
      const after = from;
      const page = await retry(() => node.log.replay({ topics, after, limit: 200 }), AGAIN);
      pages.push(page);
      goal ??= page.head;
      from = { epoch: page.head.epoch, ms: page.completeTo.ms, sequence: page.completeTo.sequence };
      if (from.sequence >= goal.sequence) return pages;
    }
  };
  const entriesOf = (pages: readonly ReplayPage[]) => pages.flatMap(({ frames }) => frames);

  it(`costs a node that missed 3 entries of each of ${TOPICS} topics calls in proportion to these entries`, async () => {
    const writer = await started('w');
    const reader = await started('r');
    const topics = Array.from({ length: TOPICS }, (_, n) => `t${n}`);
    await reader.node.log.subscribe(topics);
    await server.redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await inBatches(3 * TOPICS, n => publish(writer, `t${n % TOPICS}`));
    await until(() => reader.listener.publications.length >= 3 * TOPICS, 'the entries', 60_000);
    const before = { ranges: await calls('xrange'), output: await output() };
    await reader.node.log.subscribe(['more']);
    const { length } = reader.listener.publications;
    await server.redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await inBatches(3 * TOPICS, n => publish(writer, `t${n % TOPICS}`));
    await until(() => reader.listener.publications.length >= length + 3 * TOPICS, 'the entries', 60_000);
    expect((await calls('xrange')) - before.ranges).to.be.at.most(3 * 2 * TOPICS + 100);
    expect((await output()) - before.output).to.be.below(3 * TOPICS * 500);
    expect(reader.listener.gaps).to.deep.equal([]);
  });

  const output = async (): Promise<number> =>
    Number(/total_net_output_bytes:(\d+)/.exec(await server.redis.admin.info('stats'))?.[1]);

  it('costs a node at rest one call, which no topic makes longer', async () => {
    const reader = await started('r');
    await reader.node.log.subscribe(Array.from({ length: 1_500 }, (_, n) => `t${n}`));
    const mgets = await calls('mget');
    await server.redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(() => reader.node.log.position() === undefined, 'the end of the subscription');
    await until(() => reader.node.log.position() !== undefined, 'the node to be live');
    expect((await calls('mget')) - mgets).to.equal(0);
  });

  it(`serves ${CLIENTS} clients that come back at once by reading each entry about once`, async () => {
    const writer = await started('w', calm);
    const { head } = await writer.node.log.replay({ topics: [], limit: 1 });
    await inBatches(100, () => publish(writer, 'news', 10_000));
    const reader = await started('r', calm);
    await reader.node.log.subscribe(['news']);
    const [ranges, bytes] = [await calls('xrange'), await output()];
    const all = await Promise.all(Array.from({ length: CLIENTS }, () => resume(reader, ['news'], head)));
    for (const pages of all) expect(entriesOf(pages)).to.have.length(100);
    expect((await calls('xrange')) - ranges).to.be.at.most(150);
    expect((await output()) - bytes).to.be.below(3 * 1_000_000);
    const before = await calls('xrange');
    await Promise.all(Array.from({ length: CLIENTS }, () => resume(reader, ['news'], head)));
    expect((await calls('xrange')) - before).to.equal(0);
  });

  it(`gives ${CLIENTS} clients at once a backlog by reading it about once, and ends it at the head of each`, async () => {
    const writer = await started('w');
    const reader = await started('r');
    for (let n = 0; n < 700; n += 1) await publish(writer, `t${n % 40}`, n % 4);
    const topics = Array.from({ length: 50 }, (_, n) => `t${n}`);
    const backlog = (most: Backlog) => reader.node.log.replay({ topics, backlog: { topics, most }, limit: 1 });
    const before = { ranges: await calls('xrevrange'), scripts: await calls('evalsha') };
    const pages = await Promise.all(Array.from({ length: CLIENTS }, () => backlog(600)));
    for (const { frames } of pages) expect(frames).to.have.length(600);
    const sequences = pages[0]?.frames.map(({ position }) => position?.sequence) ?? [];
    expect(sequences).to.deep.equal(Array.from({ length: 600 }, (_, n) => n + 101));
    expect((await calls('xrevrange')) - before.ranges).to.be.at.most(800);
    expect((await calls('evalsha')) - before.scripts).to.be.at.most(CLIENTS + 50);
    expect((await backlog('latest')).frames.map(({ position }) => position?.sequence)).to.deep.equal(
      sequences.slice(-40),
    );
    const few = await calls('xrevrange');
    expect((await backlog(3)).frames).to.have.length(3);
    expect((await calls('xrevrange')) - few).to.be.at.most(40);
    await publish(writer, 'other');
    const [first, second] = [backlog(2), publish(writer, 't0').then(() => backlog(2))];
    expect((await second).frames.at(-1)?.position?.sequence).to.equal(702);
    expect((await first).frames.at(-1)?.position?.sequence).to.be.oneOf([700, 702]);
  });

  it('costs a client that missed 3 entries of each of 128 topics calls in proportion to these entries', async () => {
    const writer = await started('w', calm);
    const reader = await started('r', calm);
    const topics = Array.from({ length: 128 }, (_, n) => `t${n}`);
    const { head } = await writer.node.log.replay({ topics: [], limit: 1 });
    await inBatches(3 * topics.length, n => publish(writer, `t${n % topics.length}`));
    const before = { ranges: await calls('xrange'), scripts: await calls('evalsha') };
    const [pages, others] = await Promise.all([resume(reader, topics, head), resume(reader, topics.slice(0, 2), head)]);
    expect(entriesOf(pages)).to.have.length(3 * topics.length);
    expect(entriesOf(others)).to.have.length(6);
    expect((await calls('xrange')) - before.ranges).to.be.at.most(5 * topics.length);
    expect((await calls('evalsha')) - before.scripts).to.be.at.most(40);
  });

  it('bounds pages in bytes, so that readers of large entries cost neither node its lease, and no call holds Redis for long', async () => {
    const a = await started('a');
    const b = await started('b');
    const { head } = await a.node.log.replay({ topics: [], limit: 1 });
    await inBatches(64, () => publish(a, 'large', 512 * 1024), 4);
    const outages: string[] = [];
    const timer = setInterval(() => {
      for (const { node } of [a, b]) if (!node.status().reachable) outages.push(node.status().detail ?? '');
    }, 20);
    const beginning = { epoch: head.epoch, ms: 0, sequence: 0 };
    const { admin } = server.redis;
    await admin.config('SET', 'slowlog-log-slower-than', '2000');
    await admin.slowlog('RESET');
    const scripts = await calls('evalsha');
    const readings = Array.from({ length: READERS }, () => resume(a, ['large'], beginning));
    const all = await Promise.all(readings).finally(() => clearInterval(timer));
    for (const pages of all) {
      expect(entriesOf(pages)).to.have.length(64);
      for (const { frames } of pages) expect(frames.length).to.be.at.most(2);
    }
    expect([...new Set(outages)].join('; ')).to.equal('');
    // A call that waits for the processor is in the log of slow ones as well, so that some of them are there on a busy machine.
    const slow = (await admin.slowlog('GET', 10_000)) as unknown[];
    expect(slow.length / ((await calls('evalsha')) - scripts)).to.be.below(0.2);
  });

  it('catches up in order after a broken subscription missed entries of 200 kB, and is live again', async () => {
    const writer = await started('w');
    const reader = await started('r');
    await reader.node.log.subscribe(['large']);
    await server.redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await inBatches(100, () => publish(writer, 'large', 200_000), 10);
    await until(() => reader.listener.publications.length >= 100, 'the entries', 60_000);
    const sequences = reader.listener.publications.map(({ frame }) => frame.position?.sequence ?? 0);
    expect(sequences).to.deep.equal([...sequences].sort((x, y) => x - y));
    await until(() => reader.node.log.position() !== undefined, 'the node to be live');
  });

  it('goes on for all other topics where another program wrote at the keys of some, whose clients get a gap', async () => {
    const { admin } = server.redis;
    const writer = await started('w');
    const reader = await started('r');
    const topics = Array.from({ length: 40 }, (_, n) => `t${n}`);
    await reader.node.log.subscribe(topics);
    const { cursor: head } = await publish(writer, 'other');
    if (head === undefined) throw new Error('the publication must be kept');
    const id = `${head.ms}-${head.sequence}`;
    const log = `${nodes.prefix}{log}`;
    await admin.mset(`${log}:p:t7`, id, `${log}:t:t7`, 'x', `${log}:p:t8`, id, `${log}:p:t33`, 'x');
    await admin.xadd(`${log}:t:t8`, id, 'field', 'of another program');
    await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await until(() => reader.node.log.position()?.sequence === head.sequence, 'the node to be live');
    const gaps = reader.listener.gaps.flatMap(({ gap }) => [...(gap.topics?.keys() ?? [])]);
    expect(gaps).to.have.members(['t7', 't8']);
    await publish(writer, 't33');
    await until(() => reader.listener.publications.length === 1, 'the entry of a topic with a last id again');
    const after = { ...head, ms: head.ms - 1 };
    const refusal: unknown = await reader.node.log
      .replay({ topics: ['t7'], after, limit: 1 })
      .catch((error: unknown) => error);
    expect(refusal).to.include({ code: 'UNAVAILABLE', noEffect: 'KEY_UNREADABLE' });
    expect((await reader.node.log.replay({ topics: ['t8'], after, limit: 1 })).gap?.reason).to.equal('GAP');
  });
});
