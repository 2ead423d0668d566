import { trace } from '@opentelemetry/api';
import { expect } from 'chai';
import { Recorder } from '../../../src/console/recorder.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('Recorder', () => {
  let sdk: RecordingSdk;
  let cluster: TestCluster;
  let a: TestNode;
  let b: TestNode;
  let onA: Recorder;
  let onB: Recorder;

  beforeEach(async () => {
    sdk = RecordingSdk.start();
    cluster = new TestCluster();
    a = await cluster.started('a');
    b = await cluster.started('b');
    onA = watch(a);
    onB = watch(b);
  });

  afterEach(async () => {
    await cluster.close();
    sdk.stop();
  });

  function watch({ service }: TestNode): Recorder {
    const { telemetry, options } = service.node;
    const recorder = new Recorder(options.node.id, telemetry.traffic, () => undefined);
    expect(telemetry.watch(recorder)).to.equal(true);
    return recorder;
  }

  it('has each receipt with its owner, its outcome and the trace in which it is recorded', async () => {
    await b.connect('c1');
    await trace.getTracer('test').startActiveSpan('request', async span => {
      await a.service.sendMessageToConnection('c1', 'note', 1);
      await a.service.publish('news', 'page', 2);
      span.end();
    });
    const traceId = sdk.span('request').spanContext().traceId;
    const facts = { nodeId: 'a', traceId, code: null };
    const [send, publication, ...rest] = onA.sends;
    expect(rest).to.deep.equal([]);
    expect(send).to.include({
      ...facts,
      kind: 'send',
      to: 'c1',
      outcome: 'delivered',
      ownerNodeId: 'b',
      entryId: null,
    });
    expect(publication).to.include({ ...facts, kind: 'publish', to: 'news', outcome: 'stored', ownerNodeId: null });
    expect(publication?.entryId).to.be.a('string');
    expect(onB.sends).to.deep.equal([]);
  });

  it('counts a delivery once, on the node that makes it', async () => {
    await a.connect('here', { topics: ['news'] });
    await b.connect('there', { topics: ['news'] });
    onA.takeTraffic();
    onB.takeTraffic();
    await a.service.sendMessageToConnection('there', 'note', 1);
    a.service.sendMessage('here', 'note', 1);
    await a.service.publish('news', 'page', 2);
    await a.service.broadcastToCluster('all', 3);
    await turns();
    const [fromA, fromB] = [onA.takeTraffic().traffic, onB.takeTraffic().traffic];
    expect([fromA.deliveries.delivered, fromB.deliveries.delivered]).to.deep.equal([3, 3]);
    expect(fromA.sent).to.deep.equal({ delivered: 2, stored: 2 });
    expect(fromB.sent).to.deep.equal({});
    expect([fromA.receiptLatency?.count, fromB.deliveryLatency?.count]).to.deep.equal([4, 3]);
    expect(onB.rateOf('news')).to.be.above(0);
  });

  it('has connects, takeovers, ends and refusals, and counts them', async () => {
    await a.connect('c1');
    await a.connect('c1');
    await a.service.closeConnection('c1', 'moved');
    await a.connect('c2', { topics: ['*'] }).catch(() => undefined);
    await turns();
    const { happenings } = onA.takeActivity();
    expect(happenings.map(({ kind }) => kind)).to.deep.equal(['connect', 'takeover', 'connect', 'close', 'refuse']);
    const { traffic } = onA.takeTraffic();
    expect(traffic.closed).to.deep.equal({ superseded: 1, custom: 1 });
    expect(traffic.refused).to.deep.equal({ INVALID_TOPIC: 1 });
    expect(onA.closed.map(({ closeReason }) => closeReason)).to.deep.equal(['superseded', 'moved']);
    expect(new Set(happenings.map(({ id }) => id)).size).to.equal(5);
  });
});
