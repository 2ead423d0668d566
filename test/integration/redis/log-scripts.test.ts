import { expect } from 'chai';
import type { Redis } from 'ioredis';
import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import {
  backlogScript,
  forgetScript,
  historyScript,
  lookScript,
  type PublishRequest,
  publishScript,
  recallScript,
  rememberScript,
} from '../../../src/cluster/redis/scripts.js';
import type { RequestOf } from '../../../src/cluster/redis/script.js';
import type { Cursor } from '../../../src/contracts/events.js';
import { gatewayOptions } from '../../support/redis/gateway-options.js';
import { ScriptBench } from '../../support/redis/script-bench.js';
import { scriptSource } from '../../support/redis/script-source.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const MEMORY_MS = 60_000;
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
    evicts: false,
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
  const look = (...topics: readonly string[]) =>
    gateway.run(lookScript, {
      ...log(),
      forgets: bench.keys.logMeta,
      last: topics.map(topic => bench.keys.topic(topic).last),
    });
  const looked = async (...topics: readonly string[]) => {
    const reply = await look(...topics);
    if (reply.status !== 'OK') throw new Error(reply.status);
    return reply;
  };
  const history = (
    topics: readonly string[],
    { epoch, ...after }: Cursor,
    size: { limit?: number; bytes?: number } = {},
  ) =>
    gateway.run(historyScript, {
      meta: bench.keys.logMeta,
      epoch,
      topics: topics.map(topic => bench.keys.topic(topic)),
      after: topics.map(() => after),
      limit: 100,
      bytes: 100_000,
      ...size,
    });
  type BacklogRequest = Pick<RequestOf<typeof backlogScript>, 'newest'> & Partial<RequestOf<typeof backlogScript>>;
  const askBacklog = (topics: readonly string[], more: BacklogRequest) =>
    gateway.run(backlogScript, {
      meta: bench.keys.logMeta,
      stream: topics.map(topic => bench.keys.topic(topic).stream),
      epoch: 'e1',
      after: '0-0',
      limit: 100,
      each: more.limit ?? 100,
      bytes: 100_000,
      ...more,
    });
  const backlog = async (topics: readonly string[], more: BacklogRequest): Promise<string[]> => {
    const reply = await askBacklog(topics, more);
    if (reply.status !== 'OK') throw new Error(reply.status);
    return reply.entries.map(({ payload }) => payload.toString());
  };
  const codeFor = async (topics: readonly string[], more: BacklogRequest) => (await askBacklog(topics, more)).status;
  const page = async (topics: readonly string[], after: Cursor, size?: { limit?: number; bytes?: number }) => {
    const reply = await history(topics, after, size);
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
    // The next renewal is due a 64th of its life after the time of the last id.
    const life = await server.redis.admin.pttl(bench.keys.topic('a').stream);
    expect(life).to.be.greaterThan(FENCE_MS + 300_000);
    expect(id).to.equal(`${now}-1`);
  });

  it('look notices another master too, so that its head is after every lost id', async () => {
    await publish('a');
    await server.redis.admin.hset(bench.keys.logMeta, 'r', 'another');
    const { now } = bench;
    const { head, run } = await looked();
    expect(head).to.equal(`${now + FENCE_MS}-1`);
    expect(run).to.not.equal('another');
    expect(await looked()).to.include({ head, run });
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

  it('keeps an entry that Redis refuses to publish', async () => {
    await publish('a');
    await server.redis.admin.acl('SETUSER', 'default', 'resetchannels');
    try {
      const refused = await publish('a', 'unpublished', { channel: bench.keys.topicChannel('a') });
      expect(refused).to.include({ status: 'KEPT', id: `${bench.now}-2`, previous: `${bench.now}-1` });
      expect((await page(['a'], cursor(`${bench.now}-1`))).texts).to.deep.equal(['unpublished']);
    } finally {
      await server.redis.admin.acl('SETUSER', 'default', 'allchannels');
    }
  });

  it('look gives the head, begins the log when it is empty, and keeps it alive', async () => {
    const empty = await looked();
    expect(empty).to.deep.include({ epoch: 'e1', head: `${bench.now}-0`, now: bench.now, lasts: [] });
    expect(await server.redis.admin.pttl(bench.keys.logMeta)).to.be.greaterThan(META_MS / 2);
    const { id } = await publish('a');
    await server.redis.admin.pexpire(bench.keys.logMeta, 5_000);
    expect(await looked()).to.include({ head: id });
    expect(await server.redis.admin.pttl(bench.keys.logMeta)).to.be.greaterThan(META_MS / 2);
  });

  it('look gives the last id of each topic, of 1000 topics and no more', async () => {
    const a = await publish('a');
    await publish('b');
    const b = await publish('b');
    expect((await looked('b', 'none', 'a')).lasts).to.deep.equal([b.id, undefined, a.id]);
    const many = Array.from({ length: 1_000 }, (_, n) => `t${n}`);
    expect((await looked(...many)).lasts).to.have.length(1_000);
    expect(await look('a', ...many)).to.deep.equal({ status: 'LIMIT' });
  });

  it('look lets a forgotten last id stand for half of its life ago', async () => {
    for (let n = 0; n < 5; n += 1) {
      await publish('b');
      await bench.advance(META_MS / 5);
    }
    await publish('c');
    const { forgotten } = await looked('a');
    expect(forgotten).to.equal(`${bench.now - META_MS / 2}-0`);
  });

  it('look lets a forgotten last id stand for the last entry before a pause of the log, as long as the time is in it', async () => {
    const { id } = await publish('b');
    await bench.advance(META_MS);
    // Another topic, so that a reader with the entry before it misses nothing of its own.
    await publish('c');
    expect((await looked('a')).forgotten).to.equal(id);
    expect((await publish('a')).previous).to.equal(id);
    expect((await page(['a'], cursor(id))).gaps).to.deep.equal([]);
    await bench.advance(META_MS / 2 + 1);
    await publish('c');
    expect((await looked('d')).forgotten).to.not.equal(id);
  });

  it('look lets a forgotten last id of a quiet log stand for its last entry, however long it is quiet', async () => {
    const { id } = await publish('b');
    await bench.advance(META_MS);
    expect((await looked('a')).forgotten).to.equal(id);
    // A new master moves the head, not the last entry.
    await server.redis.admin.hset(bench.keys.logMeta, 'r', 'another');
    expect((await looked('a')).forgotten).to.equal(id);
    await bench.advance(META_MS);
    await server.redis.admin.hset(bench.keys.logMeta, 'r', 'a third');
    expect(await looked('a')).to.include({ forgotten: id, head: `${bench.now + FENCE_MS}-1` });
    // Nor does the first entry afterwards, whose predecessor in its topic is forgotten, show a gap.
    await bench.advance(META_MS);
    expect((await publish('a')).previous).to.equal(id);
    expect((await page(['a'], cursor(id))).gaps).to.deep.equal([]);
  });

  it('backlog answers the newest entries of all topics together, between two ids, as often as it is asked', async () => {
    const ids: string[] = [];
    for (const [n, topic] of ['a', 'b', 'a', 'c', 'b', 'a', 'a', 'a', 'a', 'a'].entries()) {
      ids.push((await publish(topic, `${topic}${n}`)).id);
      if (n % 3 === 2) await bench.advance(5);
    }
    const newest = ids.at(-2) ?? '';
    const abc = ['a', 'b', 'c'];
    expect(await backlog(abc, { newest, limit: 4 })).to.deep.equal(['a8', 'a7', 'a6', 'a5']);
    expect(await backlog(abc, { newest: `(${ids[5] ?? ''}`, limit: 4 })).to.deep.equal(['b4', 'c3', 'a2', 'b1']);
    expect(await backlog(abc, { newest, after: ids[3] ?? '' })).to.deep.equal(['a8', 'a7', 'a6', 'a5', 'b4']);
    expect(await backlog(abc, { newest, each: 1 })).to.deep.equal(['a8', 'b4', 'c3']);
    expect(await backlog(['b', 'none'], { newest })).to.deep.equal(['b4', 'b1']);
    expect(await backlog(['none'], { newest })).to.deep.equal([]);
    // It reads no entry that it does not answer.
    await server.redis.admin.config('RESETSTAT');
    expect(await backlog(['a'], { newest, limit: 2 })).to.deep.equal(['a8', 'a7']);
    expect(await server.redis.admin.info('commandstats')).to.include('cmdstat_xrevrange:calls=2,');
  });

  it('backlog answers about so many bytes, but at least one entry, and refuses too much', async () => {
    const ids: string[] = [];
    for (let n = 0; n < 9; n += 1) ids.push((await publish(n % 2 === 0 ? 'a' : 'b', `${n}`.repeat(1_000))).id);
    const newest = ids.at(-1) ?? '';
    const count = async (bytes: number) => (await backlog(['a', 'b'], { newest, bytes })).map(text => text[0]);
    expect(await count(1)).to.deep.equal(['8']);
    expect(await count(2_500)).to.deep.equal(['8', '7', '6']);
    expect(await count(100_000)).to.have.length(9);
    for (let n = 0; n < 600; n += 1) await publish('c');
    expect(await backlog(['c'], { newest: '+', limit: 1_000 })).to.have.length(500);
    expect(await codeFor(['a'], { newest, epoch: 'e0' })).to.equal('EPOCH');
    expect(await codeFor(Array<string>(33).fill('a'), { newest })).to.equal('LIMIT');
  });

  it('history answers the entries after the position of each topic, topic by topic', async () => {
    const first = await publish('a', 'a1');
    await publish('b', 'b1');
    await publish('c', 'c1');
    const third = await publish('a', 'a2');
    const reply = await page(['a', 'b'], cursor(first.id));
    expect(reply.texts).to.deep.equal(['a2', 'b1']);
    expect(reply.entries.map(({ topic }) => topic)).to.deep.equal([0, 1]);
    expect(reply).to.deep.include({ read: 2, gaps: [], more: [] });
    const after = [first.id, third.id].map(id => ({ ms: cursor(id).ms, sequence: cursor(id).sequence }));
    const topics = ['a', 'a'].map(topic => bench.keys.topic(topic));
    const meta = bench.keys.logMeta;
    const each = await gateway.run(historyScript, { meta, epoch: 'e1', topics, after, limit: 100, bytes: 100_000 });
    expect(each).to.deep.include({ gaps: [] });
    expect(each.status === 'OK' && each.entries.map(({ topic, id }) => [topic, id])).to.deep.equal([[0, third.id]]);
  });

  it('history answers an equal share of the entries for each topic, and which topics have more', async () => {
    for (let n = 0; n < 9; n += 1) await publish('a', `a${n}`);
    for (let n = 0; n < 2; n += 1) await publish('b', `b${n}`);
    const { texts, more, read } = await page(['a', 'b'], cursor(`${bench.now}-0`), { limit: 6 });
    expect({ texts, more, read }).to.deep.equal({ texts: ['a0', 'a1', 'a2', 'b0', 'b1'], more: [0], read: 2 });
  });

  it('history answers about so many bytes, but at least one entry, and leaves the other topics unread', async () => {
    const big = 'x'.repeat(10_000);
    for (const topic of ['a', 'a', 'b', 'b', 'c']) await publish(topic, big);
    const from = cursor(`${bench.now}-0`);
    const shares = async (bytes: number) => {
      const { entries, more, read } = await page(['a', 'b', 'c'], from, { bytes });
      return { topics: entries.map(({ topic }) => topic), more, read };
    };
    expect(await shares(1)).to.deep.equal({ topics: [0], more: [0], read: 1 });
    expect(await shares(15_000)).to.deep.equal({ topics: [0, 1], more: [0, 1], read: 2 });
    expect(await shares(30_000)).to.deep.equal({ topics: [0, 1, 2], more: [0, 1, 2], read: 3 });
    expect(await shares(90_000)).to.deep.equal({ topics: [0, 0, 1, 1, 2], more: [], read: 3 });
  });

  it('history reports a gap exactly when entries after the position were trimmed', async () => {
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
    // A last id was there when the caller asked for it.
    await server.redis.admin.del(bench.keys.topic('a').last);
    expect(await gapsAfter(ids[2])).to.deep.equal([{ topic: 1, until: undefined }]);
  });

  it('history knows positions of another log', async () => {
    const { id } = await publish('a');
    expect(await history(['a'], cursor(id, 'e0'))).to.deep.equal({ status: 'EPOCH' });
    await server.redis.admin.del(bench.keys.logMeta);
    expect(await history(['a'], cursor(id))).to.deep.equal({ status: 'EPOCH' });
  });

  it('history takes 32 topics and no more', async () => {
    const topics = Array.from({ length: 33 }, (_, n) => `t${n}`);
    for (const topic of topics) await publish(topic);
    expect((await page(topics.slice(1), cursor('0-0'), { limit: 500 })).texts).to.have.length(32);
    expect(await history(topics, cursor('0-0'))).to.deep.equal({ status: 'LIMIT' });
  });

  it('trims by number and by age', async () => {
    for (let n = 0; n < 500; n += 1) await publish('a', 'x', { maxEntries: 100 });
    const { stream } = bench.keys.topic('a');
    expect(await server.redis.admin.xlen(stream)).to.be.within(100, 250);
    await bench.advance(300_001);
    await publish('a', 'x');
    expect(await server.redis.admin.xlen(stream)).to.be.below(101);
  });

  it('renews times to live and trims by age once in a 64th of the time, and a deleted stream at once', async () => {
    const { stream } = bench.keys.topic('a');
    const lives = [stream, bench.keys.logMeta];
    const expireSoon = () => Promise.all(lives.map(key => server.redis.admin.pexpire(key, 5_000)));
    const renewed = async () =>
      (await Promise.all(lives.map(key => server.redis.admin.pttl(key)))).map(ms => ms > 5_000);
    await bench.advance(META_MS - (bench.now % META_MS));
    await publish('a');
    await expireSoon();
    await bench.advance(4_000);
    await publish('a');
    expect(await renewed()).to.deep.equal([false, false]);
    await server.redis.admin.del(stream);
    await publish('a');
    expect(await renewed()).to.deep.equal([true, false]);
    await expireSoon();
    await bench.advance(1_000);
    await publish('a');
    expect(await renewed()).to.deep.equal([true, false]);
    expect(await server.redis.admin.pttl(stream)).to.be.greaterThan(300_000);
    await bench.advance(META_MS / 64);
    await publish('a');
    expect(await renewed()).to.deep.equal([true, true]);
  });

  it('an evicted last id stands for the time at which an eviction was found, for readers and for entries', async () => {
    const at = async (evicts: boolean) => {
      const last = [bench.keys.topic('a').last];
      const reply = await gateway.run(lookScript, { ...log(), evicts, forgets: bench.keys.logMeta, last });
      return reply.status === 'OK' ? [reply.lasts[0], reply.forgotten] : reply.status;
    };
    await publish('a');
    const { id } = await publish('b');
    const old = `${bench.now - META_MS / 2}-0`;
    await server.redis.admin.del(bench.keys.topic('a').last, bench.keys.topic('a').stream);
    expect(await at(true)).to.deep.equal([undefined, old]);
    await evictOne(server.redis.admin);
    expect(await at(false)).to.deep.equal([undefined, old]);
    expect(await at(true)).to.deep.equal([undefined, id]);
    await bench.advance(1_000);
    const after = await publish('b');
    const found = `${bench.now - 999}-0`;
    expect(await at(true)).to.deep.equal([undefined, found]);
    expect(after.id > found).to.equal(true);
    expect((await publish('a', 'again', { evicts: true })).previous).to.equal(found);
  });

  it('a topic that was forgotten has no entry, and a reader that is before it gets a gap', async () => {
    await publish('a', '1');
    const { id } = await publish('a', '2');
    await gateway.run(forgetScript, { stream: bench.keys.topic('a').stream });
    const { texts, gaps } = await page(['a'], cursor('0-0'));
    expect(texts).to.deep.equal([]);
    expect(gaps).to.deep.equal([{ topic: 0, until: id }]);
  });

  describe('memory of subscriptions', () => {
    const remember = async (topic: string, change: RequestOf<typeof rememberScript>['change'], limit = 2) => {
      const { status } = await gateway.run(rememberScript, {
        meta: bench.keys.logMeta,
        followed: bench.keys.followed('me'),
        topic,
        change,
        limit,
        ms: MEMORY_MS,
      });
      return status;
    };
    const recall = async (...ids: string[]) => {
      const reply = await gateway.run(recallScript, {
        followed: ids.map(id => bench.keys.followed(id)),
        ms: 2 * MEMORY_MS,
      });
      if (reply.status !== 'OK') return reply.status;
      return reply.remembered.map(topics => Object.fromEntries(topics.map(({ topic, state }) => [topic, state])));
    };
    const pttl = () => server.redis.admin.pttl(bench.keys.followed('me'));

    it('is kept for its time, and longer when it is read', async () => {
      await remember('a', 'add');
      expect(await pttl()).to.be.within(1, MEMORY_MS);
      await recall('me', 'other');
      expect(await pttl()).to.be.greaterThan(MEMORY_MS);
    });

    it('has the position at which a subscription began, and the mark that says what remains of it', async () => {
      expect(await remember('a', 'add')).to.equal('OK');
      const { id } = await publish('x');
      await remember('a', 'keep');
      await remember('b', 'drop');
      expect(await recall('me')).to.deep.equal([{ a: '+', b: '-' }]);
      await remember('a', 'drop');
      await remember('b', 'add');
      expect(await recall('none', 'me')).to.deep.equal([{}, { b: `=e1 ${id}` }]);
      await remember('b', 'drop');
      expect(await recall('me')).to.deep.equal([{ b: '-' }]);
    });

    it('has few topics of an id, and few ids are asked for at once', async () => {
      for (const topic of ['a', 'b']) expect(await remember(topic, 'add')).to.equal('OK');
      for (const change of ['add', 'keep', 'drop'] as const) expect(await remember('c', change)).to.equal('FULL');
      expect(await remember('a', 'drop')).to.equal('OK');
      expect(await recall(...Array.from({ length: 33 }, (_, n) => `${n}`))).to.equal('LIMIT');
    });

    it('is forgotten with a look of a client that begins anew, and with no other', async () => {
      const keys = () => server.redis.admin.keys(bench.keys.followed('*'));
      await remember('a', 'add');
      await looked('a');
      expect(await keys()).to.have.length(1);
      const epoch = (await looked()).epoch;
      await gateway.run(lookScript, { ...log('e2'), forgets: bench.keys.followed('me'), last: [] });
      expect(await keys()).to.deep.equal([]);
      expect((await looked()).epoch).to.equal(epoch);
    });
  });
});

/** Has Redis evict a key of its own, the one with the shortest life, and no other. */
async function evictOne(admin: Redis): Promise<void> {
  await admin.set('victim', 'x'.repeat(1_000_000), 'PX', 30_000);
  await admin.config('SET', 'maxmemory-samples', '64');
  await admin.config('SET', 'maxmemory-policy', 'volatile-ttl');
  const used = /used_memory:(\d+)/.exec(await admin.info('memory'))?.[1];
  await admin.config('SET', 'maxmemory', String(Number(used) - 500_000));
  await until(async () => (await admin.exists('victim')) === 0, 'the eviction');
  await admin.config('SET', 'maxmemory', '0');
  await admin.config('SET', 'maxmemory-policy', 'noeviction');
}
