import { expect } from 'chai';
import type { ConnectionFilter } from '../../../src/contracts/service.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('DistributedSseService', () => {
  let clusters: readonly [TestCluster, TestCluster];

  beforeEach(() => {
    clusters = [new TestCluster(), new TestCluster()];
  });

  afterEach(async () => {
    await Promise.all(clusters.map(cluster => cluster.close()));
  });

  describe('two services in one process', () => {
    let nodes: TestNode[];
    let clients: TestClient[];

    beforeEach(async () => {
      nodes = await Promise.all(clusters.map(cluster => cluster.started('same-name')));
      clients = await Promise.all(nodes.map(node => node.connect('c1', { topics: ['news'] })));
      await turns();
    });

    it('have the same connection id without a takeover', async () => {
      for (const { service } of nodes) {
        expect(await service.getClusterConnectionCount()).to.equal(1);
        expect(await service.nodes()).to.have.length(1);
      }
      expect(clients.map(({ connection }) => connection.state.kind)).to.deep.equal(['open', 'open']);
    });

    it('share no event', async () => {
      const service = nodes[0]?.service;
      service?.sendMessage('c1', 'message', '1');
      service?.broadcast('message', '2');
      await service?.sendMessageToConnection('c1', 'message', '3');
      await service?.broadcastToCluster('message', '4');
      await service?.publish('news', 'message', '5');
      await turns();
      expect(clients[0]?.sink.data('message')).to.deep.equal(['1', '2', '3', '4', '5']);
      expect(clients[1]?.sink.data('message')).to.deep.equal([]);
    });

    it('share no cursor', async () => {
      await nodes[0]?.service.publish('news', 'message', 'x');
      await turns();
      const lastEventId = clients[0]?.sink.lastId ?? '';
      const stranger = await nodes[1]?.connect('c2', { topics: ['news'], lastEventId });
      await turns();
      expect(stranger?.sink.names).to.deep.equal(['connected', 'sse.reset']);
    });

    it('share no end', async () => {
      await nodes[0]?.service.close();
      expect(clients[1]?.connection.state.kind).to.equal('open');
      expect(nodes[1]?.service.sendMessage('c1', 'message', 'x').outcome).to.equal('delivered');
    });
  });

  it('joins the cluster with the first call that needs it', async () => {
    const [cluster] = clusters;
    await (await cluster.started('owner')).connect('c1');
    const calls: ((node: TestNode) => Promise<unknown>)[] = [
      ({ service }) => service.isConnected('c1'),
      ({ service }) => service.getClusterConnectionCount(),
      ({ service }) => service.subscribe('c1', 'news'),
      ({ service }) => service.unsubscribe('c1', 'news'),
      ({ service }) => service.presence('news'),
      ({ service }) => service.nodes(),
      ({ service }) => service.publish('news', 'message', 'x'),
      ({ service }) => service.broadcastToCluster('message', 'x'),
      ({ service }) => service.sendMessageToConnection('c1', 'message', 'x'),
      ({ service }) => service.closeConnection('c1'),
      ({ service }) => service.closeAllConnections('closed', { cluster: true }),
      node => node.connect('c2'),
    ];
    for (const [n, call] of calls.entries()) {
      const node = cluster.node(`n${n}`);
      await call(node);
      expect(node.service.health().ready, String(call)).to.equal(true);
    }
  });

  it('answers local questions without joining', () => {
    const [cluster] = clusters;
    const { service } = cluster.node('a');
    expect(service.hasLocal('c1')).to.equal(false);
    expect(service.getConnectionCount()).to.equal(0);
    expect(service.sendMessage('c1', 'message', 'x').outcome).to.equal('not-connected');
    expect({ ...service.broadcast('message', 'x') }).to.deep.equal({
      delivered: 0,
      buffered: 0,
      rejected: 0,
    });
    expect(service.health().reasons[0]?.code).to.equal('STARTING');
  });

  it('lists the connections of this node, by topic and by user', async () => {
    const [cluster] = clusters;
    const here = await cluster.started('here');
    const there = await cluster.started('there');
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
    expect(await codeOf((async () => here.service.connections({ topic: '~x' }))())).to.equal('INVALID_TOPIC');
    expect(await codeOf((async () => here.service.connections({ user: '' }))())).to.equal('INVALID_USER');
    // @ts-expect-error: an unknown key
    expect(await codeOf((async () => here.service.connections({ users: 'ann' }))())).to.equal('INVALID_OPTION');
  });

  it('a drain on a machine that is busy for longer than its time cuts a client that takes nothing', async () => {
    const here = await clusters[0].started('here');
    const { sink } = await here.connect('stuck', {}, new RecordingSink(true));
    const drained = here.service.drain({ timeout: 5 });
    for (const until = performance.now() + 20; performance.now() < until;);
    await drained;
    expect(sink.destroyed).to.equal(true);
  });
});
