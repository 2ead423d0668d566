import type { Publication } from '../../../contracts/cluster.js';
import { formatCursor, isAfter } from '../../../protocol/cursor.js';
import { expect } from '../expect.js';
import { until } from '../until.js';
import type { Ground } from './ground.js';
import {
  connect,
  messagesOf,
  subscribeAll,
  settled,
  publication,
  broadcast,
  head,
  replay,
  message,
  cursorOf,
} from './steps.js';

/** Publications and their way to every node. */
export function publicationsContract({ describe, it, core }: Ground): void {
  describe('publish', () => {
    core('reaches every node with its id in front, and answers its cursor and the nodes', async ({ a, b, news }) => {
      await subscribeAll([a, b], news);
      const result = await a.coordinator.log.publish(publication(news, 'data: x\n\n'));
      expect(result.nodes).to.equal(2);
      const cursor = cursorOf(result);
      for (const { listener } of [a, b]) {
        await until(() => listener.publications.length === 1, 'the publication');
        const [published] = listener.publications;
        expect(published?.topic).to.equal(news);
        expect(published?.text).to.equal(`id: ${formatCursor(cursor)}\ndata: x\n\n`);
        expect(published?.frame.position).to.deep.include({ ms: cursor.ms, sequence: cursor.sequence });
      }
    });

    it('without a topic reaches every node, subscribed or not', async ({ a, b }) => {
      await a.coordinator.log.publish(broadcast('x'));
      await until(() => b.listener.publications.length === 1, 'the broadcast');
      expect(b.listener.publications[0]?.topic).to.equal(undefined);
      expect(b.listener.publications[0]?.frame.position).to.not.equal(undefined);
    });

    core('has one order for all nodes, which is the order of the cursors', async ({ a, b, news, sport }) => {
      await subscribeAll([a, b], news, sport);
      const topics = [news, undefined, sport];
      const results = await Promise.all(
        Array.from({ length: 45 }, (_, n) =>
          (n % 2 === 0 ? a : b).coordinator.log.publish(publication(topics[n % 3], `data: ${n}\n\n`)),
        ),
      );
      const cursors = results.map(cursorOf).sort((one, other) => (isAfter(one, other) ? 1 : -1));
      for (const { listener } of [a, b]) {
        await until(() => listener.publications.length >= 45, 'all publications');
        expect(listener.publications.map(({ frame }) => frame.position?.sequence)).to.deep.equal(
          cursors.map(({ sequence }) => sequence),
        );
      }
    });

    it('of one node arrives in the order of its calls', async ({ a, b, news }) => {
      await subscribeAll([b], news);
      const texts = Array.from({ length: 20 }, (_, n) => `data: ${n}\n\n`);
      await Promise.all(texts.map(text => a.coordinator.log.publish(publication(news, text))));
      await until(() => b.listener.publications.length === 20, 'all publications');
      const arrived = b.listener.publications.map(({ text }) => text.replace(/^id: .*\n/, ''));
      expect(arrived).to.deep.equal(texts);
    });

    core('without retention has no cursor, no id, and is not kept', async ({ a, b, news }) => {
      await subscribeAll([a, b], news);
      const before = await head(a);
      const result = await a.coordinator.log.publish({ ...publication(news, 'data: x\n\n'), retention: false });
      expect(result).to.deep.equal({ nodes: 2 });
      await until(() => b.listener.publications.length === 1, 'the publication');
      expect(b.listener.publications[0]?.text).to.equal('data: x\n\n');
      expect(b.listener.publications[0]?.frame.position).to.equal(undefined);
      const page = await replay(b, { topics: [news], after: before });
      expect(page.frames).to.deep.equal([]);
    });

    core(
      'with a key that was used changes nothing and answers as before, on every node',
      async ({ a, b, news, key }) => {
        await subscribeAll([a, b], news);
        const keyed = { ...publication(news, 'data: 1\n\n'), idempotencyKey: key };
        const first = await a.coordinator.log.publish(keyed);
        expect(await a.coordinator.log.publish(keyed)).to.deep.equal(first);
        expect(await b.coordinator.log.publish(keyed)).to.deep.equal(first);
        await settled(a, b);
        expect(b.listener.publications.filter(({ topic }) => topic === news)).to.have.length(1);
      },
    );

    core('with a key that was used for another topic is published', async ({ a, b }) => {
      await b.coordinator.log.subscribe(['orders', 'audit']);
      const cursors = [];
      for (const topic of ['orders', 'audit', undefined]) {
        const keyed = { ...publication('orders', 'data: 1\n\n'), topic, idempotencyKey: 'order-17' };
        cursors.push(cursorOf(await a.coordinator.log.publish(keyed)).sequence);
        await a.coordinator.log.publish({ ...keyed, retention: false, idempotencyKey: 'order-18' });
      }
      expect(new Set(cursors).size).to.equal(3);
      await until(() => b.listener.publications.length === 6, 'the publications');
    });

    it('brings its id to every node, live, and not kept as well', async ({ a, b }) => {
      const named = { ...broadcast('x'), id: 'pub_1-A' };
      await a.coordinator.log.publish(named);
      await a.coordinator.log.publish({ ...named, retention: false });
      await a.coordinator.log.publish(broadcast('x'));
      for (const { listener } of [a, b]) {
        await until(() => listener.publications.length === 3, 'the publications');
        expect(listener.publications.map(({ id }) => id)).to.deep.equal(['pub_1-A', 'pub_1-A', undefined]);
      }
    });

    it('with different keys publishes twice', async ({ a, key }) => {
      const one = await a.coordinator.log.publish({ ...broadcast('x'), idempotencyKey: `${key}-1` });
      const other = await a.coordinator.log.publish({ ...broadcast('x'), idempotencyKey: `${key}-2` });
      expect(cursorOf(other).sequence).to.be.greaterThan(cursorOf(one).sequence);
    });

    it('without retention and with a key that was used is not delivered again', async ({ a, b, key }) => {
      const keyed: Publication = { ...broadcast('x'), retention: false, idempotencyKey: key };
      await a.coordinator.log.publish(keyed);
      await b.coordinator.log.publish(keyed);
      await settled(a, b);
      expect(b.listener.publications.filter(({ text }) => text.includes('x'))).to.have.length(1);
    });

    it('still arrives when one of two subscriptions is undone', async ({ a, b, news }) => {
      await subscribeAll([b], news);
      await subscribeAll([b], news);
      b.coordinator.log.unsubscribe([news]);
      await a.coordinator.log.publish(publication(news, 'data: x\n\n'));
      await until(() => b.listener.publications.length === 1, 'the publication');
    });

    it('arrives again after all subscriptions are undone and a new one resolves', async ({ a, b, news }) => {
      await subscribeAll([b], news);
      b.coordinator.log.unsubscribe([news]);
      await subscribeAll([b], news);
      await a.coordinator.log.publish(publication(news, 'data: x\n\n'));
      await until(() => b.listener.publications.length === 1, 'the publication');
    });

    it('can be subscribed to for several topics at once', async ({ a, b, news, sport }) => {
      await subscribeAll([b], news, sport);
      await a.coordinator.log.publish(publication(news, 'data: 1\n\n'));
      await a.coordinator.log.publish(publication(sport, 'data: 2\n\n'));
      await until(() => b.listener.publications.length === 2, 'both publications');
    });
  });

  describe('trace', () => {
    const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=1;b="~"';

    it('of a message reaches its owner as it is, on this node and another', async ({ a, b, c1, c2, t1, m1, m2 }) => {
      await connect(a, c1, t1);
      await connect(b, c2, t1);
      await a.coordinator.messenger.send({ ...message(c1, m1), trace: TRACE });
      await a.coordinator.messenger.send({ ...message(c2, m2), trace: TRACE });
      expect(messagesOf(a)).to.have.length(1);
      expect(messagesOf(b)).to.have.length(1);
      for (const node of [a, b]) expect(messagesOf(node)[0]?.trace).to.equal(TRACE);
    });

    it('of a message with ack none reaches its owner', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      await a.coordinator.messenger.send({ ...message(c1, m1), ack: 'none', trace: TRACE });
      await until(() => messagesOf(b).length === 1, 'the message');
      expect(messagesOf(b)[0]?.trace).to.equal(TRACE);
    });

    core('of a close reaches the owner, and one that cannot be is dropped', async ({ a, b, c1, c2, t1, t2 }) => {
      for (const trace of [TRACE, undefined, 'x\n']) {
        await connect(b, c1, t1);
        expect(await a.coordinator.messenger.close(c1, 'kicked', trace)).to.deep.equal({ closed: 1, missing: [] });
      }
      await connect(b, c2, t2);
      expect(await a.coordinator.messenger.closeAll('kicked', TRACE)).to.deep.equal({ closed: 1, missing: [] });
      expect(b.listener.closeTraces).to.deep.equal([TRACE, undefined, undefined, TRACE]);
    });

    core('of a revocation reaches every node, and one that cannot be is dropped', async ({ a, b, c1 }) => {
      const revocation = { id: 'r1', target: c1, topics: [], reason: 'gone', cut: false, ttl: 60_000, age: 5 };
      await a.coordinator.messenger.revoke(revocation, TRACE);
      await a.coordinator.messenger.revoke({ ...revocation, id: 'r2' }, 'x\n');
      for (const { listener } of [a, b]) {
        const traces = listener.revocations.map(({ id, trace }) => `${id} ${trace ?? 'none'}`);
        // A node may read the mark of a revocation as well, which has no trace.
        expect(new Set([...traces, 'r1 none'])).to.deep.equal(new Set([`r1 ${TRACE}`, 'r1 none', 'r2 none']));
      }
    });

    core('of a registration reaches the former owner', async ({ a, b, c1, t1, t2, takeoversAt }) => {
      await connect(b, c1, t1);
      const newer = { connectionId: c1, token: t2, onDuplicate: 'takeover', trace: TRACE } as const;
      expect(await a.coordinator.routes.register(newer)).to.include({ outcome: 'registered' });
      await until(() => takeoversAt(b).length === 1, 'the notification');
      expect(takeoversAt(b)).to.deep.equal([{ connectionId: c1, token: t1, trace: TRACE }]);
    });

    core('of a publication reaches every node, kept or not, and changes nothing else', async ({ a, b, news }) => {
      await subscribeAll([a, b], news);
      const kept = publication(news, 'data: 1\n\n');
      await a.coordinator.log.publish({ ...kept, trace: TRACE });
      await a.coordinator.log.publish({ ...kept, topic: undefined, trace: TRACE });
      await a.coordinator.log.publish({ ...kept, retention: false, trace: TRACE });
      for (const { listener } of [a, b]) {
        await until(() => listener.publications.length === 3, 'the publications');
        expect(listener.publications.map(({ trace }) => trace)).to.deep.equal(Array(3).fill(TRACE));
        for (const { text } of listener.publications) expect(text).to.match(/^(id: \S+\n)?data: 1\n\n$/);
      }
    });

    it('is not part of what is replayed', async ({ a, b, news }) => {
      const before = await head(a);
      await a.coordinator.log.publish({ ...publication(news, 'data: 1\n\n'), trace: TRACE });
      const page = await replay(b, { topics: [news], after: before });
      expect(page.frames.map(({ bytes }) => bytes.toString())).to.have.length(1);
      expect(page.frames[0]?.bytes.toString()).to.match(/^id: \S+\ndata: 1\n\n$/);
    });

    it('may be 1,024 characters long', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      await a.coordinator.messenger.send({ ...message(c1, m1), trace: 't'.repeat(1024) });
      expect(messagesOf(b)[0]?.trace).to.equal('t'.repeat(1024));
    });

    for (const [what, trace] of [
      ['too long', 't'.repeat(1025)],
      ['empty', ''],
      ['of several lines', 'a\nb'],
      ['not printable', 'a\u0000b'],
      ['not ASCII', 'tracé'],
    ] as const) {
      it(`that is ${what} is dropped, and the event arrives`, async ({ a, b, c1, t1, m1, news }) => {
        await connect(b, c1, t1);
        await subscribeAll([b], news);
        const result = await a.coordinator.messenger.send({ ...message(c1, m1), trace });
        expect(result).to.include({ outcome: 'delivered' });
        expect(messagesOf(b)).to.have.length(1);
        expect(messagesOf(b)[0]?.trace).to.equal(undefined);
        await a.coordinator.log.publish({ ...publication(news, 'data: x\n\n'), trace });
        await until(() => b.listener.publications.length === 1, 'the publication');
        expect(b.listener.publications[0]?.trace).to.equal(undefined);
      });
    }
  });
}
