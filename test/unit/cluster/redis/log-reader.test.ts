import { expect } from 'chai';
import type { ClusterNode } from '../../../../src/cluster/redis/cluster-node.js';
import { LogReader } from '../../../../src/cluster/redis/log-reader.js';
import { catchUp } from '../../../../src/cluster/redis/log-scan.js';
import { type LogEntry, LogTail } from '../../../../src/cluster/redis/tail.js';
import type { ReplayPage } from '../../../../src/contracts/cluster.js';
import type { Cursor, Gap } from '../../../../src/contracts/events.js';
import { resolveOptions } from '../../../../src/options/sse-options.js';
import { ModelRedis } from '../../../support/log/model-redis.js';
import { unsigned } from '../../../support/redis/signer-of.js';
import { turns } from '../../../support/turns.js';

const EVENT = Buffer.from('event: x\ndata: x\n\n');

describe('LogReader', () => {
  let redis: ModelRedis;
  let reader: LogReader;

  beforeEach(() => {
    redis = new ModelRedis();
    const node = { gateway: redis.gateway, options: resolveOptions({ node: { id: 'x' } }), signer: unsigned() };
    // It reads nothing else of a node.
    reader = new LogReader(node as unknown as ClusterNode, new LogTail(0, () => 0), { noteTopics: () => undefined });
  });

  /** Answers every call until this is done. */
  async function answered<T>(asked: Promise<T>): Promise<T> {
    await turns(1);
    while (redis.calls > 0) {
      for (let call = redis.calls; call > 0; call -= 1) redis.execute(0);
      for (let call = redis.calls; call > 0; call -= 1) redis.answer(0);
      await turns(1);
    }
    return asked;
  }

  /** Everything that a catch-up delivers. */
  async function caughtUp(topics: readonly string[], from: Cursor) {
    const found = { entries: [] as LogEntry[], gaps: [] as Gap[], end: from, steps: 0 };
    const steps = catchUp(reader, () => topics, from);
    for (;;) {
      const step = await answered(steps.next());
      if (step.done === true) return found;
      const { entries, gaps, position } = step.value;
      found.entries.push(...entries);
      found.gaps.push(...gaps);
      found.end = position;
      found.steps += 1;
    }
  }

  it('begins the feed where its first client begins, whatever is published before the feed reads', async () => {
    const tail = new LogTail(0, () => 0);
    const node = { gateway: redis.gateway, options: resolveOptions({ node: { id: 'x' } }), signer: unsigned() };
    // It reads nothing else of a node.
    reader = new LogReader(node as unknown as ClusterNode, tail, { noteTopics: () => undefined });
    const { head } = await answered(reader.replay({ topics: ['a'], limit: 10 }));
    redis.publish('a', EVENT);
    await answered(reader.head());
    expect(tail.position).to.deep.equal(head);
  });

  it('reads more topics than one call takes as one log, page by page', async () => {
    const topics = Array.from({ length: 70 }, (_, n) => `topic-${n}`);
    const from = await answered(reader.head());
    // The first of them has so many that its page ends long before those of the others.
    for (let n = 0; n < 900; n += 1) redis.publish('topic-0', EVENT);
    for (const topic of topics) redis.publish(topic, EVENT);
    const { entries, steps } = await caughtUp(topics, from);
    expect(entries.map(({ position }) => position.sequence)).to.deep.equal(
      Array.from({ length: 970 }, (_, n) => n + 1),
    );
    expect(steps).to.be.within(2, 70);
  });

  it('asks with one call whether a node at rest misses anything, however many topics it follows', async () => {
    const topics = Array.from({ length: 2_000 }, (_, n) => `topic-${n}`);
    for (const topic of topics) redis.publish(topic, EVENT);
    const head = await answered(reader.head());
    const before = redis.executed;
    expect((await caughtUp(topics, head)).entries).to.deep.equal([]);
    expect(redis.executed - before).to.equal(1);
  });

  it('reads only topics that have something, each of its entries once', async () => {
    const topics = Array.from({ length: 2_000 }, (_, n) => `topic-${n}`);
    const from = await answered(reader.head());
    for (let n = 0; n < 30; n += 1) redis.publish(`topic-${n % 10}`, EVENT);
    const { executed, read } = redis;
    const { entries } = await caughtUp(topics, from);
    expect(entries).to.have.length(30);
    // One for the head, two for the last ids, one for the entries.
    expect(redis.executed - executed).to.equal(4);
    expect(redis.read - read).to.equal(30);
  });

  it('reports the gaps that another log has already', async () => {
    redis.publish('news', EVENT);
    const { position: until } = redis.publish('news', EVENT);
    redis.publish('sport', EVENT);
    redis.log.trim(redis.keys.topic('news').stream, 0);
    const after = { epoch: 'old', ms: 0, sequence: 0 };
    const { gaps, entries } = await caughtUp(['news', 'sport', 'quiet'], after);
    expect(gaps.map(({ reason }) => reason)).to.deep.equal(['GAP', 'EPOCH']);
    expect(gaps[0]?.topics).to.deep.equal(new Map([['news', until]]));
    expect(entries.map(({ topic }) => topic)).to.deep.equal(['sport']);
  });

  it('reports an entry of another version as a gap, before what follows it', async () => {
    const from = await answered(reader.head());
    redis.publish('news', EVENT);
    const stream = redis.keys.topic('news').stream;
    const { position: until } = redis.log.publish(stream, Buffer.from('of another version'));
    redis.publish('news', EVENT);
    const { gaps, entries } = await caughtUp(['news'], from);
    expect(gaps.map(({ topics }) => topics)).to.deep.equal([new Map([['news', until]])]);
    expect(entries).to.have.length(2);
  });

  it('begins again with another log when the log is lost on the way', async () => {
    const from = await answered(reader.head());
    for (let n = 0; n < 600; n += 1) redis.publish('news', EVENT);
    const steps = catchUp(reader, () => ['news'], from);
    const first = await answered(steps.next());
    expect(first.value?.entries.length).to.be.greaterThan(0);
    redis.log.flush();
    redis.publish('news', EVENT);
    const rest = [];
    for (let step = await answered(steps.next()); step.done !== true; step = await answered(steps.next())) {
      rest.push(step.value);
    }
    const gaps = rest.flatMap(step => step.gaps);
    expect(gaps.map(({ reason }) => reason)).to.deep.equal(['EPOCH']);
    expect(rest.at(-1)?.entries.map(({ position }) => position.sequence)).to.deep.equal([1]);
  });

  describe('for clients', () => {
    let tail: LogTail;
    let head: Cursor;

    /** A reader of a node whose feed is live at the head, and follows everything. */
    beforeEach(async () => {
      head = await answered(reader.head());
      const options = resolveOptions({ node: { id: 'x' } });
      tail = new LogTail(100_000, () => 60_000);
      // It reads nothing else of a node.
      reader = new LogReader({ gateway: redis.gateway, options, signer: unsigned() } as unknown as ClusterNode, tail, {
        noteTopics: () => undefined,
      });
      tail.moveTo(head);
      tail.belongTo(redis.log.run);
      for (const topic of ['*', 'news']) {
        tail.follow(topic);
        tail.acknowledge(topic);
      }
      tail.live = true;
    });

    const ask = (after: Cursor) => reader.replay({ topics: ['news'], after, limit: 100 });
    const deliver = (): Cursor => {
      const { epoch, position } = redis.publish('news', EVENT);
      const at = { epoch, ...position };
      tail.add({ topic: 'news', position: at, frame: { bytes: EVENT, position: at } });
      tail.moveTo(at);
      return at;
    };
    const sequences = ({ frames }: ReplayPage) => frames.map(({ position }) => position?.sequence);

    it('asks Redis once for clients that ask for the same at once', async () => {
      redis.publish('news', EVENT);
      const before = redis.executed;
      const pages = await answered(Promise.all([ask(head), ask(head), ask(head)]));
      expect(pages.map(sequences)).to.deep.equal([[1], [1], [1]]);
      expect(redis.executed - before).to.equal(2);
      expect(sequences(await ask(head))).to.deep.equal([1]);
    });

    it('ends a page that was begun for another client no earlier than what the feed has delivered since', async () => {
      const before = { ...head, sequence: head.sequence, ms: head.ms - 1 };
      const first = ask(before);
      await turns(1);
      redis.execute(0);
      const at = deliver();
      const second = ask(before);
      const [one, other] = await answered(Promise.all([first, second]));
      expect(one.head).to.deep.equal(head);
      expect(other.head).to.deep.equal(at);
      expect(other.completeTo).to.include({ sequence: head.sequence });
    });

    it('asks Redis for a client that has read a newer head than the feed has delivered', async () => {
      await answered(ask(head));
      deliver();
      const { epoch, position } = redis.publish('news', EVENT);
      expect(sequences(await ask(head))).to.deep.equal([1]);
      const until = { epoch, ...position };
      const page = await answered(reader.replay({ topics: ['news'], after: head, until, limit: 100 }));
      expect(sequences(page)).to.deep.equal([1, 2]);
    });

    it('leaves out no entry that the feed delivers between the head of a page and its answer', async () => {
      redis.publish('news', EVENT);
      const first = ask(head);
      await turns(1);
      redis.execute(0);
      deliver();
      await answered(first);
      deliver();
      const page = await ask(head);
      expect(sequences(page)).to.deep.equal([1]);
      expect(page.completeTo).to.include({ sequence: 1 });
      expect(sequences(await answered(ask({ ...head, ...page.completeTo })))).to.deep.equal([2, 3]);
      expect(sequences(await ask(head))).to.deep.equal([1, 2, 3]);
    });
  });
});
