import type { Backlog, ReplayPage } from '../../../contracts/cluster.js';
import type { Cursor } from '../../../contracts/events.js';
import { isAfter } from '../../../protocol/cursor.js';
import { expect } from '../expect.js';
import { until } from '../until.js';
import type { Ground } from './ground.js';
import {
  type Node,
  MUCH,
  listen,
  publication,
  broadcast,
  publishAll,
  isSame,
  head,
  replay,
  texts,
  numbersUpTo,
  cursorOf,
  gapIn,
} from './steps.js';

/** What the log keeps for clients that come back. */
export function replayContract({ describe, it, core }: Ground): void {
  describe('replay', () => {
    it('without a cursor answers the head and nothing else', async ({ a, b, news }) => {
      await a.coordinator.log.publish(publication(news, 'data: 1\n\n'));
      const page = await replay(b, { topics: [news] });
      expect(page.frames).to.deep.equal([]);
      expect(page.gap).to.equal(undefined);
      expect(page.completeTo).to.include({ ms: page.head.ms, sequence: page.head.sequence });
    });

    it('the head is the newest entry, for every node', async ({ a, b }) => {
      const { cursor } = await a.coordinator.log.publish(broadcast('x'));
      expect(await head(a)).to.deep.equal(cursor);
      expect(await head(b)).to.deep.equal(cursor);
    });

    core(
      'answers the entries after the cursor, of the requested topics and broadcasts, in order',
      async ({ a, b, news, sport }) => {
        const start = await head(a);
        await publishAll(a, [news, sport, undefined, news, `${news}-other`]);
        const page = await replay(b, { topics: [news, sport], after: start });
        expect(texts(page)).to.deep.equal(['0', '1', '2', '3']);
        expect(page.gap).to.equal(undefined);
        expect(page.completeTo).to.deep.include({ sequence: page.head.sequence });
      },
    );

    it('answers the frames that were delivered', async ({ a, b }) => {
      const start = await head(a);
      await a.coordinator.log.publish(broadcast('x'));
      await until(() => b.listener.publications.length === 1, 'the broadcast');
      const page = await replay(a, { topics: [], after: start });
      expect(page.frames[0]?.bytes.toString()).to.equal(b.listener.publications[0]?.text);
      expect(page.frames[0]?.position).to.deep.equal(b.listener.publications[0]?.frame.position);
    });

    it('begins behind the cursor, not at it', async ({ a, news }) => {
      const [first] = await publishAll(a, [news, news, news]);
      expect(texts(await replay(a, { topics: [news], after: first }))).to.deep.equal(['1', '2']);
    });

    it('at the head answers nothing', async ({ a, news }) => {
      await publishAll(a, [news]);
      const page = await replay(a, { topics: [news], after: await head(a) });
      expect(page.frames).to.deep.equal([]);
      expect(page.gap).to.equal(undefined);
    });

    it('answers a gap and no entry for what a client may have missed that opened without the cluster', async ({
      a,
      b,
    }) => {
      await listen([b], 'news', 'sport');
      await publishAll(a, ['news', 'sport']);
      await until(async () => isSame(b.coordinator.log.lastPosition(), await head(a)), 'the newest entry');
      const opened = { openedAt: performance.now(), seen: b.coordinator.log.lastPosition() };
      const nothing = await replay(b, { topics: ['news', 'sport'], opened });
      expect([nothing.frames, nothing.gap]).to.deep.equal([[], undefined]);
      await publishAll(a, ['sport', 'other']);
      const page = await replay(b, { topics: ['news', 'sport'], opened });
      expect(page.frames).to.deep.equal([]);
      expect(page.gap?.reason).to.equal('GAP');
      expect([...(page.gap?.topics?.keys() ?? [])]).to.deep.equal(['sport']);
      expect(page.gap?.resumedFrom).to.deep.include({ sequence: page.head.sequence });
    });

    core(
      'of a topic that is followed since a position has nothing before it, entry or gap',
      async ({ a, b, news, sport }) => {
        const few = { maxEntries: 1, ttl: 60_000 };
        const [start] = await publishAll(a, [sport]);
        const entries = await publishAll(a, [news, sport, news, sport, news]);
        const since = (cursor: Cursor | undefined) => new Map(cursor && [[news, cursor]]);
        const page = await replay(b, { topics: [news, sport], after: start, since: since(entries[2]) });
        expect([texts(page), page.gap]).to.deep.equal([['1', '3', '4'], undefined]);
        const older = await replay(b, { topics: [news, sport], after: entries[3], since: since(entries[2]) });
        expect(texts(older)).to.deep.equal(['4']);
        const trimmed = await publishAll(
          a,
          Array.from({ length: MUCH }, () => news),
          few,
        );
        const gapSince = async (at: Cursor | undefined) =>
          (await replay(b, { topics: [news], after: start, since: since(at) })).gap;
        expect((await gapSince(entries[4]))?.reason).to.equal('GAP');
        expect(await gapSince(trimmed.at(-1))).to.equal(undefined);
      },
    );

    it('has nothing of a topic that was forgotten but a gap, and everything published afterwards', async ({
      a,
      b,
      news,
      sport,
    }) => {
      const [start] = await publishAll(a, [sport, news, news]);
      expect(await a.coordinator.log.kept(news)).to.equal(2);
      await b.coordinator.log.forget(news);
      expect(await a.coordinator.log.kept(news)).to.equal(0);
      const page = await replay(b, { topics: [news], after: start });
      expect(texts(page)).to.deep.equal([]);
      expect([...(page.gap?.topics?.keys() ?? [])]).to.deep.equal([news]);
      const { head: end } = page;
      await publishAll(a, [news]);
      const later = await replay(b, { topics: [news], after: end });
      expect([texts(later), later.gap]).to.deep.equal([['0'], undefined]);
    });

    it('a topic that is named twice is replayed once', async ({ a, news }) => {
      const start = await head(a);
      await publishAll(a, [news]);
      const page = await replay(a, { topics: [news, news], after: start });
      expect(texts(page)).to.deep.equal(['0']);
    });

    core('pages cover everything once and in order, the last one reaches the head', async ({ a, b, news, sport }) => {
      const start = await head(a);
      await publishAll(
        a,
        Array.from({ length: 25 }, (_, n) => [news, sport, undefined][n % 3]),
      );
      const pages: ReplayPage[] = [];
      let after: Cursor = start;
      for (;;) {
        const page = await replay(b, { topics: [sport, news], after, limit: 7 });
        pages.push(page);
        expect(page.frames.length).to.be.at.most(7);
        expect(page.gap).to.equal(undefined);
        if (!isAfter(page.head, page.completeTo)) break;
        after = { epoch: page.head.epoch, ...page.completeTo };
      }
      expect(pages.flatMap(texts)).to.deep.equal(Array.from({ length: 25 }, (_, n) => `${n}`));
    });

    it('pages end at the head, none of them empty', async ({ a, news }) => {
      const start = await head(a);
      await publishAll(a, [news, news, news]);
      const found: string[] = [];
      for (let after: Cursor = start; ;) {
        const page = await replay(a, { topics: [news], after, limit: 3 });
        expect(page.frames.length).to.be.within(1, 3);
        found.push(...texts(page));
        if (!isAfter(page.head, page.completeTo)) break;
        after = { epoch: page.head.epoch, ...page.completeTo };
      }
      expect(found).to.deep.equal(['0', '1', '2']);
    });

    core(
      'reports a gap when much more was published than is kept, and answers the rest',
      async ({ a, b, news, sport }) => {
        const retention = { maxEntries: 3, ttl: 60_000 };
        const [first] = await publishAll(a, Array<string>(MUCH).fill(news), retention);
        const page = await replay(b, { topics: [news, sport], after: first });
        expect(gapIn(page)).to.deep.equal({ reason: 'GAP', topics: [news] });
        expect(texts(page).length).to.be.within(3, MUCH - 2);
        expect(texts(page)).to.deep.equal(numbersUpTo(MUCH).slice(-texts(page).length));
      },
    );

    it('reports a gap of broadcast entries for any topics', async ({ a }) => {
      const retention = { maxEntries: 2, ttl: 60_000 };
      const [first] = await publishAll(a, Array<undefined>(MUCH).fill(undefined), retention);
      const page = await replay(a, { topics: [], after: first });
      // A node may still have what it has delivered.
      const isWhole = texts(page)[0] === '1';
      expect(page.gap?.reason).to.equal(isWhole ? undefined : 'GAP');
      const end = isWhole ? 1 + texts(page).length : MUCH;
      expect(texts(page)).to.deep.equal(numbersUpTo(MUCH).slice(end - texts(page).length, end));
    });

    it('leaves broadcasts out when they are not wanted', async ({ a, b, news }) => {
      const start = await head(a);
      await publishAll(a, [news, undefined, news]);
      const page = await replay(b, { topics: [news], after: start, broadcasts: false });
      expect(texts(page)).to.deep.equal(['0', '2']);
    });

    it('reports a gap when entries are too old', async ({ a, b, news }) => {
      const start = await head(a);
      await publishAll(a, [news], { maxEntries: 100, ttl: 20 });
      const look = (): Promise<ReplayPage> => replay(b, { topics: [news], after: start });
      await until(async () => (await look()).gap !== undefined, 'the gap');
      const page = await look();
      expect(gapIn(page)).to.deep.equal({ reason: 'GAP', topics: [news] });
      expect(page.frames).to.deep.equal([]);
    });

    it('reports no gap to a client that has every trimmed entry', async ({ a, news }) => {
      const retention = { maxEntries: 2, ttl: 60_000 };
      const cursors = await publishAll(a, Array<string>(5).fill(news), retention);
      const page = await replay(a, { topics: [news], after: cursors[2] });
      expect(page.gap).to.equal(undefined);
      expect(texts(page)).to.deep.equal(['3', '4']);
    });

    it('reports no gap because of topics that the request does not name', async ({ a, news, sport }) => {
      const start = await head(a);
      await publishAll(a, Array<string>(5).fill(sport), { maxEntries: 1, ttl: 60_000 });
      await publishAll(a, [news]);
      const page = await replay(a, { topics: [news, `${news}-never`], after: start });
      expect(page.gap).to.equal(undefined);
      expect(texts(page)).to.deep.equal(['0']);
    });

    it('reports that the cursor is of another epoch, and answers every kept entry', async ({ a, news, sport }) => {
      await publishAll(a, [news, sport, undefined]);
      const page = await replay(a, {
        topics: [news],
        after: { epoch: 'other', ms: Date.now(), sequence: 1 },
      });
      expect(gapIn(page)).to.deep.equal({ reason: 'EPOCH', topics: undefined });
      expect(texts(page)).to.deep.equal(['0', '2']);
    });

    it('reports that the cursor is newer than the log', async ({ a, news }) => {
      await publishAll(a, [news]);
      const newest = await head(a);
      for (const after of [
        { ...newest, ms: newest.ms + 10_000_000 },
        { ...newest, sequence: newest.sequence + 1 },
      ]) {
        const page = await replay(a, { topics: [news], after });
        expect(gapIn(page)).to.deep.equal({ reason: 'AHEAD', topics: undefined });
        expect(texts(page)).to.deep.equal(['0']);
      }
    });
  });

  describe('a backlog', () => {
    const backlog = (node: Node, topics: readonly string[], most: Backlog): Promise<ReplayPage> =>
      replay(node, { topics, backlog: { topics, most } });

    core(
      'has the newest entries of its topics together, in order, up to the head, without gap or broadcast',
      async ({ a, news, sport, b }) => {
        const cursors = await publishAll(a, [news, sport, news, undefined, sport, news, `${news}-other`]);
        const page = await backlog(b, [news, sport], 3);
        expect(texts(page)).to.deep.equal(['2', '4', '5']);
        expect(page.gap).to.equal(undefined);
        expect(page.head).to.deep.equal(cursors.at(-1));
        expect(page.completeTo).to.include({ ms: page.head.ms, sequence: page.head.sequence });
        expect(page.frames.map(({ position }) => position)).to.deep.equal([2, 4, 5].map(n => cursors[n]));
        expect(texts(await backlog(b, [news, sport], 1000))).to.deep.equal(['0', '1', '2', '4', '5']);
      },
    );

    core("'latest' has the newest entry of each topic", async ({ a, news, sport, b }) => {
      await publishAll(a, [news, sport, news, sport, news]);
      expect(texts(await backlog(b, [news, sport, `${news}-never`, news], 'latest'))).to.deep.equal(['3', '4']);
    });

    it('has what is kept, and nothing of a topic that has nothing', async ({ a, news, sport, b }) => {
      await publishAll(a, [sport, ...Array<string>(MUCH).fill(news)], { maxEntries: 3, ttl: 60_000 });
      const kept = texts(await backlog(b, [news], 1000));
      expect(kept.length).to.be.within(3, MUCH - 1);
      expect(kept).to.deep.equal(numbersUpTo(MUCH + 1).slice(-kept.length));
      expect((await backlog(b, [`${news}-never`], 5)).frames).to.deep.equal([]);
      await a.coordinator.log.forget(sport);
      expect((await backlog(b, [sport], 'latest')).frames).to.deep.equal([]);
    });

    it('is the newest of many topics and of many entries', async ({ a, news, b }) => {
      const topics = Array.from({ length: 70 }, (_, n) => `${news}-${n}`);
      await publishAll(a, [...topics, ...topics.slice(0, 10), ...topics.slice(60)]);
      expect(texts(await backlog(b, topics, 25))).to.deep.equal(numbersUpTo(90).slice(-25));
      const latest = [...numbersUpTo(60).slice(10), ...numbersUpTo(90).slice(70)];
      expect(texts(await backlog(b, topics, 'latest'))).to.deep.equal(latest);
      expect(texts(await backlog(b, topics, 1000))).to.deep.equal(numbersUpTo(90));
    });

    it('has at most the bytes of a page, the newest ones, but at least one entry', async ({ a, news, sport, b }) => {
      const size = 100_000;
      const publish = (topic: string, bytes: number) =>
        a.coordinator.log.publish(publication(topic, `data: ${'x'.repeat(bytes)}\n\n`));
      for (const topic of [news, sport, news, sport]) await publish(topic, size);
      const last = await publish(news, size);
      const { frames } = await backlog(b, [news, sport], 1000);
      expect(frames.length).to.be.within(2, 3);
      expect(frames.at(-1)?.position).to.deep.equal(last.cursor);
      await publish(news, 300_000);
      expect((await backlog(b, [news, sport], 10)).frames).to.have.length(1);
      const many = Array.from({ length: 40 }, (_, n) => `${news}-${n}`);
      const [first = news] = many;
      for (const topic of [first, first, first]) await publish(topic, size);
      await Promise.all(many.slice(32).map(topic => publish(topic, 20_000)));
      await Promise.all(many.slice(0, 32).map(topic => publish(topic, 1_000)));
      expect((await backlog(b, many, 1000)).frames).to.have.length(40);
    });

    it('that many ask for at once is the same for all, and ends at the head of each', async ({ a, news, b }) => {
      await publishAll(a, [news, news, news]);
      const asked = Array.from({ length: 20 }, () => backlog(b, [news], 2));
      const result = await a.coordinator.log.publish(broadcast('x'));
      for (const page of await Promise.all(asked)) {
        expect(texts(page)).to.deep.equal(['1', '2']);
        expect(page.head.sequence).to.be.within(cursorOf(result).sequence - 1, cursorOf(result).sequence);
      }
    });
  });

  describe('memory of subscriptions', () => {
    const remember = (
      { coordinator }: Node,
      connectionId: string,
      topic: string,
      change: 'add' | 'keep' | 'drop',
      ttl = 60_000,
    ) => coordinator.log.remember({ connectionId, topic, change, limit: 2, ttl });
    const recalled = async ({ coordinator }: Node, connectionId: string) =>
      Object.fromEntries(await coordinator.log.recall(connectionId, 60_000));
    const dropped = { kind: 'dropped' };

    core('is the same on every node, each topic since the head when it began', async ({ a, b, news, sport, c1 }) => {
      const [first, second] = await publishAll(a, [news, sport]);
      expect(await remember(a, c1, news, 'add')).to.equal(true);
      await publishAll(a, [news]);
      expect(await remember(b, c1, news, 'keep')).to.equal(true);
      const followed = { kind: 'followed', since: second };
      expect(first).to.not.deep.equal(second);
      expect(await recalled(b, c1)).to.deep.equal({ [news]: followed });
      expect(await recalled(a, c1)).to.deep.equal({ [news]: followed });
    });

    core('has nothing of an id whose client begins anew', async ({ a, b, c1, news }) => {
      await remember(a, c1, news, 'add');
      await replay(b, { topics: [] });
      expect(await recalled(a, c1)).to.have.property(news);
      await replay(b, { topics: [], forgets: c1 });
      expect(await recalled(a, c1)).to.deep.equal({});
      await remember(a, c1, news, 'add');
      const opened = { openedAt: performance.now(), seen: undefined };
      await replay(b, { topics: [], opened, forgets: c1 });
      expect(await recalled(a, c1)).to.deep.equal({});
    });

    it('has nothing of an added topic that was dropped, and else that it was', async ({ a, b, news, sport, c1 }) => {
      await remember(a, c1, news, 'add');
      await remember(a, c1, news, 'drop');
      await remember(a, c1, sport, 'drop');
      expect(await recalled(b, c1)).to.deep.equal({ [sport]: dropped });
      await remember(a, c1, sport, 'add');
      expect((await recalled(b, c1))[sport]?.kind).to.equal('followed');
      await remember(a, c1, sport, 'drop');
      await remember(a, c1, news, 'keep');
      await remember(a, c1, news, 'drop');
      expect(await recalled(b, c1)).to.deep.equal({ [sport]: dropped, [news]: dropped });
    });

    it('has at most so many topics of one id', async ({ a, news, sport, c1 }) => {
      expect(await remember(a, c1, news, 'add')).to.equal(true);
      expect(await remember(a, c1, sport, 'drop')).to.equal(true);
      for (const change of ['add', 'keep', 'drop'] as const) {
        expect(await remember(a, c1, `${news}-2`, change)).to.equal(false);
      }
      expect(await remember(a, c1, news, 'keep')).to.equal(true);
      expect(Object.keys(await recalled(a, c1))).to.have.members([news, sport]);
    });

    it('ends after its time, which a question prolongs', async ({ a, b, c1, news, sport }) => {
      await remember(a, c1, news, 'add', 20);
      await until(async () => (await b.coordinator.log.recall(c1, 1)).size === 0, 'the end of the memory');
      await remember(a, c1, news, 'add', 5_000);
      await recalled(b, c1);
      await remember(a, c1, sport, 'add', 60_000);
      expect(Object.keys(await recalled(b, c1))).to.have.members([news, sport]);
    });
  });
}
