import { expect } from 'chai';
import type { ConnectionFilter } from '../../../src/contracts/service.js';
import { SseError } from '../../../src/errors.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { until } from '../../support/until.js';

describe('SseService on two nodes', () => {
  let cluster: TestCluster;
  let here: TestNode;
  let there: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    here = await cluster.started('here');
    there = await cluster.started('there');
  });
  afterEach(async () => {
    await cluster.close();
  });

  const codeOf = async (run: () => unknown): Promise<string | undefined> => {
    try {
      await run();
      return undefined;
    } catch (error) {
      return SseError.is(error) ? error.code : String(error);
    }
  };

  describe('receipts', () => {
    it('delivered: this node wrote it', async () => {
      const { sink } = await here.connect('c1');
      const receipt = here.service.sendMessage('c1', 'note', { a: 1 });
      expect(receipt).to.include({ outcome: 'delivered', connectionId: 'c1', nodeId: 'here' });
      expect(sink.data('note')).to.deep.equal(['{"a":1}']);
    });

    it('delivered: the other node wrote it', async () => {
      const { sink } = await there.connect('c1');
      const receipt = await here.service.sendMessageToConnection('c1', 'note', 'x');
      expect(receipt).to.include({ outcome: 'delivered', nodeId: 'there' });
      expect(sink.data('note')).to.deep.equal(['x']);
    });

    it('buffered: the client is slow', async () => {
      const { sink } = await there.connect('c1');
      sink.block();
      there.service.sendMessage('c1', 'note', '1');
      const receipt = await here.service.sendMessageToConnection('c1', 'note', '2');
      expect(receipt.outcome).to.equal('buffered');
      sink.unblock();
      expect(sink.data('note')).to.deep.equal(['1', '2']);
    });

    it('not-connected: no node has the connection', async () => {
      expect(here.service.sendMessage('c1', 'note', 'x').outcome).to.equal('not-connected');
      await there.connect('c1');
      expect(here.service.sendMessage('c1', 'note', 'x').outcome).to.equal('not-connected');
      const receipt = await here.service.sendMessageToConnection('nobody', 'note', 'x');
      expect(receipt.outcome).to.equal('not-connected');
    });

    it('rejected: too large, whether it is connected or not', async () => {
      const node = cluster.node('small', { options: { limits: { maxEventBytes: 10 } } });
      const { sink } = await node.connect('c1');
      for (const receipt of [
        node.service.sendMessage('c1', 'note', 'x'.repeat(11)),
        await node.service.sendMessageToConnection('nobody', 'note', 'x'.repeat(11)),
      ]) {
        expect(receipt).to.include({ outcome: 'rejected', code: 'EVENT_TOO_LARGE' });
      }
      expect(sink.names).to.deep.equal(['connected']);
    });

    it('rejected: the send buffer is full, and by the default policy the connection closed', async () => {
      const node = cluster.node('tight', { options: { sendBuffer: { maxBytes: 500 } } });
      const { connection, sink } = await node.connect('c1');
      sink.block();
      node.service.sendMessage('c1', 'note', 'x'.repeat(400));
      const receipt = node.service.sendMessage('c1', 'note', 'x'.repeat(400));
      expect(receipt).to.include({ outcome: 'rejected', code: 'SEND_BUFFER_FULL' });
      expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'slow' });
      expect(node.service.sendMessage('c1', 'note', 'x').outcome).to.equal('not-connected');
    });

    it('routed: the call does not wait for the owner', async () => {
      await there.connect('c1');
      const receipt = await here.service.sendMessageToConnection('c1', 'note', 'x', {
        ack: 'none',
      });
      expect(receipt).to.include({ outcome: 'routed', nodeId: 'there' });
    });

    it('unknown: the owner does not answer within the deadline', async () => {
      await there.connect('c1');
      cluster.bus.cut('there');
      const receipt = await here.service.sendMessageToConnection('c1', 'note', 'x', {
        deadline: 5,
      });
      expect(receipt.outcome).to.equal('unknown');
      expect(receipt.ms).to.be.at.least(4);
    });

    it('unavailable: the cluster cannot be reached, but this node’s clients can', async () => {
      const { sink } = await here.connect('mine');
      await there.connect('c1');
      cluster.bus.cut('here');
      const receipt = await here.service.sendMessageToConnection('c1', 'note', 'x');
      expect(receipt.outcome).to.equal('unavailable');
      const local = await here.service.sendMessageToConnection('mine', 'note', 'x');
      expect(local.outcome).to.equal('delivered');
      expect(sink.data('note')).to.deep.equal(['x']);
    });

    it('a message id that was delivered is answered again and not written twice', async () => {
      const { sink } = await there.connect('c1');
      const options = { messageId: 'order-1' };
      for (const node of [here, here, there]) {
        const receipt = await node.service.sendMessageToConnection('c1', 'note', 'x', options);
        expect(receipt).to.include({ outcome: 'delivered', messageId: 'order-1' });
      }
      expect(sink.data('note')).to.deep.equal(['x']);
    });

    it('a hostile message id is refused', async () => {
      for (const messageId of ['', 'a\nb', 'x'.repeat(129)]) {
        expect(await codeOf(() => here.service.sendMessage('c1', 'note', 'x', { messageId }))).to.equal(
          'INVALID_EVENT_ID',
        );
      }
    });
  });

  describe('to many', () => {
    it('broadcast reaches this node alone and counts the outcomes', async () => {
      const [fast, slow] = [await here.connect('fast'), await here.connect('slow')];
      const other = await there.connect('other');
      slow.sink.block();
      here.service.sendMessage('slow', 'fill', '');
      expect(here.service.broadcast('all', 'x')).to.deep.include({
        delivered: 1,
        buffered: 1,
        rejected: 0,
      });
      await until(() => fast.sink.data('all').length === 1, 'the event');
      expect(other.sink.data('all')).to.deep.equal([]);
    });

    it('broadcastToCluster reaches every node, in one order with publishes', async () => {
      const clients = [await here.connect('a', { topics: ['t'] }), await there.connect('b', { topics: ['t'] })];
      await here.service.publish('t', 'e', '1');
      const receipt = await there.service.broadcastToCluster('e', '2');
      await here.service.publish('t', 'e', '3');
      expect(receipt).to.include({ local: 1, nodes: 2 });
      expect(receipt.id).to.match(/^\w+\.\w+-\w+$/);
      for (const { sink } of clients) {
        await until(() => sink.data('e').length === 3, 'the events');
        expect(sink.data('e')).to.deep.equal(['1', '2', '3']);
      }
    });

    it('broadcastToCluster is degraded while the cluster cannot be reached', async () => {
      const { sink } = await here.connect('a');
      cluster.bus.cut('here');
      const receipt = await here.service.broadcastToCluster('e', 'x');
      expect(receipt).to.include({ outcome: 'unavailable', local: 1, nodes: 0, degraded: true });
      await until(() => sink.data('e').length === 1, 'the event');
    });

    it('publish without history has no id', async () => {
      const { sink } = await there.connect('a', { topics: ['t'] });
      expect(await here.service.publish('t', 'e', 'x', { history: false })).to.deep.equal({
        outcome: 'routed',
        topic: 't',
      });
      await until(() => sink.data('e').length === 1, 'the event');
      expect(sink.lastEvent?.id).to.equal(undefined);
    });

    it('publish with an idempotency key happens once', async () => {
      const { sink } = await here.connect('a', { topics: ['t'] });
      const options = { idempotencyKey: 'k' };
      const first = await here.service.publish('t', 'e', 'x', options);
      expect(await there.service.publish('t', 'e', 'x', options)).to.deep.equal(first);
      await until(() => sink.data('e').length === 1, 'the event');
    });

    it('refuses what is too large, and topics of its own', async () => {
      const { service } = here;
      const big = 'x'.repeat(1_048_577);
      expect(await codeOf(() => service.broadcast('e', big))).to.equal('EVENT_TOO_LARGE');
      const rejected = { outcome: 'rejected', code: 'EVENT_TOO_LARGE' };
      expect(await service.publish('t', 'e', big)).to.deep.equal({ ...rejected, topic: 't' });
      expect(await service.broadcastToCluster('e', big)).to.deep.equal({ ...rejected, local: 0, nodes: 0 });
      expect(await codeOf(() => service.publish('@c1', 'e', 'x'))).to.equal('INVALID_TOPIC');
      expect(await codeOf(() => service.broadcastToCluster('sse.x', 'x'))).to.equal('INVALID_EVENT_NAME');
      expect(await codeOf(() => service.broadcast('e', 1n))).to.equal('NOT_SERIALIZABLE');
    });
  });

  describe('across nodes', () => {
    it('knows who is connected where, and how many', async () => {
      await here.connect('a');
      await there.connect('b');
      expect(await here.service.isConnected('b')).to.equal(true);
      expect(await here.service.locate('b')).to.equal('there');
      expect(await here.service.locate('a')).to.equal('here');
      expect(await here.service.isConnected('c')).to.equal(false);
      expect(here.service.hasLocal('b')).to.equal(false);
      expect(here.service.getConnectionCount()).to.equal(1);
      expect(await here.service.getClusterConnectionCount()).to.equal(2);
      expect(await here.service.nodes()).to.deep.equal([
        { nodeId: 'here', connections: 1, self: true },
        { nodeId: 'there', connections: 1, self: false },
      ]);
    });

    it('lists the connections of this node, by topic and by user', async () => {
      await here.connect('a', { topics: ['news'] });
      await here.connect('phone', { user: 'ann', topics: ['news', 'sport'] });
      await here.connect('tab', { user: 'ann' });
      await there.connect('b', { topics: ['news'] });
      const [first, second] = here.service.connections({ topic: 'news' });
      expect(first).to.include({ connectionId: 'a', state: 'open', sendBufferBytes: 0 });
      expect(first).to.not.have.property('user');
      expect(first?.ageMs).to.be.at.least(0);
      expect(first?.cursor).to.equal(await here.service.position());
      expect(second).to.deep.include({ connectionId: 'ann/phone', user: 'ann', topics: ['news', 'sport'] });
      const idsOf = (filter?: ConnectionFilter) => here.service.connections(filter).map(row => row.connectionId);
      expect(idsOf()).to.have.members(['a', 'ann/phone', 'ann/tab']);
      expect(idsOf({ user: 'ann' })).to.have.members(['ann/phone', 'ann/tab']);
      expect(idsOf({ user: 'ann', topic: 'sport' })).to.deep.equal(['ann/phone']);
      expect(idsOf({ user: 'bob' })).to.deep.equal([]);
      expect(await codeOf(() => here.service.connections({ topic: '~x' }))).to.equal('INVALID_TOPIC');
      expect(await codeOf(() => here.service.connections({ user: '' }))).to.equal('INVALID_USER');
      // @ts-expect-error: an unknown key
      expect(await codeOf(() => here.service.connections({ users: 'ann' }))).to.equal('INVALID_OPTION');
    });

    it('subscribes, lists and unsubscribes a connection wherever it is', async () => {
      const { sink, connection } = await there.connect('b');
      expect(await here.service.subscribe('b', 't')).to.deep.equal({ outcome: 'delivered' });
      expect(await here.service.subscribe('nobody', 't')).to.deep.equal({ outcome: 'stored' });
      expect([...connection.topics]).to.deep.equal(['t']);
      expect(await here.service.presence('t')).to.deep.equal({
        connections: [{ connectionId: 'b', nodeId: 'there' }],
        missing: [],
      });
      await here.service.publish('t', 'e', '1');
      expect(await here.service.unsubscribe('b', 't')).to.deep.equal({ outcome: 'delivered' });
      await here.service.publish('t', 'e', '2');
      await until(() => sink.data('e').length === 1, 'the event');
      expect(await here.service.presence('t')).to.deep.equal({ connections: [], missing: [] });
    });

    it('closes one connection, or all of this node, or all of the cluster', async () => {
      const sinks = new Map<string, RecordingSink>();
      for (const id of ['a', 'b', 'c']) sinks.set(id, (await there.connect(id)).sink);
      sinks.set('mine', (await here.connect('mine')).sink);
      expect(await here.service.closeConnection('a', 'logged-out')).to.deep.equal({ closed: 1, missing: [] });
      expect(sinks.get('a')?.lastEvent?.data).to.equal('{"reason":"logged-out"}');
      expect(await here.service.closeConnection('a')).to.deep.equal({ closed: 0, missing: [] });
      await here.service.closeAllConnections();
      expect(here.service.getConnectionCount()).to.equal(0);
      expect(there.service.getConnectionCount()).to.equal(2);
      const all = await here.service.closeAllConnections('closed', { cluster: true });
      expect(all).to.deep.equal({ closed: 2, missing: [] });
      expect(there.service.getConnectionCount()).to.equal(0);
      expect(await codeOf(() => here.service.closeConnection('a', 'two words'))).to.equal('INVALID_REASON');
    });
  });

  describe('health', () => {
    it('is starting, well, unreachable, full, draining and closed in turn', async () => {
      const node = cluster.node('n', { options: { connection: { maxConnections: 1 } } });
      const codes = (): string[] => node.service.health().reasons.map(({ code }) => code);
      expect(codes()).to.deep.equal(['STARTING']);
      await node.service.start();
      expect(node.service.health()).to.deep.equal({
        live: true,
        ready: true,
        degraded: false,
        reasons: [],
      });
      cluster.bus.cut('n');
      expect(codes()).to.deep.equal(['CLUSTER_UNREACHABLE']);
      expect(node.service.health()).to.include({ live: true, ready: false });
      cluster.bus.heal('n');
      await node.connect('a');
      expect(codes()).to.deep.equal(['CONNECTION_LIMIT']);
      expect(node.service.health()).to.include({ ready: true, degraded: true });
      const drained = node.service.drain();
      expect(codes()).to.include('DRAINING');
      await drained;
      expect(codes()).to.include('CLOSED');
      expect(node.service.health().live).to.equal(false);
    });
  });

  describe('the end', () => {
    it('a drain refuses newcomers and gives each client a time of its own to come back', async () => {
      const clients = await Promise.all(Array.from({ length: 10 }, (_, index) => here.connect(`c${index}`)));
      const drained = here.service.drain();
      expect(await codeOf(() => here.connect('late'))).to.equal('DRAINING');
      await drained;
      const retries = clients.map(({ sink }) => sink.retries.at(-1));
      for (const { sink } of clients) expect(sink.lastEvent?.data).to.equal('{"reason":"draining"}');
      expect(new Set(retries).size).to.be.greaterThan(5);
      for (const retry of retries) expect(retry).to.be.within(2000, 7000);
      expect(await there.service.getClusterConnectionCount()).to.equal(0);
    });

    it('a drain releases the routes before the first socket ends', async () => {
      const { sink } = await here.connect('c1');
      const drained = here.service.drain();
      await until(async () => !(await there.service.isConnected('c1')), 'the release');
      await drained;
      expect(sink.ended).to.equal(true);
    });

    it('a drain lets a source finish', async () => {
      const { connection, sink } = await here.connect('c1');
      let release: () => void = () => undefined;
      const released = new Promise<void>(resolve => (release = resolve));
      const piped = connection.pipe(
        (async function* () {
          yield { event: 'part', data: '1' };
          await released;
          yield { event: 'part', data: '2' };
        })(),
      );
      const drained = here.service.drain({ timeout: 5000 });
      await until(() => here.service.health().reasons.some(({ code }) => code === 'DRAINING'), 'drain');
      release();
      await piped;
      await drained;
      expect(sink.data('part')).to.deep.equal(['1', '2']);
      expect(sink.lastEvent?.data).to.equal('{"reason":"draining"}');
    });

    it('a drain cuts a client that takes nothing when its time is over', async () => {
      const { sink } = await here.connect('stuck', {}, new RecordingSink(true));
      await here.service.drain({ timeout: 60 });
      expect(sink.destroyed).to.equal(true);
    });

    it('a drain on a machine that is busy for longer than its time cuts that client too', async () => {
      const { sink } = await here.connect('stuck', {}, new RecordingSink(true));
      const drained = here.service.drain({ timeout: 5 });
      for (const until = performance.now() + 20; performance.now() < until;);
      await drained;
      expect(sink.destroyed).to.equal(true);
    });

    it('both end once, and afterwards questions are CLOSED', async () => {
      const { sink } = await here.connect('c1');
      await Promise.all([here.service.close(), here.service.close(), here.service.drain()]);
      expect(sink.lastEvent?.data).to.equal('{"reason":"shutdown"}');
      const { service } = here;
      for (const call of [
        () => here.connect('c2'),
        () => service.isConnected('c1'),
        () => service.hasLocal('c1'),
        () => service.getConnectionCount(),
        () => service.getClusterConnectionCount(),
        () => service.presence('t'),
        () => service.nodes(),
        () => service.start(),
      ]) {
        expect(await codeOf(call), String(call)).to.equal('CLOSED');
      }
    });
  });
});
