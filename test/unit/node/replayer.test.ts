import { expect } from 'chai';
import type { ClusterCoordinator, ReplayPage } from '../../../src/contracts/cluster.js';
import { compareIds } from '../../../src/client/cursor.js';
import type { ConnectionOptions } from '../../../src/contracts/service.js';
import type { CommandReceipt, Cursor } from '../../../src/contracts/events.js';
import { SseError } from '../../../src/errors.js';
import { cursorBefore, formatCursor, parseCursor } from '../../../src/protocol/cursor.js';
import { gapOf, gapOfLostLog } from '../../../src/protocol/event-stream.js';
import { codeOf } from '../../support/code-of.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';
import { until } from '../../support/until.js';

describe('Replayer', () => {
  let cluster: TestCluster;
  let node: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a');
  });

  afterEach(() => cluster.close());

  /** Publishes `from`, …, `to` - 1 and returns their ids. */
  async function publish(
    to: number,
    { from = 0, topic = 'news', padding = '', publisher = node } = {},
  ): Promise<string[]> {
    const ids: string[] = [];
    for (let n = from; n < to; n += 1) {
      const { id = '' } = await publisher.service.publish(topic, 'message', `${n}${padding}`);
      ids.push(id);
    }
    return ids;
  }

  const numbers = (sink: RecordingSink): number[] => sink.data('message').map(data => parseInt(data, 10));
  const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n);

  describe('the first event', () => {
    it('names the connection and the node', async () => {
      const { sink } = await node.connect('c1');
      await turns();
      expect(sink.events).to.have.length(1);
      expect(sink.events[0]).to.include({
        event: 'connected',
        data: '{"connectionId":"c1","nodeId":"a"}',
      });
    });

    it('carries the head, so that a quiet client can resume', async () => {
      const [, newest] = await publish(2);
      const { sink } = await node.connect('c1', { topics: ['news'] });
      await turns();
      expect(sink.lastId).to.equal(newest);
      sink.leave();
      await publish(3, { from: 2 });
      const again = await node.connect('c1', { topics: ['news'], lastEventId: sink.lastId ?? '' });
      await turns();
      expect(numbers(again.sink)).to.deep.equal([2]);
    });

    it('carries the cursor of a client that resumes', async () => {
      const [first = ''] = await publish(2);
      const { sink } = await node.connect('c1', { topics: ['news'], lastEventId: first });
      await turns();
      expect(sink.events[0]).to.include({ event: 'connected', id: first });
    });

    it('sends each client a random reconnection time around the setting', async () => {
      const { service } = cluster.node('b', { options: { reconnect: { retry: 10_000 } } });
      const retries: number[] = [];
      for (let n = 0; n < 20; n += 1) {
        const sink = new RecordingSink();
        await service.createConnection(`c${n}`, sink);
        await turns(1);
        retries.push(...sink.retries);
      }
      expect(retries).to.have.length(20);
      expect(new Set(retries).size).to.be.greaterThan(5);
      expect(retries.every(retry => retry >= 5000 && retry <= 15_000)).to.equal(true);
    });
  });

  describe('a resume', () => {
    it('replays missed entries of its topics and broadcasts, in order', async () => {
      const [first = ''] = await publish(1);
      await publish(2, { from: 1 });
      await publish(3, { from: 2, topic: 'sport' });
      await node.service.broadcastToCluster('message', '3');
      await publish(5, { from: 4 });
      const { sink } = await node.connect('c1', { topics: ['news'], lastEventId: first });
      await turns();
      expect(numbers(sink)).to.deep.equal([1, 3, 4]);
    });

    for (const [where, partly, names] of [
      ['once', true, ['sse.reset', '1', '4', '7', '8']],
      [
        'again after entries of the gap, which a page of the tail had',
        false,
        ['sse.reset', '1', '2', '3', '4', 'sse.reset', '7', '8'],
      ],
    ] as const) {
      it(`reports a gap that several pages have ${where}`, async () => {
        let page = 0;
        const other = await cluster.started('b', {
          wrap: inner =>
            alteredCoordinator(inner, {
              log: {
                replay: async request => {
                  const { head, frames } = await inner.log.replay(
                    start === undefined ? request : { ...request, after: start },
                  );
                  const [from = 0, to = 0] =
                    [
                      [0, 1],
                      [1, 4],
                      [6, 8],
                    ][page++] ?? [];
                  const hasGap = page !== 2 || partly;
                  const due = frames.slice(from, to).filter((_, at) => page !== 2 || !partly || at === 2);
                  const [first] = due;
                  if (first?.position === undefined) throw new Error('no entry');
                  const completeTo = due.at(-1)?.position ?? head;
                  const newest = frames[5]?.position ?? head;
                  const gap = hasGap ? gapOf(new Map([['news', newest]]), cursorBefore(first.position)) : undefined;
                  return { head, completeTo, frames: due, ...(gap && { gap }) };
                },
              },
            }),
        });
        const [last = ''] = await publish(1);
        const start = parseCursor(last);
        for (const [n, topic] of ['sport', 'news', 'news', 'sport', 'news', 'news', 'news', 'sport'].entries()) {
          await publish(n + 2, { from: n + 1, topic });
        }
        const { sink } = await other.connect('c1', { topics: ['news', 'sport'], lastEventId: last });
        await until(() => numbers(sink).at(-1) === 8, 'the last entry');
        const got = sink.events.slice(1).map(({ event, data }) => event ?? data);
        expect(got).to.deep.equal(names);
      });
    }

    it('goes on with the same ids on another node', async () => {
      const { sink } = await node.connect('c1', { topics: ['news'] });
      const ids = await publish(3);
      await turns();
      const other = await cluster.started('b');
      const resumed = await other.connect('c1', { topics: ['news'], lastEventId: ids[0] ?? '' });
      await publish(4, { from: 3 });
      await turns();
      expect(numbers(sink)).to.deep.equal([0, 1, 2]);
      expect(numbers(resumed.sink)).to.deep.equal([1, 2, 3]);
      expect(resumed.sink.events.slice(1, 3).map(({ id }) => id)).to.deep.equal(ids.slice(1));
    });

    it('at the head replays nothing, and nothing twice afterwards', async () => {
      const [, newest = ''] = await publish(2);
      const { sink } = await node.connect('c1', { topics: ['news'], lastEventId: newest });
      await publish(3, { from: 2 });
      await turns();
      expect(numbers(sink)).to.deep.equal([2]);
    });

    it('brings nothing of a topic without history, which is delivered all the same', async () => {
      const options = { history: { topics: { live: false } } } as const;
      const other = await cluster.started('b', { options });
      const [first = ''] = await publish(1);
      await publish(2, { from: 1, topic: 'live', publisher: other });
      const { sink } = await other.connect('c1', { topics: ['live'], lastEventId: first });
      await publish(3, { from: 2, topic: 'live', publisher: other });
      await turns();
      expect(numbers(sink)).to.deep.equal([2]);
    });
  });

  describe('a backlog', () => {
    const ids = (sink: RecordingSink): (string | undefined)[] =>
      sink.events.filter(({ event = 'message' }) => event === 'message').map(({ id }) => id);
    const join = async (options: ConnectionOptions, at = node, id = 'c1'): Promise<RecordingSink> => {
      const { sink } = await at.connect(id, options);
      await turns();
      return sink;
    };

    it('is the newest entries of the topics together, in order and without a reset, and live events follow', async () => {
      await publish(3);
      await publish(5, { from: 3, topic: 'sport' });
      await publish(6, { from: 5 });
      await publish(7, { from: 6, topic: 'other' });
      await node.service.broadcastToCluster('message', '99');
      const sink = await join({ topics: ['news', 'sport'], backlog: 4 });
      await publish(8, { from: 7, topic: 'sport' });
      await turns();
      expect(numbers(sink)).to.deep.equal([2, 3, 4, 5, 7]);
      expect(sink.data('sse.reset')).to.deep.equal([]);
    });

    it("'latest' is the newest entry of each topic", async () => {
      await publish(3);
      await publish(5, { from: 3, topic: 'sport' });
      await publish(6, { from: 5 });
      expect(numbers(await join({ topics: ['news', 'sport', 'none'], backlog: 'latest' }))).to.deep.equal([4, 5]);
    });

    it('begins behind the id of `connected`, so that a client that comes back at once gets it then', async () => {
      await publish(5);
      const sink = await join({ topics: ['news'], backlog: 3 });
      const [connected] = sink.events;
      const [first = ''] = ids(sink);
      expect(compareIds(connected?.id, first)).to.be.below(0);
      const again = await join({ topics: ['news'], backlog: 1, lastEventId: connected?.id ?? '' });
      expect(numbers(again)).to.deep.equal([2, 3, 4]);
      expect(ids(again)).to.deep.equal(ids(sink));
      expect(again.data('sse.reset')).to.deep.equal([]);
    });

    it('ends at the head: a client that stays quiet misses nothing when it comes back, and gets nothing twice', async () => {
      await publish(2);
      await node.service.broadcastToCluster('message', '99');
      const sink = await join({ topics: ['news'], backlog: 5 });
      expect(numbers(sink)).to.deep.equal([0, 1]);
      await publish(3, { from: 2 });
      const again = await join({ topics: ['news'], backlog: 5, lastEventId: lastIdIn(sink) });
      expect(numbers(again)).to.deep.equal([2]);
    });

    it('is for clients without a last id of the log, and nothing where nothing is kept', async () => {
      const [, newest = ''] = await publish(2);
      expect(numbers(await join({ topics: ['news'], backlog: 2, lastEventId: newest }))).to.deep.equal([]);
      expect(numbers(await join({ topics: ['news'], backlog: 2, lastEventId: 'of another' }))).to.deep.equal([0, 1]);
      expect(numbers(await join({ topics: ['none'], backlog: 2 }))).to.deep.equal([]);
      expect(numbers(await join({ backlog: 2 }))).to.deep.equal([]);
    });

    it('has every event once that is published while the connection opens', async () => {
      let n = 5;
      const hooked = await cluster.started('b', {
        wrap: inner =>
          alteredCoordinator(inner, {
            log: {
              replay: async request => {
                await publish(n + 1, { from: n++ });
                const page = await inner.log.replay(request);
                await publish(n + 1, { from: n++ });
                return page;
              },
            },
          }),
      });
      await publish(5);
      const sink = await join({ topics: ['news'], backlog: 3 }, hooked);
      await publish(n + 1, { from: n });
      await turns();
      expect(numbers(sink)).to.deep.equal([3, 4, 5, 6, 7]);
    });

    it('has all that waits in a long mailbox, also where the node has delivered less than the log has', async () => {
      let end: Cursor | undefined;
      const behind = await cluster.started('b', {
        options: { mailbox: { enabled: true, maxEntries: 1000 } },
        wrap: inner =>
          alteredCoordinator(inner, {
            log: {
              replay: async request => {
                const page = await inner.log.replay(request);
                if (request.after === undefined || request.until !== undefined) return page;
                end ??= { epoch: page.head.epoch, ...page.completeTo };
                return { head: end, completeTo: end, frames: [] };
              },
            },
          }),
      });
      const send = (n: number) => behind.service.sendMessageToConnection('c1', 'message', `${n}`, { durable: true });
      for (let n = 0; n < 450; n += 1) await send(n);
      const { sink } = await behind.connect('c1');
      await turns();
      expect(numbers(sink)).to.deep.equal(range(0, 450));
    });

    it('is in one order with what waits in the mailbox of the client', async () => {
      const options = { mailbox: { enabled: true } };
      const other = await cluster.started('b', { options });
      const store = (data: string) =>
        other.service.sendMessageToConnection('c1', 'message', data, { durable: true, ack: 'none' });
      await publish(1);
      await store('1');
      await publish(3, { from: 2 });
      await store('3');
      await publish(5, { from: 4 });
      const sink = await join({ topics: ['news'], backlog: 2 }, other);
      expect(numbers(sink)).to.deep.equal([1, 2, 3, 4]);
      expect(compareIds(sink.events[0]?.id, ids(sink)[0])).to.be.below(0);
    });

    it('comes with the adoption of a client that connected without the cluster, before what follows', async () => {
      await publish(3);
      let n = 3;
      const other = await cluster.started('b', {
        wrap: inner =>
          alteredCoordinator(inner, {
            log: {
              replay: async request => {
                const page = await inner.log.replay(request);
                await publish(n + 1, { from: n++ });
                return page;
              },
            },
          }),
      });
      cluster.bus.cut('b');
      const sink = await join({ topics: ['news'], backlog: 3 }, other);
      expect(numbers(sink)).to.deep.equal([]);
      cluster.bus.heal('b');
      await until(() => numbers(sink).at(-1) === n - 1, 'what follows');
      await publish(n + 1, { from: n });
      await turns();
      expect(numbers(sink)).to.deep.equal(range(1, n + 1));
    });

    it("is refused with ids: 'application'", async () => {
      expect(await codeOf(node.connect('c1', { ids: 'application', backlog: 1 }))).to.equal('INVALID_OPTION');
    });
  });

  /** The last id in all that was written, also of a block that is no event. */
  const lastIdIn = ({ text }: RecordingSink): string => [...text.matchAll(/^id: (.+)$/gm)].at(-1)?.[1] ?? '';

  describe('a last event id that is no cursor of the log', () => {
    const hostile: readonly [string, string][] = [
      ['of 2 KiB', 'x'.repeat(2048)],
      ['of 2 KiB in our form', `${'0'.repeat(2040)}.1-1`],
      ['with NUL', 'abc.1-1\0'],
      ['__proto__', '__proto__'],
      ['constructor', 'constructor'],
      ['in latin-1', 'caf\xe9.1-1'],
      ['with a line break', 'abc.1-1\nevent: x'],
      ['with leading zeros', 'abc.01-1'],
      ['of numbers without bound', 'abc.zzzzzzzzzzz-zzzzzzzzzzz'],
      ['in upper case', 'ABC.1-1'],
      ['that is empty', ''],
      ['a number', '42'],
    ];
    for (const [title, lastEventId] of hostile) {
      it(`(${title}) begins at the head without a reset`, async () => {
        await publish(2);
        const { sink } = await node.connect('c1', { topics: ['news'], lastEventId });
        await publish(3, { from: 2 });
        await turns();
        expect(sink.names).to.deep.equal(['connected', 'message']);
        expect(numbers(sink)).to.deep.equal([2]);
      });
    }
  });

  describe('a gap', () => {
    const reset = (sink: RecordingSink): unknown => JSON.parse(sink.data('sse.reset')[0] ?? '');

    it('is reported before the first entry after it, with the id from which the stream goes on', async () => {
      const small = await cluster.started('b', { options: { history: { maxEntries: 2 } } });
      const [first = ''] = await publish(5, { publisher: small });
      const { sink } = await small.connect('c1', { topics: ['news'], lastEventId: first });
      await turns();
      expect(sink.names).to.deep.equal(['connected', 'sse.reset', 'message', 'message']);
      const [connected, resetEvent] = sink.events;
      expect(connected?.id).to.equal(first);
      expect(reset(sink)).to.deep.equal({
        reason: 'GAP',
        topics: ['news'],
        resumedFrom: resetEvent?.id,
      });
    });

    it('a client that leaves right after the reset gets the entries that are left', async () => {
      const small = await cluster.started('b', { options: { history: { maxEntries: 2 } } });
      const [first = ''] = await publish(5, { publisher: small });
      const { sink } = await small.connect('c1', { topics: ['news'], lastEventId: first });
      await turns();
      const lastEventId = sink.events[1]?.id ?? '';
      const again = await small.connect('c1', { topics: ['news'], lastEventId });
      await turns();
      expect(again.sink.names).to.deep.equal(['connected', 'message', 'message']);
      expect(numbers(again.sink)).to.deep.equal([3, 4]);
    });

    it('is reported with the head of the log when no entry is left', async () => {
      const [, newest] = await publish(2);
      const sink = new RecordingSink();
      await node.connect('c1', { topics: ['sport'], lastEventId: 'other.1-1' }, sink);
      await turns();
      expect(reset(sink)).to.deep.equal({
        reason: 'EPOCH',
        topics: ['sport'],
        resumedFrom: newest,
      });
      expect(sink.lastId).to.equal(newest);
    });

    it('of another epoch is followed by everything that is kept', async () => {
      await publish(3);
      const options = { topics: ['news'], lastEventId: 'other.1-1' };
      const { sink } = await node.connect('c1', options);
      await publish(4, { from: 3 });
      await turns();
      expect(sink.names.slice(0, 2)).to.deep.equal(['connected', 'sse.reset']);
      expect(numbers(sink)).to.deep.equal([0, 1, 2, 3]);
    });

    it('is reported to a client whose cursor is newer than the log', async () => {
      const [only = ''] = await publish(1);
      const cursor = parseCursor(only);
      if (cursor === undefined) throw new Error('no cursor');
      const lastEventId = formatCursor({ ...cursor, sequence: cursor.sequence + 1 });
      const { sink } = await node.connect('c1', { topics: ['news'], lastEventId });
      await turns();
      expect(reset(sink)).to.deep.include({ reason: 'AHEAD' });
      expect(numbers(sink)).to.deep.equal([0]);
    });

    it('is not reported to a client that has every entry of its topics', async () => {
      const small = await cluster.started('b', { options: { history: { maxEntries: 1 } } });
      const [first = ''] = await publish(1, { publisher: small });
      await publish(5, { from: 1, topic: 'sport', publisher: small });
      const { sink } = await small.connect('c1', { topics: ['news'], lastEventId: first });
      await turns();
      expect(sink.names).to.deep.equal(['connected']);
    });
  });

  describe('a long replay', () => {
    let pages: number;
    let paged: TestNode;
    let onPage: (page: number) => void;

    beforeEach(() => {
      pages = 0;
      onPage = () => undefined;
      paged = cluster.node('paged', {
        options: { history: { maxEntries: 5000 } },
        wrap: coordinator =>
          hookedCoordinator(coordinator, (method, when) => {
            if (method !== 'log.replay' || when !== 'before') return;
            pages += 1;
            onPage(pages);
          }),
      });
    });

    it('comes in pages, complete and in order', async () => {
      const [first = ''] = await publish(1001, { publisher: paged });
      const { sink } = await paged.connect('c1', { topics: ['news'], lastEventId: first });
      await turns();
      expect(numbers(sink)).to.deep.equal(range(1, 1001));
      expect(pages).to.equal(5);
    });

    it('is not read faster than the client reads', async () => {
      const padding = 'x'.repeat(1000);
      const [first = ''] = await publish(2001, { publisher: paged, padding });
      const sink = new RecordingSink();
      sink.block();
      const opening = paged.connect('c1', { topics: ['news'], lastEventId: first }, sink);
      await turns();
      expect(pages).to.equal(1);
      let gulps = 0;
      const progress = { done: false };
      void opening.then(() => (progress.done = true));
      while (!progress.done) {
        gulps += 1;
        sink.gulp();
        await turns();
        // A page is 200 entries; what is written of them at once is a fraction of that.
        expect(sink.pendingBytes).to.be.lessThan(150_000);
        // Behind it waits none of the page: its bytes are shared with other clients.
        const [connection] = paged.store.connections();
        expect(connection?.sendBufferBytes).to.equal(sink.pendingBytes);
        expect(pages).to.be.at.most(1 + Math.ceil(numbers(sink).length / 200));
      }
      expect(gulps).to.be.greaterThan(10);
      sink.unblock();
      await turns();
      expect(numbers(sink)).to.deep.equal(range(1, 2001));
    });

    it('is followed by what was published meanwhile, once', async () => {
      const [first = ''] = await publish(401, { publisher: paged });
      onPage = page => {
        if (page === 2) void publish(500, { from: 401, publisher: node });
      };
      const { sink } = await paged.connect('c1', { topics: ['news'], lastEventId: first });
      await until(() => numbers(sink).length >= 499, 'all events');
      await turns();
      expect(numbers(sink)).to.deep.equal(range(1, 500));
    });

    it('keeps entries of a topic subscribed to meanwhile', async () => {
      await publish(3, { topic: 'sport' });
      const [first = ''] = await publish(401, { publisher: paged });
      const sink = new RecordingSink();
      let subscribed: Promise<CommandReceipt> | undefined;
      onPage = page => {
        if (page !== 2) return;
        subscribed = node.service.subscribe('c1', 'sport').then(async answer => {
          await publish(1001, { from: 1000, topic: 'sport' });
          await publish(1002, { from: 1001 });
          return answer;
        });
      };
      await paged.connect('c1', { topics: ['news'], lastEventId: first }, sink);
      expect(await subscribed).to.deep.equal({ outcome: 'delivered' });
      await turns();
      expect(numbers(sink)).to.deep.equal([...range(1, 401), 1000, 1001]);
      expect(sink.data('sse.reset')).to.deep.equal([]);
    });

    it('reports a gap that opened during the replay, where it begins', async () => {
      const small = await cluster.started('small', { options: { history: { maxEntries: 300 } } });
      const padding = 'x'.repeat(1000);
      const [first = ''] = await publish(301, { publisher: small, padding });
      const sink = new RecordingSink();
      sink.block();
      const opening = small.connect('c1', { topics: ['news'], lastEventId: first }, sink);
      await turns();
      await publish(602, { from: 301, publisher: small, padding });
      sink.unblock();
      await opening;
      await turns();
      expect(numbers(sink)).to.deep.equal([...range(1, 201), ...range(301, 602)]);
      const names = sink.names;
      expect(names.indexOf('sse.reset')).to.equal(201);
      expect(names.lastIndexOf('sse.reset')).to.equal(201);
    });

    it('ends the stream when the cluster fails on the way, so that the client resumes elsewhere', async () => {
      const [first = ''] = await publish(401, { publisher: paged });
      onPage = page => {
        if (page === 2) throw new SseError('UNAVAILABLE', 'cut off');
      };
      const sink = new RecordingSink();
      const opening = paged.connect('c1', { topics: ['news'], lastEventId: first }, sink);
      expect(await codeOf(opening)).to.equal('UNAVAILABLE');
      await turns();
      expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"failed"}' });
      expect(numbers(sink)).to.deep.equal(range(1, 201));
      expect(sink.ended).to.equal(true);
      expect(paged.store.size).to.equal(0);
      expect(cluster.bus.count).to.equal(0);
    });

    it('stops when the client leaves', async () => {
      const padding = 'x'.repeat(1000);
      const [first = ''] = await publish(1001, { publisher: paged, padding });
      const sink = new RecordingSink();
      sink.block();
      const opening = codeOf(paged.connect('c1', { topics: ['news'], lastEventId: first }, sink));
      await turns();
      sink.leave();
      expect(await opening).to.equal('CONNECTION_CLOSED');
      await turns();
      expect(pages).to.equal(1);
      expect(paged.store.size).to.equal(0);
      expect(cluster.bus.count).to.equal(0);
    });

    it('stops when the id is taken over, and answers so', async () => {
      const [first = ''] = await publish(401, { publisher: paged });
      const sink = new RecordingSink();
      onPage = page => {
        if (page === 2) void node.connect('c1');
      };
      const opening = paged.connect('c1', { topics: ['news'], lastEventId: first }, sink);
      expect(await codeOf(opening)).to.equal('DUPLICATE_CONNECTION');
      await turns();
      expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"superseded"}' });
      expect(cluster.bus.route('c1')).to.include({ nodeId: 'a' });
    });
  });

  describe('a log that is lost on the way', () => {
    const frame = (cursor: Cursor, text: string) => ({
      bytes: Buffer.from(`id: ${formatCursor(cursor)}\ndata: ${text}\n\n`),
      position: cursor,
    });
    const old = (sequence: number): Cursor => ({ epoch: 'old', ms: 1_000_000, sequence });
    const young = (sequence: number): Cursor => ({ epoch: 'young', ms: 1000, sequence });

    function scripted(pages: readonly ReplayPage[]): { node: TestNode; asked: () => number } {
      let asked = 0;
      const replay = async (): Promise<ReplayPage> => {
        const page = pages[asked];
        asked += 1;
        if (page === undefined) throw new Error(`asked for page ${asked}`);
        return page;
      };
      const wrap = (inner: ClusterCoordinator): ClusterCoordinator => alteredCoordinator(inner, { log: { replay } });
      return { node: cluster.node('scripted', { wrap }), asked: () => asked };
    }

    for (const [clock, ms] of [
      ['behind', 1_000],
      ['ahead of', 2_000_000],
    ] as const) {
      it(`is reported, and the new log is replayed to its own head, with a clock ${clock} the former one`, async () => {
        const next = (sequence: number): Cursor => ({ ...young(sequence), ms });
        const { node: reader, asked } = scripted([
          { head: old(500), completeTo: old(1), frames: [frame(old(1), 'old')] },
          {
            head: next(2),
            completeTo: next(1),
            frames: [frame(next(1), 'one')],
            gap: gapOfLostLog('EPOCH', next(0)),
          },
          { head: next(3), completeTo: next(3), frames: [frame(next(2), 'two')] },
        ]);
        const { sink, connection } = await reader.connect('c1', {
          topics: ['news'],
          lastEventId: formatCursor(old(0)),
        });
        cluster.bus.reach('scripted')?.onPublication('news', frame(next(4), 'live'));
        await turns();
        expect(asked()).to.equal(3);
        expect(connection.state.kind).to.equal('open');
        expect(sink.names.indexOf('sse.reset')).to.equal(2);
        expect(sink.data('message')).to.deep.equal(['old', 'one', 'two', 'live']);
      });
    }

    it('a client gets what its node delivers after a page that ended before the goal, since the node is behind the log', async () => {
      const { node: reader } = scripted([
        { head: old(500), completeTo: old(1), frames: [frame(old(1), 'first')] },
        { head: old(2), completeTo: old(2), frames: [frame(old(2), 'second')] },
      ]);
      const { sink } = await reader.connect('c1', { topics: ['news'], lastEventId: formatCursor(old(0)) });
      cluster.bus.reach('scripted')?.onPublication('news', frame(old(2), 'second'));
      cluster.bus.reach('scripted')?.onPublication('news', frame(old(3), 'third'));
      await turns();
      expect(sink.data('message')).to.deep.equal(['first', 'second', 'third']);
    });

    it('a replay ends when the log ends before its goal', async () => {
      const { node: reader, asked } = scripted([
        { head: old(500), completeTo: old(1), frames: [frame(old(1), 'old')] },
        { head: old(2), completeTo: old(2), frames: [frame(old(2), 'last')] },
      ]);
      const { connection } = await reader.connect('c1', {
        topics: ['news'],
        lastEventId: formatCursor(old(0)),
      });
      expect(connection.state.kind).to.equal('open');
      expect(asked()).to.equal(2);
    });
  });
});
