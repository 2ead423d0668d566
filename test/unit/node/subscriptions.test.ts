import { expect } from 'chai';
import { useFakeTimers } from 'sinon';
import type { ResiliencePolicy } from '../../../src/contracts/policy.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { type Hook, hookedCoordinator } from '../../support/hooked-coordinator.js';
import type { RecordingSink } from '../../support/recording-sink.js';
import { SubscriptionCounter } from '../../support/subscription-counter.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const DONE = { outcome: 'delivered' };
const STORED = { outcome: 'stored' };
const TOO_MANY = { outcome: 'rejected', code: 'INVALID_TOPIC' };
const CUT_OFF = { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };

describe('Subscriptions', () => {
  let cluster: TestCluster;
  let subscriptions: SubscriptionCounter;
  let onListen: (when: 'before' | 'after') => void | Promise<void>;
  let node: TestNode;
  let other: TestNode;

  const hook: Hook = (method, when) => (method === 'log.subscribe' ? onListen(when) : undefined);

  beforeEach(async () => {
    cluster = new TestCluster();
    subscriptions = new SubscriptionCounter();
    onListen = () => undefined;
    node = await cluster.started('a', {
      options: { limits: { maxTopicsPerConnection: 3 } },
      wrap: inner => hookedCoordinator(subscriptions.count(inner), hook),
    });
    other = await cluster.started('b');
  });

  afterEach(() => cluster.close());

  it('what is published after a subscribe resolved is delivered, from any node', async () => {
    const { sink } = await node.connect('c1');
    expect(await node.service.subscribe('c1', 'news')).to.deep.equal(DONE);
    await other.service.publish('news', 'message', '1');
    expect(await other.service.subscribe('c1', 'sport')).to.deep.equal(DONE);
    await other.service.publish('sport', 'message', '2');
    await turns();
    expect(sink.data('message')).to.deep.equal(['1', '2']);
    expect(subscriptions.balance).to.deep.equal({ news: 1, sport: 1 });
  });

  it('what is published after an unsubscribe is not', async () => {
    const { sink, connection } = await node.connect('c1', { topics: ['news', 'sport'] });
    expect(await node.service.unsubscribe('c1', 'news')).to.deep.equal(DONE);
    expect(await other.service.unsubscribe('c1', 'sport')).to.deep.equal(DONE);
    for (const topic of ['news', 'sport']) await other.service.publish(topic, 'message', 'x');
    await turns();
    expect(sink.data('message')).to.deep.equal([]);
    expect([...connection.topics]).to.deep.equal([]);
    expect(subscriptions.balance).to.deep.equal({});
  });

  it('a second subscribe changes nothing', async () => {
    await node.connect('c1', { topics: ['news'] });
    expect(await node.service.subscribe('c1', 'news')).to.deep.equal(DONE);
    expect(subscriptions.balance).to.deep.equal({ news: 1 });
    await node.service.unsubscribe('c1', 'news');
    expect(await node.service.unsubscribe('c1', 'news')).to.deep.equal(DONE);
    expect(subscriptions.balance).to.deep.equal({});
  });

  it('at once, of one topic, is one subscription', async () => {
    await node.connect('c1');
    onListen = () => turns(1);
    const { service } = node;
    const calls = [1, 2, 3].map(() => service.subscribe('c1', 'news'));
    expect(await Promise.all(calls)).to.deep.equal([DONE, DONE, DONE]);
    expect(subscriptions.balance).to.deep.equal({ news: 1 });
  });

  it('at once, of many topics, do not exceed the limit', async () => {
    const { connection } = await node.connect('c1', { topics: ['0'] });
    onListen = () => turns(1);
    const { service } = node;
    const receipts = await Promise.all(['1', '2', '3', '4'].map(topic => service.subscribe('c1', topic)));
    expect(receipts).to.deep.equal([DONE, DONE, TOO_MANY, TOO_MANY]);
    expect([...connection.topics]).to.deep.equal(['0', '1', '2']);
    expect(subscriptions.balance).to.deep.equal({ 0: 1, 1: 1, 2: 1 });
  });

  it('a subscription it has is no further one at the limit', async () => {
    await node.connect('c1', { topics: ['0', '1'] });
    onListen = () => turns(1);
    const { service } = node;
    const calls = [1, 2].map(() => service.subscribe('c1', '2'));
    expect(await Promise.all(calls)).to.deep.equal([DONE, DONE]);
    expect(subscriptions.balance).to.deep.equal({ 0: 1, 1: 1, 2: 1 });
  });

  it('over the limit is answered from another node as well', async () => {
    await node.connect('c1', { topics: ['0', '1', '2'] });
    expect(await other.service.subscribe('c1', '3')).to.deep.equal(TOO_MANY);
  });

  for (const when of ['before', 'after'] as const) {
    it(`a client that leaves ${when} the feed runs leaves no feed, and follows the topic when it comes back`, async () => {
      const { sink } = await node.connect('c1');
      onListen = now => {
        if (now === when) sink.leave();
      };
      expect(await node.service.subscribe('c1', 'news')).to.deep.equal(STORED);
      expect(subscriptions.balance).to.deep.equal({});
      expect([...node.store.topics()]).to.deep.equal([]);
    });
  }

  it('a feed that cannot be started is unavailable and subscribes no connection', async () => {
    const { connection } = await node.connect('c1');
    onListen = when => {
      if (when === 'before') throw new SseError('UNAVAILABLE', 'cut off');
    };
    expect(await node.service.subscribe('c1', 'news')).to.deep.equal(CUT_OFF);
    expect([...connection.topics]).to.deep.equal([]);
    expect(subscriptions.balance).to.deep.equal({});
  });

  it('a subscription that succeeds after the policy gave up is undone', async () => {
    let givesUp = false;
    const policy: ResiliencePolicy = {
      async execute(_kind, operation) {
        const controller = new AbortController();
        if (!givesUp) return operation(controller);
        void operation(controller);
        controller.abort();
        throw new SseError('UNAVAILABLE', 'given up');
      },
      circuit: () => 'closed',
    };
    const hasty = await cluster.started('hasty', {
      policy,
      wrap: inner => subscriptions.count(inner),
    });
    const { connection } = await hasty.connect('c1');
    givesUp = true;
    expect(await hasty.service.subscribe('c1', 'news')).to.deep.equal(CUT_OFF);
    await turns();
    expect([...connection.topics]).to.deep.equal([]);
    expect(subscriptions.balance).to.deep.equal({});
    givesUp = false;
  });

  it('works for unsubscribing while the node is cut off', async () => {
    const { connection } = await node.connect('c1', { topics: ['news'] });
    cluster.bus.cut('a');
    expect(await node.service.unsubscribe('c1', 'news')).to.deep.equal(DONE);
    expect([...connection.topics]).to.deep.equal([]);
    expect(await node.service.subscribe('c1', 'news')).to.deep.equal(CUT_OFF);
  });

  it('refuses what is no topic', async () => {
    await node.connect('c1');
    for (const topic of ['', '*', '@c1', 'x'.repeat(257)]) {
      expect(await codeOf(node.service.subscribe('c1', topic))).to.equal('INVALID_TOPIC');
      expect(await codeOf(node.service.unsubscribe('c1', topic))).to.equal('INVALID_TOPIC');
    }
  });

  describe('of a client that comes back', () => {
    const resumed = async (at: TestNode, lastEventId: string | undefined, topics: readonly string[] = []) => {
      const { sink } = await at.connect('c1', { topics, ...(lastEventId !== undefined && { lastEventId }) });
      await turns();
      return sink;
    };

    it('goes on, on another node, with what was missed since the subscription began', async () => {
      const { sink } = await node.connect('c1');
      await node.service.publish('room-7', 'message', 'before');
      await other.service.subscribe('c1', 'room-7');
      await node.service.publish('room-7', 'message', '1');
      sink.leave();
      await node.service.publish('room-7', 'message', '2');
      // The client has the id of its first event alone.
      const again = await resumed(other, firstId(sink));
      expect(again.data('message')).to.deep.equal(['1', '2']);
      await node.service.publish('room-7', 'message', '3');
      await turns();
      expect(again.data('message')).to.deep.equal(['1', '2', '3']);
      expect(again.names).to.not.include('sse.reset');
    });

    it('goes on after a second return, which has no event of its own', async () => {
      const { sink } = await node.connect('c1');
      await node.service.subscribe('c1', 'room-7');
      sink.leave();
      (await resumed(other, sink.lastId)).leave();
      await node.service.publish('room-7', 'message', '1');
      expect((await resumed(node, sink.lastId)).data('message')).to.deep.equal(['1']);
    });

    it('begins and ends while the client is away', async () => {
      const { sink } = await node.connect('c1', { topics: ['news', 'sport'] });
      sink.leave();
      expect(await other.service.subscribe('c1', 'room-7')).to.deep.equal(STORED);
      expect(await other.service.unsubscribe('c1', 'news')).to.deep.equal(STORED);
      for (const topic of ['news', 'sport', 'room-7']) await node.service.publish(topic, 'message', topic);
      const again = await resumed(node, sink.lastId, ['news', 'sport']);
      expect(again.data('message')).to.deep.equal(['sport', 'room-7']);
      expect(await other.service.unsubscribe('c1', 'room-7')).to.deep.equal(DONE);
      again.leave();
      await node.service.publish('room-7', 'message', 'later');
      expect((await resumed(node, again.lastId, ['news', 'sport'])).data('message')).to.deep.equal([]);
    });

    it('is not inherited by a client without a last id, nor by its later connections', async () => {
      const { sink } = await node.connect('c1');
      await node.service.subscribe('c1', 'room-7');
      sink.leave();
      const anew = await resumed(other, undefined);
      anew.leave();
      await node.service.publish('room-7', 'message', '1');
      expect((await resumed(node, anew.lastId)).data('message')).to.deep.equal([]);
    });

    it('reports a gap of entries since the subscription began, and none of earlier ones', async () => {
      const options = { history: { topics: { 'room-*': { maxEntries: 1 } } } };
      const third = await cluster.started('c', { options });
      const { sink } = await third.connect('c1');
      for (const text of ['1', '2', '3']) await third.service.publish('room-7', 'message', text);
      await third.service.subscribe('c1', 'room-7');
      const start = sink.lastId;
      sink.leave();
      expect((await resumed(third, start)).names).to.deep.equal(['connected']);
      for (const text of ['4', '5']) await third.service.publish('room-7', 'message', text);
      expect((await resumed(third, start)).names).to.deep.equal(['connected', 'sse.reset', 'message']);
    });

    it('that was unsubscribed while the node was cut off has ended once the node is back', async () => {
      const clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
      try {
        const { sink } = await node.connect('c1', { topics: ['news'] });
        cluster.bus.cut('a');
        await node.service.unsubscribe('c1', 'news');
        cluster.bus.heal('a');
        await clock.tickAsync(1_500);
        sink.leave();
        await node.service.publish('news', 'message', '1');
        expect((await resumed(other, sink.lastId, ['news'])).data('message')).to.deep.equal([]);
      } finally {
        clock.restore();
      }
    });
  });
});

function firstId({ events }: RecordingSink): string | undefined {
  return events[0]?.id;
}
