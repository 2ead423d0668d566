import { expect } from 'chai';
import { SpanStatusCode } from '@opentelemetry/api';
import { codeOf } from '../../support/code-of.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const DELIVER = {
  'messaging.system': 'distributed_sse',
  'messaging.operation.name': 'deliver',
  'messaging.operation.type': 'process',
};
const PUBLISH = {
  'messaging.system': 'distributed_sse',
  'messaging.operation.name': 'publish',
  'messaging.operation.type': 'send',
};

describe('telemetry of a publication', () => {
  let sdk: RecordingSdk;
  let cluster: TestCluster;
  let a: TestNode;
  let b: TestNode;

  beforeEach(async () => {
    sdk = RecordingSdk.start();
    cluster = new TestCluster();
    a = await cluster.started('a', { options: { limits: { maxEventBytes: 100 } } });
    b = await cluster.started('b');
  });

  afterEach(async () => {
    await cluster.close();
    sdk.stop();
  });

  it('is named after its topic where the setting says that topics are few, and others are not', async () => {
    const named = await cluster.started('named', { options: { telemetry: { topicsInSpanNames: true } } });
    await named.connect('n1', { topics: ['news'] });
    await turns();
    sdk.forget();
    await named.service.publish('news', 'chat', 'hi');
    await named.service.broadcastToCluster('chat', 'hi');
    const own = sdk.spans().filter(({ attributes }) => attributes['sse.node.id'] === 'named');
    expect(own.map(({ name }) => name)).to.have.members([
      'publish news',
      'deliver news',
      'sse.broadcast',
      'sse.deliver',
    ]);
  });

  it('is one span where it is made and one per node that has it, however many connections', async () => {
    for (const [node, ids] of [
      [a, ['a1', 'a2', 'a3']],
      [b, ['b1', 'b2']],
    ] as const) {
      for (const id of ids) await node.connect(id, { topics: ['news'] });
    }
    await turns();
    sdk.forget();
    await a.service.publish('news', 'chat', 'hi');
    const publish = sdk.span('sse.publish');
    const delivers = sdk.spans('sse.deliver');
    expect(sdk.spans()).to.have.length(3);
    expect(
      Object.fromEntries(
        delivers.map(({ attributes }) => [attributes['sse.node.id'], attributes['sse.fanout.delivered']]),
      ),
    ).to.deep.equal({ a: 3, b: 2 });
    for (const { parentSpanContext } of delivers) {
      expect(parentSpanContext).to.include({
        spanId: publish.spanContext().spanId,
        traceId: publish.spanContext().traceId,
      });
    }
  });

  it('to a topic names it, says that it is kept, and counts what connections took', async () => {
    await b.connect('b1', { topics: ['news'] });
    await turns();
    sdk.forget();
    const receipt = await a.service.publish('news', 'chat', 'hi');
    const topic = {
      'messaging.message.id': receipt.outcome === 'stored' ? receipt.id : 'not stored',
      'sse.topic': 'news',
      'messaging.destination.name': 'news',
      'sse.scope': 'topic',
    };
    expect(sdk.span('sse.publish').attributes).to.deep.equal({
      ...PUBLISH,
      ...topic,
      'sse.node.id': 'a',
      'sse.event.name': 'chat',
      'sse.outcome': 'stored',
    });
    const [atA, atB] = sdk.spans('sse.deliver');
    expect(atA?.attributes).to.include({ 'sse.node.id': 'a', 'sse.outcome': 'not-connected' });
    const { 'messaging.message.envelope.size': size, ...rest } = atB?.attributes ?? {};
    expect(size).to.be.greaterThan(0);
    expect(rest).to.deep.equal({
      ...DELIVER,
      ...topic,
      'sse.node.id': 'b',
      'sse.outcome': 'delivered',
      'sse.fanout.delivered': 1,
      'sse.fanout.buffered': 0,
      'sse.fanout.rejected': 0,
    });
    const stored = { 'sse.scope': 'topic', 'sse.outcome': 'stored' };
    expect(await sdk.value('sse.events.sent', stored)).to.equal(1);
    const delivered = { 'sse.scope': 'topic', 'sse.outcome': 'delivered' };
    expect(await sdk.value('sse.deliveries', delivered)).to.equal(1);
    expect(await sdk.value('sse.delivery.latency', { 'sse.scope': 'topic' })).to.equal(2);
  });

  it('that is not kept is routed', async () => {
    await a.service.publish('news', 'chat', 'hi', { history: false });
    expect(sdk.span('sse.publish').attributes['sse.outcome']).to.equal('routed');
    const routed = { 'sse.scope': 'topic', 'sse.outcome': 'routed' };
    expect(await sdk.value('sse.events.sent', routed)).to.equal(1);
  });

  it('to everyone is a broadcast without a topic, and says how many nodes there are', async () => {
    await b.connect('b1');
    await turns();
    sdk.forget();
    const receipt = await a.service.broadcastToCluster('chat', 'hi');
    const everyone = {
      'messaging.message.id': receipt.outcome === 'stored' ? receipt.id : 'not stored',
      'messaging.destination.name': '*',
    };
    expect(sdk.span('sse.broadcast').attributes).to.deep.equal({
      ...PUBLISH,
      ...everyone,
      'sse.node.id': 'a',
      'sse.event.name': 'chat',
      'sse.scope': 'cluster',
      'sse.outcome': 'stored',
      'sse.nodes': 2,
    });
    expect(sdk.spans('sse.deliver')).to.have.length(2);
    for (const { attributes } of sdk.spans('sse.deliver')) expect(attributes).to.include(everyone);
    const delivered = { 'sse.scope': 'cluster', 'sse.outcome': 'delivered' };
    expect(await sdk.value('sse.deliveries', delivered)).to.equal(1);
  });

  it('to everyone that does not reach the cluster is a failed span; the deliveries here count', async () => {
    await a.connect('a1');
    await turns();
    cluster.bus.cut('a');
    sdk.forget();
    await a.service.broadcastToCluster('chat', 'hi');
    const { attributes, status } = sdk.span('sse.broadcast');
    expect(attributes).to.include({ 'sse.outcome': 'unavailable', 'error.type': 'CLUSTER_UNREACHABLE' });
    expect(status.code).to.equal(SpanStatusCode.ERROR);
    const unavailable = { 'sse.scope': 'cluster', 'sse.outcome': 'unavailable' };
    expect(await sdk.value('sse.events.sent', unavailable)).to.equal(1);
    const delivered = { 'sse.scope': 'cluster', 'sse.outcome': 'delivered' };
    expect(await sdk.value('sse.deliveries', delivered)).to.equal(1);
    cluster.bus.heal('a');
  });

  it('that fails is a failed span with the error, and counted by what it means', async () => {
    cluster.bus.cut('a');
    await a.service.publish('news', 'chat', 'hi');
    await a.service.publish('news', 'chat', 'x'.repeat(101));
    expect(await codeOf(a.service.publish('news', 'sse.own', 'x'))).to.equal('INVALID_EVENT_NAME');
    cluster.bus.heal('a');
    const spans = sdk.spans('sse.publish');
    expect(spans.map(({ attributes }) => attributes['error.type'])).to.deep.equal([
      'CLUSTER_UNREACHABLE',
      'EVENT_TOO_LARGE',
      'INVALID_EVENT_NAME',
    ]);
    expect(await sdk.value('sse.events.sent', { 'sse.outcome': 'unavailable' })).to.equal(1);
    expect(await sdk.value('sse.events.sent', { 'sse.outcome': 'rejected' })).to.equal(1);
    expect(await sdk.points('sse.events.sent')).to.have.length(2);
  });

  it('counts by name the events that are on the list', async () => {
    const named = await cluster.started('named', {
      options: { telemetry: { eventNames: ['chat'] } },
    });
    for (const event of ['chat', 'tick', 'chat']) await named.service.publish('news', event, 'x');
    const points = (await sdk.points('sse.events.sent')).map(({ value, attributes }) => [
      attributes['sse.event.name'],
      value,
    ]);
    expect(points).to.deep.equal([
      [undefined, 1],
      ['chat', 2],
    ]);
  });

  describe('on one node', () => {
    it('is one span, with how the connections took it', async () => {
      // Room for two of these events.
      const sendBuffer = { maxBytes: 20, policy: 'drop-newest' } as const;
      const c = await cluster.started('c', { options: { sendBuffer } });
      const clients = [await c.connect('0'), await c.connect('1'), await c.connect('2')];
      await turns();
      for (const [waiting, { connection, sink }] of clients.entries()) {
        if (waiting > 0) sink.block();
        for (let n = 0; n < waiting; n += 1) connection.send('message', '');
      }
      sdk.forget();
      const fanOut = c.service.broadcast('message', '');
      expect(fanOut).to.deep.include({ delivered: 1, buffered: 1, rejected: 1 });
      expect(sdk.spans()).to.have.length(1);
      expect(sdk.span('sse.broadcast').attributes).to.deep.equal({
        ...PUBLISH,
        'sse.node.id': 'c',
        'sse.event.name': 'message',
        'sse.scope': 'node',
        'messaging.destination.name': '*',
        'sse.outcome': 'delivered',
        'sse.fanout.delivered': 1,
        'sse.fanout.buffered': 1,
        'sse.fanout.rejected': 1,
      });
      for (const outcome of ['delivered', 'buffered', 'rejected']) {
        const labels = { 'sse.scope': 'node', 'sse.outcome': outcome };
        expect(await sdk.value('sse.deliveries', labels)).to.equal(1);
      }
      const sent = { 'sse.scope': 'node', 'sse.outcome': 'delivered' };
      expect(await sdk.value('sse.events.sent', sent)).to.equal(1);
    });

    for (const [outcome, fanOut] of [
      ['delivered', { delivered: 1, buffered: 1, rejected: 1 }],
      ['buffered', { delivered: 0, buffered: 1, rejected: 1 }],
      ['rejected', { delivered: 0, buffered: 0, rejected: 1 }],
      ['not-connected', { delivered: 0, buffered: 0, rejected: 0 }],
    ] as const) {
      it(`is ${outcome} when that is the best outcome of a connection`, async () => {
        a.telemetry.events.broadcasting('chat', () => fanOut);
        expect(sdk.span('sse.broadcast').attributes['sse.outcome']).to.equal(outcome);
        expect(await sdk.value('sse.events.sent', { 'sse.outcome': outcome })).to.equal(1);
      });
    }

    it('that is too large is a failed span and rejected', async () => {
      expect(() => a.service.broadcast('chat', 'x'.repeat(101))).to.throw();
      expect(sdk.span('sse.broadcast').attributes['error.type']).to.equal('EVENT_TOO_LARGE');
      expect(await sdk.value('sse.events.sent', { 'sse.outcome': 'rejected' })).to.equal(1);
    });
  });

  it('counts the bytes that went to sockets', async () => {
    const { sink } = await b.connect('b1');
    await turns();
    await a.service.broadcastToCluster('chat', 'ü');
    await turns();
    const written = await sdk.value('sse.bytes.written', { 'sse.node.id': 'b' });
    expect(written).to.equal(Buffer.byteLength(sink.text));
    expect(await sdk.value('sse.bytes.written', { 'sse.node.id': 'a' })).to.equal(0);
  });
});
