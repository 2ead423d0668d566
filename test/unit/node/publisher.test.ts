import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { parseCursor } from '../../../src/protocol/cursor.js';
import type { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import { codeOf } from '../../support/code-of.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const CUT_OFF = { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };

describe('Publisher', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let other: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a');
    other = await cluster.started('b');
  });

  afterEach(() => cluster.close());

  describe('a broadcast on this node', () => {
    it('reaches its connections and no others, and counts them', async () => {
      const mine = await node.connect('c1');
      const slow = await node.connect('c2');
      const theirs = await other.connect('c3');
      await turns();
      slow.sink.block();
      slow.connection.send('message', 'fill');
      await turns();
      const counts = node.service.broadcast('message', 'x');
      expect({ ...counts }).to.deep.equal({ delivered: 1, buffered: 1, rejected: 0 });
      await turns();
      expect(mine.sink.data('message')).to.deep.equal(['x']);
      expect(theirs.sink.data('message')).to.deep.equal([]);
    });

    it('counts a client with a full send buffer as dropped', async () => {
      const tight = await cluster.started('c', { options: { sendBuffer: { maxBytes: 100 } } });
      const { sink, connection } = await tight.connect('c1');
      await turns();
      sink.block();
      connection.send('message', 'fill');
      const counts = tight.service.broadcast('message', 'x'.repeat(200));
      expect({ ...counts }).to.deep.equal({ delivered: 0, buffered: 0, rejected: 1 });
    });

    it('may carry a retry, and no id', async () => {
      const { sink } = await node.connect('c1');
      node.service.broadcast('message', 'x', { retry: 77 });
      await turns();
      expect(() => node.service.broadcast('message', 'x', { id: 'mine' } as object)).to.throw(
        /broadcast has no option "id"/,
      );
      expect(sink.retries.at(-1)).to.equal(77);
    });
  });

  describe('a broadcast to the cluster', () => {
    it('reaches every subscriber once, and answers how many there were', async () => {
      const clients = [await node.connect('c1'), await other.connect('c2'), await node.connect('c3')];
      const receipt = await node.service.broadcastToCluster('message', 'x');
      expect(receipt).to.include({ local: 2, nodes: 2 });
      expect(receipt).to.not.have.property('degraded');
      expect(parseCursor(receipt.id ?? '')).to.not.equal(undefined);
      await turns();
      for (const { sink } of clients) {
        expect(sink.data('message')).to.deep.equal(['x']);
        expect(sink.lastId).to.equal(receipt.id);
      }
    });

    it('sends the given retry', async () => {
      const { sink } = await other.connect('c1');
      await node.service.broadcastToCluster('message', 'x', { retry: 77 });
      await turns();
      expect(sink.retries.at(-1)).to.equal(77);
    });

    it('without history has no id and is not replayed', async () => {
      const { sink } = await other.connect('c1');
      await turns();
      const { lastId = '' } = sink;
      const receipt = await node.service.broadcastToCluster('message', 'x', { history: false });
      expect(receipt).to.deep.equal({ outcome: 'routed', local: 0, nodes: 2 });
      const again = await other.connect('c1', { lastEventId: lastId });
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
      expect(sink.events.find(({ event }) => event === 'message')?.id).to.equal(undefined);
      expect(again.sink.data('message')).to.deep.equal([]);
    });

    it('is degraded while the node is cut off: its own clients get it, without an id', async () => {
      const mine = await node.connect('c1');
      const theirs = await other.connect('c2');
      cluster.bus.cut('a');
      const receipt = await node.service.broadcastToCluster('message', 'x');
      expect(receipt).to.deep.equal({ ...CUT_OFF, local: 1, nodes: 0, degraded: true });
      await turns();
      expect(mine.sink.data('message')).to.deep.equal(['x']);
      expect(mine.sink.lastEvent?.id).to.equal(undefined);
      expect(theirs.sink.data('message')).to.deep.equal([]);
    });

    it('is degraded while the cluster cannot even be joined', async () => {
      const lonely = cluster.node('c', {
        wrap: inner =>
          hookedCoordinator(inner, method => {
            if (method === 'start') throw new SseError('UNAVAILABLE', 'not there');
          }),
      });
      const receipt = await lonely.service.broadcastToCluster('message', 'x');
      expect(receipt).to.deep.equal({ ...CUT_OFF, local: 0, nodes: 0, degraded: true });
    });

    it('joins the cluster when the node has not joined before', async () => {
      const { sink } = await other.connect('c1');
      const receipt = await cluster.node('c').service.broadcastToCluster('message', 'x');
      expect(receipt).to.include({ local: 0, nodes: 3 });
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    it('is unknown after any other failure, which is logged, and its own clients get the event', async () => {
      const broken = cluster.node('c', {
        wrap: inner =>
          hookedCoordinator(inner, method => {
            if (method === 'log.publish') throw new SseError('INTERNAL', 'broken');
          }),
      });
      const { sink } = await broken.connect('c1');
      const receipt = await broken.service.broadcastToCluster('message', 'x');
      expect(receipt).to.deep.equal({ outcome: 'unknown', local: 1, nodes: null });
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
      expect(broken.logger.at('error')).to.have.length(1);
    });
  });

  describe('a broadcast without an answer', () => {
    const noAnswer = new SseError('UNAVAILABLE', 'no answer');

    /** A node whose publications take this way into the log. */
    const lossy = (publish: (inner: ClusterCoordinator) => ClusterCoordinator['log']['publish']): Promise<TestNode> =>
      cluster.started('lossy', { wrap: inner => alteredCoordinator(inner, { log: { publish: publish(inner) } }) });

    it('is unknown, and reaches each client of this node once although the log brings it late', async () => {
      let late: (() => unknown) | undefined;
      const lost = await lossy(inner => publication => {
        late ??= () => inner.log.publish(publication);
        return Promise.reject(noAnswer);
      });
      const { sink } = await lost.connect('c1');
      const receipt = await lost.service.broadcastToCluster('message', 'x');
      expect(receipt).to.deep.equal({ outcome: 'unknown', local: 1, nodes: null });
      const newcomer = await lost.connect('c2');
      const theirs = await other.connect('c3');
      await late?.();
      const after = await node.service.broadcastToCluster('message', 'y');
      await turns();
      for (const client of [sink, newcomer.sink, theirs.sink]) {
        expect(client.data('message')).to.deep.equal(['x', 'y']);
        expect(client.lastId).to.equal(after.id);
      }
    });

    it('moves the last id of its clients past the late entry, so that they do not get it again', async () => {
      let late: (() => unknown) | undefined;
      const lost = await lossy(inner => publication => {
        late = () => inner.log.publish(publication);
        return Promise.reject(noAnswer);
      });
      const { sink } = await lost.connect('c1');
      await lost.service.broadcastToCluster('message', 'x');
      await late?.();
      await turns();
      // A browser takes an id over although no event comes with it.
      const lastEventId = [...sink.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';
      const again = await other.connect('c1', { lastEventId });
      await turns();
      expect(again.sink.names).to.deep.equal(['connected']);
    });

    it('is stored, without a number of nodes, when the log was faster than the answer', async () => {
      const lost = await lossy(inner => async publication => {
        await inner.log.publish(publication);
        throw noAnswer;
      });
      const { sink } = await lost.connect('c1');
      const { id, ...receipt } = await lost.service.broadcastToCluster('message', 'x');
      expect(receipt).to.deep.equal({ outcome: 'stored', local: 1, nodes: null });
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
      expect(sink.lastId).to.equal(id);
    });

    it('that is repeated with its key reaches each client once', async () => {
      const { sink } = await node.connect('c1');
      const options = { idempotencyKey: 'k' };
      cluster.bus.cut('a');
      const tries = [1, 2].map(() => node.service.broadcastToCluster('message', 'x', options));
      for (const receipt of await Promise.all(tries)) expect(receipt).to.include({ degraded: true });
      cluster.bus.heal('a');
      expect(await node.service.broadcastToCluster('message', 'x', options)).to.include({ outcome: 'stored' });
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
    });
  });

  describe('a publish', () => {
    it('reaches the subscribers of its topic on every node, once and in one order', async () => {
      const topics = ['news'];
      const mine = await node.connect('c1', { topics });
      const theirs = await other.connect('c2', { topics });
      const unsubscribed = await other.connect('c3', { topics: ['sport'] });
      const publishers = [node, other, node, other];
      const receipts = await Promise.all(
        publishers.map(({ service }, n) => service.publish('news', 'message', `${n}`)),
      );
      await turns();
      const ids = receipts.map(({ id }) => id);
      for (const { sink } of [mine, theirs]) {
        expect(sink.data('message')).to.deep.equal(['0', '1', '2', '3']);
        expect(sink.events.slice(1).map(({ id }) => id)).to.deep.equal(ids);
      }
      expect(unsubscribed.sink.data('message')).to.deep.equal([]);
    });

    it('has no id where its topic keeps no history', async () => {
      const quiet = await cluster.started('c', {
        options: { history: { topics: { 'live.*': false } } },
      });
      const live = await quiet.service.publish('live.x', 'message', 'x');
      expect(live).to.deep.equal({ outcome: 'routed', topic: 'live.x' });
      expect(await quiet.service.publish('news', 'message', 'x')).to.have.property('id');
      const none = await quiet.service.publish('news', 'message', 'x', { history: false });
      expect(none).to.deep.equal({ outcome: 'routed', topic: 'news' });
    });

    it('of one key to two topics is two publications', async () => {
      const { sink } = await other.connect('c1', { topics: ['orders/eu', 'audit'] });
      const options = { idempotencyKey: 'order-17' };
      const first = await node.service.publish('orders/eu', 'message', 'order', options);
      const second = await node.service.publish('audit', 'message', 'audit', options);
      expect(second.id).to.not.equal(first.id);
      await turns();
      expect(sink.data('message')).to.deep.equal(['order', 'audit']);
    });

    it('that nobody waits for does not end the process, whatever the cluster does', async () => {
      const errors = [
        new SseError('UNAVAILABLE', 'no answer'),
        new SseError('INTERNAL', 'broken'),
        new SseError('CLOSED', 'closed'),
        new Error('foreign'),
      ];
      for (const [index, failure] of errors.entries()) {
        for (const method of ['start', 'log.publish'] as const) {
          const { service } = cluster.node(`c${index}${method.slice(0, 1)}`, {
            wrap: inner =>
              hookedCoordinator(inner, called => {
                if (called === method) throw failure;
              }),
          });
          const receipt = await service.publish('news', 'message', 'x');
          expect(receipt.outcome).to.equal(method === 'start' ? 'unavailable' : 'unknown');
        }
      }
    });

    it('is unavailable while the node is cut off, and its own clients do not get it either', async () => {
      const { sink } = await node.connect('c1', { topics: ['news'] });
      cluster.bus.cut('a');
      expect(await node.service.publish('news', 'message', 'x')).to.deep.equal({ ...CUT_OFF, topic: 'news' });
      await turns();
      expect(sink.data('message')).to.deep.equal([]);
    });
  });

  it('refuses invalid events before it joins or asks a node', async () => {
    const { service } = cluster.node('c', {
      options: { limits: { maxEventBytes: 10 } },
      wrap: inner =>
        hookedCoordinator(inner, method => {
          if (method !== 'close') throw new SseError('UNAVAILABLE', 'not there');
        }),
    });
    const large = 'x'.repeat(11);
    const broadcast = async (event: string, data: unknown): Promise<unknown> => service.broadcast(event, data);
    const cases: [Promise<unknown>, string][] = [
      [service.publish('*', 'message', 'x'), 'INVALID_TOPIC'],
      [service.publish('@c1', 'message', 'x'), 'INVALID_TOPIC'],
      [service.publish('news', 'sse.reset', 'x'), 'INVALID_EVENT_NAME'],
      [service.publish('news', 'message', undefined), 'NOT_SERIALIZABLE'],
      [service.publish('news', 'message', 'x', { retry: 1.5 }), 'INVALID_RETRY'],
      [service.publish('news', 'message', 'x', { idempotencyKey: '' }), 'INVALID_EVENT_ID'],
      [service.broadcastToCluster('connected', 'x'), 'INVALID_EVENT_NAME'],
      [service.broadcastToCluster('message', 'x', { idempotencyKey: '\n' }), 'INVALID_EVENT_ID'],
      [broadcast('message', large), 'EVENT_TOO_LARGE'],
      [broadcast('sse.x', 'x'), 'INVALID_EVENT_NAME'],
      [broadcast('message', 1n), 'NOT_SERIALIZABLE'],
    ];
    for (const [call, code] of cases) expect(await codeOf(call)).to.equal(code);
    const rejected = { outcome: 'rejected', code: 'EVENT_TOO_LARGE' };
    expect(await service.publish('news', 'message', large)).to.deep.equal({ ...rejected, topic: 'news' });
    expect(await service.broadcastToCluster('message', large)).to.deep.equal({ ...rejected, local: 0, nodes: 0 });
  });
});
