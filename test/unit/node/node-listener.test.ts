import { expect } from 'chai';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('NodeListener', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let other: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a');
    other = await cluster.started('b');
  });

  afterEach(() => cluster.close());

  const ids = (listener = cluster.bus.reach('a')): string[] =>
    [...(listener?.registered() ?? [])].map(({ connectionId }) => connectionId);

  it('a message for a connection of another node is not delivered', () => {
    const frame = { bytes: Buffer.from('data: x\n\n') };
    expect(cluster.bus.reach('a')?.onMessage('c1', '1', 'm', frame)).to.deep.equal({
      outcome: 'not-connected',
    });
  });

  it('a message for the token of a former connection does not reach its successor', async () => {
    await node.connect('c1');
    const token = cluster.bus.route('c1')?.token ?? '';
    const { sink } = await node.connect('c1');
    const frame = { bytes: Buffer.from('data: x\n\n') };
    const answer = cluster.bus.reach('a')?.onMessage('c1', token, 'm', frame);
    expect(answer).to.deep.equal({ outcome: 'not-connected' });
    await turns();
    expect(sink.data('message')).to.deep.equal([]);
  });

  it('messages that arrive together reach each connection in their order, with a result for each', async () => {
    const [one, two] = [await node.connect('c1'), await node.connect('c2')];
    const token = (id: string): string => cluster.bus.route(id)?.token ?? '';
    const message = (connectionId: string, messageId: string, to = token(connectionId)) => {
      const frame = { bytes: Buffer.from(`data: ${messageId}\n\n`) };
      return { connectionId, token: to, messageId, frame };
    };
    const results = cluster.bus
      .reach('a')
      ?.onMessages([
        message('c1', 'm1'),
        message('c2', 'm2'),
        message('c1', 'm3', 'former'),
        message('c1', 'm1'),
        message('c1', 'm4'),
      ]);
    expect(results).to.deep.equal([
      { outcome: 'delivered' },
      { outcome: 'delivered' },
      { outcome: 'not-connected' },
      { outcome: 'delivered', duplicate: true },
      { outcome: 'delivered' },
    ]);
    expect(one.sink.data('message')).to.deep.equal(['m1', 'm4']);
    expect(two.sink.data('message')).to.deep.equal(['m2']);
  });

  it('a late notification of a takeover does not close the successor', async () => {
    await node.connect('c1');
    const token = cluster.bus.route('c1')?.token ?? '';
    const { connection } = await node.connect('c1');
    cluster.bus.reach('a')?.onSuperseded('c1', token, Infinity);
    expect(connection.state.kind).to.equal('open');
  });

  it('a notification of a takeover closes only a connection whose fencing token is smaller', async () => {
    const { connection } = await node.connect('c1');
    const { token = '', fencingToken = 0 } = cluster.bus.route('c1') ?? {};
    for (const older of [fencingToken - 1, fencingToken]) cluster.bus.reach('a')?.onSuperseded('c1', token, older);
    expect(connection.state.kind).to.equal('open');
    cluster.bus.reach('a')?.onSuperseded('c1', token, fencingToken + 1);
    expect(connection.state).to.include({ reason: 'superseded' });
  });

  it('names the connections that are registered, and no others', async () => {
    await node.connect('c1');
    const { sink } = await node.connect('c2');
    sink.leave();
    expect(ids()).to.deep.equal(['c1']);
  });

  it('names none that only opens', async () => {
    let seen: string[] | undefined;
    const opener = await cluster.started('c', {
      wrap: inner =>
        hookedCoordinator(inner, (method, when) => {
          if (method === 'routes.register' && when === 'before') seen = ids(cluster.bus.reach('c'));
        }),
    });
    await opener.connect('c1');
    expect(seen).to.deep.equal([]);
    expect(ids(cluster.bus.reach('c'))).to.deep.equal(['c1']);
  });

  it('follows the topics of one that still opens, and no others', async () => {
    let seen: (boolean | undefined)[] = [];
    const opener = await cluster.started('c', {
      wrap: inner =>
        hookedCoordinator(inner, (method, when) => {
          if (method !== 'routes.register' || when !== 'before') return;
          seen = ['news', 'sport'].map(topic => cluster.bus.reach('c')?.follows(topic));
        }),
    });
    await opener.connect('c1', { topics: ['news'] });
    expect(seen).to.deep.equal([true, false]);
  });

  it('names none once the routes were released, so that none comes back', async () => {
    const draining = await cluster.started('c', { options: { reconnect: { rate: 20 } } });
    for (const id of ['c1', 'c2']) await draining.connect(id);
    const drained = draining.service.drain();
    await turns();
    expect(draining.service.getConnectionCount()).to.equal(1);
    expect(ids(cluster.bus.reach('c'))).to.deep.equal([]);
    cluster.bus.cut('c');
    cluster.bus.heal('c');
    expect(cluster.bus.count).to.equal(0);
    await drained;
  });

  it('presence names owners alone, each once', async () => {
    await node.connect('c1', { topics: ['news'] });
    let seen: unknown;
    const second = await cluster.started('c', {
      wrap: inner =>
        hookedCoordinator(inner, async (method, when) => {
          if (method === 'routes.register' && when === 'before') seen = await other.service.presence('news');
        }),
    });
    await second.connect('c1', { topics: ['news'] });
    const owner = (nodeId: string) => ({
      connections: [{ connectionId: 'c1', nodeId }],
      missing: [],
    });
    expect(seen).to.deep.equal(owner('a'));
    expect(await other.service.presence('news')).to.deep.equal(owner('c'));
  });

  describe('after an outage', () => {
    it('clients that lost entries get sse.reset before the entries that are left', async () => {
      const writer = await cluster.started('c', { options: { history: { maxEntries: 2 } } });
      const loser = await node.connect('c1', { topics: ['news'] });
      const lucky = await node.connect('c2', { topics: ['sport'] });
      cluster.bus.cut('a');
      for (let n = 0; n < 4; n += 1) await writer.service.publish('news', 'message', `${n}`);
      cluster.bus.heal('a');
      await turns();
      expect(loser.sink.names).to.deep.equal(['connected', 'sse.reset', 'message', 'message']);
      const reset = loser.sink.events[1];
      expect(JSON.parse(reset?.data ?? '')).to.deep.equal({
        reason: 'GAP',
        topics: ['news'],
        resumedFrom: reset?.id,
      });
      expect(lucky.sink.names).to.deep.equal(['connected']);
      expect(lucky.connection.state.kind).to.equal('open');
      // A client that leaves right after the reset has every other entry.
      const again = await node.connect('c1', { topics: ['news'], lastEventId: reset?.id ?? '' });
      await turns();
      expect(again.sink.names).to.deep.equal(['connected', 'message', 'message']);
    });

    it('a connection that was taken over meanwhile is closed', async () => {
      const { sink } = await node.connect('c1');
      cluster.bus.cut('a');
      const { connection } = await other.connect('c1');
      cluster.bus.heal('a');
      await turns();
      expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"superseded"}' });
      expect(connection.state.kind).to.equal('open');
      expect(await node.service.locate('c1')).to.equal('b');
    });

    it('a client that left meanwhile is not connected', async () => {
      const { sink } = await node.connect('c1');
      cluster.bus.cut('a');
      sink.leave();
      await turns();
      cluster.bus.heal('a');
      expect(await other.service.isConnected('c1')).to.equal(false);
      expect(await other.service.getClusterConnectionCount()).to.equal(0);
      expect(node.logger.at('warn')).to.have.length(1);
    });
  });
});
