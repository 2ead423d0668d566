import { expect } from 'chai';
import type { ResiliencePolicy } from '../../../src/contracts/policy.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { type Hook, hookedCoordinator } from '../../support/hooked-coordinator.js';
import { SubscriptionCounter } from '../../support/subscription-counter.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const DONE = { outcome: 'delivered' };
const ABSENT = { outcome: 'not-connected' };
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

  it('an id without a connection is not subscribed', async () => {
    expect(await node.service.subscribe('c1', 'news')).to.deep.equal(ABSENT);
    expect(await node.service.unsubscribe('c1', 'news')).to.deep.equal(ABSENT);
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
    it(`a client that leaves ${when} the feed runs is not subscribed and leaves no feed`, async () => {
      const { sink } = await node.connect('c1');
      onListen = now => {
        if (now === when) sink.leave();
      };
      expect(await node.service.subscribe('c1', 'news')).to.deep.equal(ABSENT);
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
});
