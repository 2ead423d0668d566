import { expect } from 'chai';
import type { Receipt } from '../../../src/contracts/events.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const options = { mailbox: { enabled: true, maxEntries: 3 }, send: { deadline: 500 } };

describe('Mailboxes', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let other: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a', { options });
    other = await cluster.started('b', { options });
  });

  afterEach(() => cluster.close());

  const send = (from: TestNode, data: string, more = {}): Promise<Receipt> =>
    from.service.sendMessageToConnection('c1', 'message', data, { durable: true, ...more });

  describe('a durable send', () => {
    it('is delivered to a connection of another node, and answers delivered', async () => {
      const { sink } = await node.connect('c1');
      expect(await send(other, 'x')).to.include({ outcome: 'delivered', nodeId: 'a' });
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    it('is delivered to a connection of this node, with an id to resume from', async () => {
      const { sink } = await node.connect('c1');
      expect(await send(node, 'x')).to.include({ outcome: 'delivered', nodeId: 'a' });
      expect(sink.lastEvent?.id).to.match(/^[0-9a-z]+\.[0-9a-z]+-[0-9a-z]+$/);
    });

    it('is stored for an id without a connection', async () => {
      expect(await send(node, 'x')).to.include({ outcome: 'stored', connectionId: 'c1' });
    });

    it('is stored at once without asking a node', async () => {
      await node.connect('c1');
      expect(await send(other, 'x', { ack: 'none' })).to.include({ outcome: 'stored' });
    });

    it('is stored when the owner does not answer in time', async () => {
      await node.connect('c1');
      const sender = await cluster.started('c', {
        options,
        wrap: inner =>
          alteredCoordinator(inner, {
            messenger: { hasReached: () => new Promise(() => undefined) },
          }),
      });
      expect(await send(sender, 'x')).to.include({ outcome: 'stored' });
    });

    it('is stored when the owner cannot be asked', async () => {
      await node.connect('c1');
      const sender = await cluster.started('c', {
        options,
        wrap: inner =>
          alteredCoordinator(inner, {
            messenger: {
              hasReached: () => Promise.reject(new SseError('UNAVAILABLE', 'no answer')),
            },
          }),
      });
      expect(await send(sender, 'x')).to.include({ outcome: 'stored' });
    });

    it('is stored for a client whose node has no mailboxes, and reaches it on a node that has', async () => {
      const without = await cluster.started('c', { options: { send: options.send } });
      const { sink } = await without.connect('c1');
      expect(await send(other, 'x')).to.include({ outcome: 'stored' });
      // Moves the client past the entry.
      await other.service.broadcastToCluster('message', 'later');
      expect(await send(other, 'y')).to.include({ outcome: 'stored' });
      await turns();
      expect(sink.data('message')).to.deep.equal(['later']);
      sink.leave();
      const again = await node.connect('c1');
      await turns();
      expect(again.sink.data('message')).to.deep.equal(['x', 'y']);
    });

    it('is stored when the send buffer of its client refuses it, whatever the policy', async () => {
      for (const policy of ['disconnect', 'drop-newest', 'drop-oldest'] as const) {
        const tight = await cluster.started(policy, { options: { ...options, sendBuffer: { maxBytes: 400, policy } } });
        const { sink } = await tight.connect('c1');
        await turns();
        sink.block();
        tight.service.sendMessage('c1', 'message', 'fill');
        expect(await send(tight, 'x'.repeat(500)), policy).to.include({ outcome: 'stored' });
        sink.leave();
        const again = await node.connect('c1', { lastEventId: sink.lastId ?? '' });
        await turns();
        expect(again.sink.data('message'), policy).to.deep.equal(['x'.repeat(500)]);
        again.sink.leave();
      }
    });

    it('is buffered behind unwritten events of a slow client', async () => {
      const { sink } = await node.connect('c1');
      sink.block();
      await send(other, 'x');
      expect(await send(other, 'y')).to.include({ outcome: 'buffered' });
    });

    it('of the same message id is kept once', async () => {
      const { sink } = await node.connect('c1');
      await send(other, 'x', { messageId: 'm1' });
      expect(await send(other, 'x', { messageId: 'm1' })).to.include({ outcome: 'delivered' });
      await turns();
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    it('is refused while mailboxes are off, and with an id of its own', async () => {
      const off = await cluster.started('c');
      expect(await codeOf(send(off, 'x'))).to.equal('INVALID_OPTION');
      expect(await codeOf(send(node, 'x', { id: '1' }))).to.equal('INVALID_EVENT_ID');
    });

    it('that is too large is rejected', async () => {
      const small = await cluster.started('c', {
        options: { ...options, limits: { maxEventBytes: 10 } },
      });
      expect(await send(small, 'x'.repeat(11))).to.include({
        outcome: 'rejected',
        code: 'EVENT_TOO_LARGE',
      });
    });
  });

  describe('while the cluster cannot be reached', () => {
    it('a durable send to a client of another node is unavailable and not stored', async () => {
      cluster.bus.cut('b');
      expect(await send(other, 'x')).to.include({ outcome: 'unavailable' });
      const { sink } = await node.connect('c1');
      await turns();
      expect(sink.names).to.deep.equal(['connected']);
    });

    it('a client of this node gets it without storage', async () => {
      const { sink } = await node.connect('c1');
      cluster.bus.cut('a');
      expect(await send(node, 'x')).to.include({ outcome: 'delivered' });
      expect(sink.data('message')).to.deep.equal(['x']);
    });

    it('it is unknown whether an unanswered one is kept', async () => {
      const lost = await cluster.started('c', {
        options,
        wrap: inner =>
          alteredCoordinator(inner, {
            log: { publish: () => Promise.reject(new SseError('UNAVAILABLE', 'no answer')) },
          }),
      });
      expect(await send(lost, 'x')).to.include({ outcome: 'unknown' });
    });
  });

  describe('a client', () => {
    it('that resumes with its last id gets newer events, once, on any node', async () => {
      const first = await node.connect('c1');
      await send(other, '0');
      const { lastId = '' } = first.sink;
      first.sink.leave();
      await turns();
      await send(other, '1');
      await send(other, '2');
      const { sink } = await other.connect('c1', { lastEventId: lastId });
      await send(node, '3');
      await turns();
      expect(sink.data('message')).to.deep.equal(['1', '2', '3']);
    });

    it('that begins anew gets stored events, and then live ones', async () => {
      await send(other, '0');
      await other.service.publish('news', 'message', 'before its time');
      await send(other, '1');
      const { sink } = await node.connect('c1', { topics: ['news'] });
      await other.service.publish('news', 'message', 'live');
      await turns();
      expect(sink.names[0]).to.equal('connected');
      expect(sink.data('message')).to.deep.equal(['0', '1', 'live']);
    });

    it('that leaves before its stored events are written, gets them when it returns', async () => {
      await send(other, '0');
      const { sink } = await node.connect('c1');
      const connected = sink.events[0]?.id ?? '';
      sink.leave();
      await turns();
      const again = await node.connect('c1', { lastEventId: connected });
      await turns();
      expect(again.sink.data('message')).to.deep.equal(['0']);
    });

    it('that got its stored events does not get them again', async () => {
      await send(other, '0');
      await other.service.publish('news', 'message', 'newer');
      const { sink } = await node.connect('c1');
      // A browser takes an id over although no event comes with it.
      const lastId = [...sink.text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] ?? '';
      sink.leave();
      await turns();
      const again = await node.connect('c1', { lastEventId: lastId, topics: ['news'] });
      await turns();
      expect(again.sink.names).to.deep.equal(['connected']);
    });

    it('gets a reset for events that its mailbox could not keep', async () => {
      const first = await node.connect('c1');
      const { lastId = '' } = first.sink;
      first.sink.leave();
      await turns();
      for (let n = 0; n < 10; n += 1) await send(other, `${n}`);
      const { sink } = await node.connect('c1', { lastEventId: lastId });
      await turns();
      const reset = sink.events.find(({ event }) => event === 'sse.reset');
      expect(JSON.parse(reset?.data ?? '')).to.deep.include({ reason: 'GAP', topics: ['@c1'] });
      expect(sink.data('message')).to.deep.equal(['7', '8', '9']);
    });

    it('gets no event of another mailbox', async () => {
      const { sink } = await node.connect('c2');
      await send(other, 'x');
      await turns();
      expect(sink.names).to.deep.equal(['connected']);
    });

    it('may follow as many topics as without a mailbox', async () => {
      const tight = await cluster.started('c', {
        options: { ...options, limits: { maxTopicsPerConnection: 2 } },
      });
      await tight.connect('c1', { topics: ['one'] });
      expect(await tight.service.subscribe('c1', 'two')).to.deep.equal({ outcome: 'delivered' });
      const refused = { outcome: 'rejected', code: 'INVALID_TOPIC' };
      expect(await tight.service.subscribe('c1', 'three')).to.deep.equal(refused);
    });
  });
});
