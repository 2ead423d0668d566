import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { parseCursor } from '../../../src/protocol/cursor.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { until } from '../../support/until.js';

describe('DegradedConnections', () => {
  let cluster: TestCluster;
  let node: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a');
    cluster.bus.cut('a');
  });
  afterEach(() => cluster.close());

  it('open while the cluster cannot be reached, with a first event that keeps the client where it is', async () => {
    const sink = new RecordingSink();
    const { connection } = await node.connect('c1', { topics: ['news'] }, sink);
    expect(connection.state.kind).to.equal('open');
    expect(sink.lastEvent).to.include({ event: 'connected' });
    expect(parseCursor(sink.lastEvent?.id ?? '')).to.equal(undefined);
  });

  it('get sends of their node', async () => {
    const { sink } = await node.connect('c1');
    expect(node.service.sendMessage('c1', 'note', 'x').outcome).to.equal('delivered');
    expect(sink.lastEvent).to.include({ event: 'note', data: 'x' });
    expect(await node.service.broadcastToCluster('all', 'y')).to.include({
      local: 1,
      degraded: true,
    });
    await until(() => sink.lastEvent?.event === 'all', 'the broadcast');
  });

  it('displace a connection of the same id', async () => {
    const first = await node.connect('c1');
    await node.connect('c1');
    expect(first.connection.state).to.include({ reason: 'superseded' });
    expect(node.service.getConnectionCount()).to.equal(1);
  });

  it('are closed once the cluster is back, and resume with every entry', async () => {
    const { connection, sink } = await node.connect('c1', { topics: ['news'] });
    cluster.bus.heal('a');
    await until(() => connection.state.kind !== 'open', 'the end');
    expect(connection.state).to.include({ reason: 'gap' });
    expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"gap"}' });
    await node.connect('c1', { topics: ['news'] });
    expect(cluster.bus.route('c1')).to.include({ nodeId: 'a' });
  });

  it('are closed no faster than a drain closes its clients', async () => {
    const slow = await cluster.started('slow', { options: { reconnect: { rate: 10 } } });
    cluster.bus.cut('slow');
    const clients: TestClient[] = [];
    for (let n = 0; n < 12; n += 1) clients.push(await slow.connect(`s${n}`));
    const open = (): number => clients.filter(({ connection }) => connection.state.kind === 'open').length;
    cluster.bus.heal('slow');
    await until(() => open() < 12, 'the first to go');
    expect(open()).to.equal(7);
    await until(() => open() < 7, 'the next to go');
    expect(open()).to.equal(2);
    await until(() => open() === 0, 'the rest to go');
  });

  it('get no entries of the log, whose ids would hide a gap', async () => {
    cluster.bus.heal('a');
    let away = true;
    const half = await cluster.started('b', {
      wrap: inner =>
        alteredCoordinator(
          hookedCoordinator(inner, method => {
            if (away && method === 'log.replay') throw new SseError('UNAVAILABLE', 'half away');
          }),
          { status: () => (away ? { reachable: false } : inner.status()) },
        ),
    });
    const first = await node.connect('c1', { topics: ['news'] });
    await node.service.publish('news', 'message', 'missed');
    const lastEventId = first.sink.lastId ?? '';
    const { sink } = await half.connect('c1', { topics: ['news'], lastEventId });
    await node.service.publish('news', 'message', 'later');
    await node.service.broadcastToCluster('message', 'to all');
    await node.service.broadcastToCluster('message', 'kept nowhere', { history: false });
    await until(() => sink.data('message').length > 0, 'what has no id');
    expect(sink.data('message')).to.deep.equal(['kept nowhere']);
    expect(sink.lastId).to.equal(undefined);
    away = false;
    const again = await half.connect('c1', { topics: ['news'], lastEventId });
    await until(() => again.sink.data('message').length > 2, 'everything');
    expect(again.sink.data('message')).to.deep.equal(['missed', 'later', 'to all']);
  });

  it('are counted and removed like any other', async () => {
    const { sink } = await node.connect('c1');
    expect(node.service.getConnectionCount()).to.equal(1);
    sink.leave();
    expect(node.service.getConnectionCount()).to.equal(0);
  });

  it('do not exist where onUnavailable is reject', async () => {
    const strict = await cluster.started('b', { options: { onUnavailable: 'reject' } });
    cluster.bus.cut('b');
    const refused = await strict.connect('c2').catch((error: unknown) => error);
    expect(refused).to.include({ code: 'UNAVAILABLE' });
  });
});
