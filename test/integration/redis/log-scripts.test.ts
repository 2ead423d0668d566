import { expect } from 'chai';
import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { historyScript, type PublishRequest, publishScript } from '../../../src/cluster/redis/scripts.js';
import type { Cursor } from '../../../src/contracts/events.js';
import { gatewayOptions } from '../../support/redis/gateway-options.js';
import { ScriptBench } from '../../support/redis/script-bench.js';
import { scriptSource } from '../../support/redis/script-source.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const META_MS = 3_000_000;
const FENCE_MS = 60_000;

describe('scripts of the log', () => {
  const server = withRedis();
  let gateway: RedisGateway;
  let bench: ScriptBench;

  before(async () => {
    const options = gatewayOptions({ url: server.redis.url }, { source: scriptSource('fake') });
    gateway = new RedisGateway(options);
    await gateway.open();
  });
  after(() => gateway.close());

  beforeEach(async () => {
    bench = new ScriptBench(gateway, server.redis.admin);
    await bench.advance();
  });
  afterEach(async () => {
    for (const key of await server.redis.admin.keys('*')) {
      if (!key.endsWith(':clock')) expect(await server.redis.admin.pttl(key)).to.be.greaterThan(0);
    }
    await server.redis.admin.flushall();
  });

  const log = (newEpoch = 'e1') => ({
    meta: bench.keys.logMeta,
    metaMs: META_MS,
    newEpoch,
    failoverJumpMs: FENCE_MS,
  });
  const publish = (topic: string, text: string | Buffer = topic, more: Partial<PublishRequest> = {}) =>
    gateway.run(publishScript, {
      ...log(),
      topic: bench.keys.topic(topic),
      payload: Buffer.from(text),
      maxEntries: 1_000,
      maxAgeMs: 300_000,
      streamMs: 300_000,
      pubCommand: 'PUBLISH',
      channel: '',
      idempotency: bench.keys.logMeta,
      idempotencyMs: 0,
      ...more,
    });
  const history = (topics: readonly string[], after?: Cursor, limit = 100) =>
    gateway.run(historyScript, {
      ...log(),
      topics: topics.map(topic => bench.keys.topic(topic)),
      after,
      limit,
    });
  const page = async (topics: readonly string[], after: Cursor, limit?: number) => {
    const reply = await history(topics, after, limit);
    if (reply.status !== 'OK') throw new Error(reply.status);
    return { ...reply, texts: reply.entries.map(({ payload }) => payload.toString()) };
  };
  const cursor = (id: string, epoch = 'e1'): Cursor => {
    const [ms, sequence] = id.split('-').map(Number);
    return { epoch, ms: ms ?? 0, sequence: sequence ?? 0 };
  };

  it('numbers entries of all topics in one sequence, each naming the one before it in its topic', async () => {
    const a1 = await publish('a');
    const b1 = await publish('b');
    const a2 = await publish('a');
    const { now } = bench;
    expect([a1.id, b1.id, a2.id]).to.deep.equal([`${now}-1`, `${now}-2`, `${now}-3`]);
    expect(a2.previous).to.equal(a1.id);
    expect(a1.previous).to.equal(`${now - META_MS / 2}-0`);
    expect(a1).to.include({ status: 'NEW', epoch: 'e1' });
  });

  it('never numbers backwards when the clock does', async () => {
    const first = await publish('a');
    await bench.advance(-5_000);
    const second = await publish('a');
    expect(second.id).to.equal(`${first.id.split('-')[0] ?? ''}-2`);
  });

  it('publishes epoch, id, previous id and the bytes as they are', async () => {
    const got: Buffer[] = [];
    const listener = server.redis.admin.duplicate();
    listener.on('messageBuffer', (_channel, bytes) => got.push(bytes));
    const channel = bench.keys.topicChannel('a');
    await listener.subscribe(channel);
    const bytes = Buffer.from([0, 32, 255, 10]);
    const { id, previous } = await publish('a', bytes, { channel });
    await until(() => got.length > 0, 'the frame');
    listener.disconnect();
    expect(got).to.deep.equal([Buffer.concat([Buffer.from(`e1 ${id} ${previous} `), bytes])]);
    const { entries } = await page(['a'], cursor('0-0'));
    expect(entries.map(({ payload }) => payload)).to.deep.equal([bytes]);
  });

  it('answers a known idempotency key with the first result and changes nothing', async () => {
    const key = { idempotency: bench.keys.idempotency('a', 'k'), idempotencyMs: 60_000 };
    const first = await publish('a', 'one', key);
    expect(await publish('a', 'two', key)).to.deep.equal({ ...first, status: 'KNOWN' });
    expect((await page(['a'], cursor('0-0'))).texts).to.deep.equal(['one']);
  });

  it('jumps ahead when another master answers than last time, and only then', async () => {
    const { id } = await publish('a');
    await server.redis.admin.hset(bench.keys.logMeta, 'r', 'another');
    const { now } = bench;
    expect((await publish('a')).id).to.equal(`${now + FENCE_MS}-2`);
    expect((await publish('a')).id).to.equal(`${now + FENCE_MS}-3`);
    expect(id).to.equal(`${now}-1`);
  });

  it('history notices another master too, so that its head is after every lost id', async () => {
    await publish('a');
    await server.redis.admin.hset(bench.keys.logMeta, 'r', 'another');
    const { now } = bench;
    expect(await history(['a'])).to.include({ status: 'OK', head: `${now + FENCE_MS}-1` });
    expect(await history(['a'])).to.include({ head: `${now + FENCE_MS}-1` });
    expect((await publish('a')).id).to.equal(`${now + FENCE_MS}-2`);
  });

  it('goes on behind the topic when only the meta key was lost', async () => {
    await publish('a');
    const { id } = await publish('a');
    await server.redis.admin.del(bench.keys.logMeta);
    await bench.advance(-5_000);
    const reply = await publish('a', 'x', { newEpoch: 'e2' });
    expect(reply).to.include({ id: `${id.split('-')[0] ?? ''}-3`, previous: id, epoch: 'e2' });
  });

  it('goes on behind the topic when its stream is gone too', async () => {
    const { id } = await publish('a');
    await server.redis.admin.del(bench.keys.logMeta, bench.keys.topic('a').stream);
    await bench.advance(-5_000);
    const reply = await publish('a');
    expect(reply).to.include({ id: `${id.split('-')[0] ?? ''}-2`, previous: id });
  });

  it('goes on behind the stream when meta and last id were lost', async () => {
    const { id } = await publish('a');
    await server.redis.admin.del(bench.keys.logMeta, bench.keys.topic('a').last);
    await bench.advance(-5_000);
    const reply = await publish('a', 'x');
    expect(reply).to.include({ id: `${id.split('-')[0] ?? ''}-2`, previous: id });
  });

  it('leaves nothing half done when Redis is out of memory', async () => {
    await publish('a');
    await server.redis.admin.config('SET', 'maxmemory', '1');
    try {
      const failure: unknown = await publish('a').catch((error: unknown) => error);
      expect(failure).to.include({ code: 'UNAVAILABLE', noEffect: 'WRITES_REFUSED' });
    } finally {
      await server.redis.admin.config('SET', 'maxmemory', '0');
    }
    expect((await publish('a')).id).to.equal(`${bench.now}-2`);
  });

  it('history gives the head, and begins the log when it is empty', async () => {
    const empty = await history(['a']);
    expect(empty).to.deep.include({ status: 'OK', epoch: 'e1', head: `${bench.now}-0` });
    expect(await server.redis.admin.pttl(bench.keys.logMeta)).to.be.greaterThan(META_MS / 2);
    const { id } = await publish('a');
    expect(await history(['a'])).to.include({ head: id, completeTo: id });
  });

  it('history answers the entries after the cursor, topic by topic', async () => {
    const first = await publish('a', 'a1');
    await publish('b', 'b1');
    await publish('c', 'c1');
    const last = await publish('a', 'a2');
    const reply = await page(['a', 'b'], cursor(first.id));
    expect(reply.texts).to.deep.equal(['a2', 'b1']);
    expect(reply.entries.map(({ topic }) => topic)).to.deep.equal([0, 1]);
    expect(reply).to.deep.include({ gaps: [], completeTo: last.id });
  });

  it('history pages are complete up to their end, for all topics', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 9; n += 1) ids.push((await publish(n % 3 === 0 ? 'b' : 'a', `${n}`)).id);
    const seen: string[] = [];
    let after = `${bench.now}-0`;
    for (let pages = 0; after !== ids[8]; pages += 1) {
      const { texts, completeTo } = await page(['a', 'b'], cursor(after), 4);
      const upper = ids.indexOf(completeTo);
      const lower = ids.indexOf(after);
      expect([...texts].sort()).to.deep.equal(ids.slice(lower + 1, upper + 1).map(id => `${ids.indexOf(id)}`));
      seen.push(...texts);
      after = completeTo;
      expect(pages).to.be.below(9);
    }
    expect(seen.sort()).to.deep.equal(ids.map((_, n) => `${n}`));
  });

  it('history ends a page where the first full topic ends', async () => {
    const first: string[] = [];
    for (let n = 0; n < 4; n += 1) first.push((await publish('a', `a${n}`)).id);
    for (let n = 0; n < 2; n += 1) await publish('b', `b${n}`);
    const { texts, completeTo } = await page(['a', 'b'], cursor(`${bench.now}-0`), 4);
    expect(texts).to.deep.equal(['a0', 'a1']);
    expect(completeTo).to.equal(first[1]);
  });

  it('history reports a gap exactly when entries after the cursor were trimmed', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 4; n += 1) ids.push((await publish('a', `${n}`)).id);
    await publish('b');
    await server.redis.admin.xtrim(bench.keys.topic('a').stream, 'MAXLEN', 2);
    const gapsAfter = async (id = '') => (await page(['b', 'a'], cursor(id))).gaps;
    expect(await gapsAfter(ids[0])).to.deep.equal([{ topic: 1, until: ids[1] }]);
    expect(await gapsAfter(ids[1])).to.deep.equal([]);
    await server.redis.admin.del(bench.keys.topic('a').stream);
    expect(await gapsAfter(ids[2])).to.deep.equal([{ topic: 1, until: ids[3] }]);
    expect(await gapsAfter(ids[3])).to.deep.equal([]);
  });

  it('history reports a gap when the topic is forgotten and the cursor is old', async () => {
    const { id } = await publish('b');
    expect((await page(['a'], cursor(id))).gaps).to.deep.equal([]);
    await bench.advance(META_MS / 2);
    expect((await page(['a'], cursor(id))).gaps).to.deep.equal([]);
    await bench.advance(1);
    const until = `${bench.now - META_MS / 2}-0`;
    expect((await page(['a'], cursor(id))).gaps).to.deep.equal([{ topic: 0, until }]);
  });

  it('history knows cursors of another log and of a lost future', async () => {
    const { id } = await publish('a');
    expect(await history(['a'], cursor(id, 'e0'))).to.deep.equal({
      status: 'EPOCH',
      epoch: 'e1',
      head: id,
    });
    const ahead = { ...cursor(id), sequence: 2 };
    expect(await history(['a'], ahead)).to.deep.equal({ status: 'AHEAD', epoch: 'e1', head: id });
    expect(await history(['a'], { ...cursor(id), ms: bench.now + 1, sequence: 0 })).to.include({
      status: 'AHEAD',
    });
    expect(await history(['a'], cursor(id))).to.deep.include({ status: 'OK', entries: [] });
  });

  it('history takes 32 topics and no more', async () => {
    const topics = Array.from({ length: 33 }, (_, n) => `t${n}`);
    for (const topic of topics) await publish(topic);
    expect((await page(topics.slice(1), cursor('0-0'), 500)).texts).to.have.length(32);
    expect(await history(topics)).to.deep.equal({ status: 'LIMIT' });
  });

  it('trims by number and by age', async () => {
    for (let n = 0; n < 500; n += 1) await publish('a', 'x', { maxEntries: 100 });
    const { stream } = bench.keys.topic('a');
    expect(await server.redis.admin.xlen(stream)).to.be.within(100, 250);
    await bench.advance(300_001);
    await publish('a', 'x');
    expect(await server.redis.admin.xlen(stream)).to.be.below(101);
  });
});
