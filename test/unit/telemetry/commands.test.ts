import { SpanKind, SpanStatusCode } from '@opentelemetry/api';
import { expect } from 'chai';
import type { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import { SseError } from '../../../src/errors.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';

describe('telemetry of commands and questions', () => {
  let sdk: RecordingSdk;
  let cluster: TestCluster;
  let a: TestNode;

  beforeEach(async () => {
    sdk = RecordingSdk.start();
    cluster = new TestCluster();
    a = await cluster.started('a');
    const b = await cluster.started('b');
    await b.connect('c1');
    await a.connect('here');
    sdk.forget();
  });

  afterEach(async () => {
    await cluster.close();
    sdk.stop();
  });

  const commands = () => sdk.spans('sse.command').map(({ attributes }) => attributes);
  const about = (command: string, more = {}) => ({ 'sse.node.id': 'a', 'sse.command.name': command, ...more });
  const c1 = { 'sse.connection.id': 'c1' };

  it('each of them is a span of kind CLIENT with its name and its answer', async () => {
    const { service } = a;
    await service.isConnected('c1');
    await service.locate('nowhere');
    await service.subscribe('c1', 'news');
    await service.unsubscribe('c1', 'news');
    await service.subscribe('nowhere', 'news');
    await service.presence('news');
    await service.nodes();
    await service.getClusterConnectionCount();
    await service.position();
    await service.stopSource('key');
    await service.closeConnection('c1');
    await service.closeAllConnections('bye', { cluster: true });
    expect(commands()).to.deep.equal([
      about('locate', { ...c1, 'sse.owner.node.id': 'b' }),
      about('locate', { 'sse.connection.id': 'nowhere' }),
      about('subscribe', { ...c1, 'sse.outcome': 'delivered' }),
      about('unsubscribe', { ...c1, 'sse.outcome': 'delivered' }),
      about('subscribe', { 'sse.connection.id': 'nowhere', 'sse.outcome': 'stored' }),
      about('presence'),
      about('nodes'),
      about('count'),
      about('position'),
      about('end-source', { 'sse.outcome': 'not-connected' }),
      about('close', c1),
      about('close-all'),
    ]);
    expect(sdk.spans('sse.command').every(({ kind }) => kind === SpanKind.CLIENT)).to.equal(true);
  });

  it('what a node answers by itself leaves none', async () => {
    const { service } = a;
    expect(await service.isConnected('here')).to.equal(true);
    await service.subscribe('here', 'news');
    await service.closeConnection('here');
    await service.closeAllConnections();
    expect(commands()).to.deep.equal([]);
  });

  it('one that fails, or that some nodes did not answer, is an error', async () => {
    const unavailable = () => Promise.reject(new SseError('UNAVAILABLE', 'away', { noEffect: 'CLUSTER_UNREACHABLE' }));
    const wrap = (inner: ClusterCoordinator) =>
      alteredCoordinator(inner, {
        routes: { ...inner.routes, locate: unavailable },
        messenger: {
          ...inner.messenger,
          close: unavailable,
          closeAll: () => Promise.resolve({ closed: 1, missing: ['x', 'y'] }),
        },
      });
    const { service } = await cluster.started('c', { wrap });
    expect(await codeOf(service.locate('c1'))).to.equal('UNAVAILABLE');
    await service.closeConnection('c1');
    await service.closeAllConnections('bye', { cluster: true });
    const [locate, close, closeAll] = sdk.spans('sse.command');
    for (const span of [locate, close, closeAll]) expect(span?.status.code).to.equal(SpanStatusCode.ERROR);
    expect(locate?.attributes).to.include({ 'error.type': 'UNAVAILABLE' });
    expect(close?.attributes).to.include({ 'sse.outcome': 'unavailable', 'error.type': 'CLUSTER_UNREACHABLE' });
    const silent = { 'sse.outcome': 'unknown', 'error.type': 'unknown', 'sse.nodes.missing': 2 };
    expect(closeAll?.attributes).to.include(silent);
  });
});
