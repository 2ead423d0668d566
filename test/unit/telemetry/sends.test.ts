import {
  context,
  type Context,
  createNoopMeter,
  type Histogram,
  type Meter,
  metrics,
  propagation,
  ROOT_CONTEXT,
  SpanStatusCode,
  trace,
} from '@opentelemetry/api';
import { type ReadableSpan, SamplingDecision } from '@opentelemetry/sdk-trace';
import { expect } from 'chai';
import type { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import type { SendResult } from '../../../src/contracts/events.js';
import { SseError } from '../../../src/errors.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import type { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('telemetry of a send', () => {
  let sdk: RecordingSdk;
  let cluster: TestCluster;
  let a: TestNode;
  let b: TestNode;

  beforeEach(async () => {
    sdk = RecordingSdk.start();
    cluster = new TestCluster();
    a = await cluster.started('a');
    b = await cluster.started('b');
  });

  afterEach(async () => {
    await cluster.close();
    sdk.stop();
  });

  /** Runs something the way an instrumented application does: inside a span of its own. */
  function inRequest<T>(work: () => T, base: Context = context.active()): T {
    const span = trace.getTracer('test').startSpan('request', {}, base);
    try {
      return context.with(trace.setSpan(base, span), work);
    } finally {
      span.end();
    }
  }

  const idOf = (span: ReadableSpan): string => span.spanContext().spanId;
  const parentOf = (span: ReadableSpan): string | undefined => span.parentSpanContext?.spanId;
  const traces = (): number => new Set(sdk.spans().map(span => span.spanContext().traceId)).size;

  it('to another node is one trace: request, send, route, deliver; deliver points to connect', async () => {
    await b.connect('c1');
    await turns();
    const connect = sdk.span('sse.connect');
    sdk.forget();
    await inRequest(() => a.service.sendMessageToConnection('c1', 'chat', { text: 'hi' }));
    expect(sdk.spans().map(({ name }) => name)).to.have.members(['request', 'sse.send', 'sse.route', 'sse.deliver']);
    expect(traces()).to.equal(1);
    const [send, route, deliver] = ['sse.send', 'sse.route', 'sse.deliver'].map(name => sdk.span(name)) as [
      ReadableSpan,
      ReadableSpan,
      ReadableSpan,
    ];
    expect(parentOf(send)).to.equal(idOf(sdk.span('request')));
    expect(parentOf(route)).to.equal(idOf(send));
    expect(parentOf(deliver)).to.equal(idOf(route));
    expect(deliver.parentSpanContext?.isRemote).to.equal(true);
    expect(deliver.links.map(link => link.context)).to.deep.equal([connect.spanContext()]);
  });

  it('says on each span who, what and with which outcome', async () => {
    await b.connect('c1');
    await turns();
    sdk.forget();
    const receipt = await a.service.sendMessageToConnection('c1', 'chat', 'hi');
    const shared = {
      'sse.connection.id': 'c1',
      'sse.outcome': 'delivered',
      'messaging.message.id': receipt.messageId,
      'messaging.destination.name': 'c1',
      'messaging.destination.temporary': true,
    };
    expect(sdk.span('sse.send').attributes).to.deep.equal({
      ...shared,
      'sse.node.id': 'a',
      'sse.owner.node.id': 'b',
      'sse.event.name': 'chat',
      'sse.scope': 'connection',
      'messaging.system': 'distributed_sse',
      'messaging.operation.name': 'send',
      'messaging.operation.type': 'send',
    });
    expect(sdk.span('sse.route').attributes).to.deep.equal({
      ...shared,
      'messaging.system': 'distributed_sse',
      'messaging.operation.name': 'route',
      'messaging.operation.type': 'send',
      'sse.node.id': 'a',
      'sse.owner.node.id': 'b',
    });
    expect(sdk.span('sse.deliver').attributes).to.deep.equal({
      ...shared,
      'sse.node.id': 'b',
      'sse.scope': 'connection',
      'messaging.system': 'distributed_sse',
      'messaging.operation.name': 'deliver',
      'messaging.operation.type': 'process',
      'messaging.message.envelope.size': Buffer.byteLength('event: chat\ndata: hi\n\n'),
    });
  });

  it('counts and measures it: sent here, delivered there, how long it took', async () => {
    await b.connect('c1');
    await turns();
    await a.service.sendMessageToConnection('c1', 'chat', 'hi');
    const outcome = { 'sse.scope': 'connection', 'sse.outcome': 'delivered' };
    expect(await sdk.value('sse.events.sent', { ...outcome, 'sse.node.id': 'a' })).to.equal(1);
    expect(await sdk.value('sse.deliveries', { ...outcome, 'sse.node.id': 'b' })).to.equal(1);
    expect(await sdk.value('sse.delivery.latency', { 'sse.scope': 'connection' })).to.equal(1);
    expect(await sdk.value('sse.route.duration', { 'sse.outcome': 'delivered' })).to.equal(1);
  });

  it('gives the context of its trace to the histograms, for an SDK that has exemplars', async () => {
    sdk.stop();
    sdk = RecordingSdk.start({ signals: ['traces'] });
    const traceIds = new Map<string, string | undefined>();
    const meter = createNoopMeter();
    const providing = {
      createHistogram: (name: string): Histogram => ({
        record: (_seconds, _labels, within = ROOT_CONTEXT) => {
          traceIds.set(name, trace.getSpanContext(within)?.traceId);
        },
      }),
    };
    // The methods of a meter are those of its prototype.
    metrics.setGlobalMeterProvider({ getMeter: () => Object.assign(Object.create(meter) as Meter, providing) });
    await b.connect('c1');
    await a.service.sendMessageToConnection('c1', 'chat', 'hi');
    const { traceId } = sdk.span('sse.send').spanContext();
    expect(traceIds.get('sse.route.duration')).to.equal(traceId);
    expect(traceIds.get('sse.delivery.latency')).to.equal(traceId);
  });

  describe('on the node itself', () => {
    beforeEach(async () => {
      await a.connect('c1');
      await turns();
      sdk.forget();
    });

    it('is a span inside a trace', async () => {
      inRequest(() => a.service.sendMessage('c1', 'chat', 'hi'));
      await inRequest(() => a.service.sendMessageToConnection('c1', 'chat', 'hi'));
      const sends = sdk.spans('sse.send');
      const requests = sdk.spans('request');
      expect(sends.map(parentOf)).to.deep.equal(requests.map(idOf));
      expect(sends.map(({ attributes }) => attributes['sse.outcome'])).to.deep.equal(['delivered', 'delivered']);
      expect(sdk.spans()).to.have.length(4);
    });

    it('without a trace has no span, but is counted', async () => {
      a.service.sendMessage('c1', 'chat', 'hi');
      await a.service.sendMessageToConnection('c1', 'chat', 'hi');
      expect(sdk.spans()).to.deep.equal([]);
      const sent = await sdk.value('sse.events.sent', {
        'sse.scope': 'connection',
        'sse.outcome': 'delivered',
        'sse.node.id': 'a',
      });
      expect(sent).to.equal(2);
    });
  });

  it('by a handler or a source is counted', async () => {
    const { connection } = await a.connect('c1');
    connection.send('chat', 'hi');
    await connection.pipe([{ data: 1 }, { data: 2 }]);
    const outcome = { 'sse.outcome': 'delivered', 'sse.node.id': 'a' };
    expect(await sdk.value('sse.events.sent', { ...outcome, 'sse.scope': 'connection' })).to.equal(1);
    expect(await sdk.value('sse.events.sent', { ...outcome, 'sse.scope': 'source' })).to.equal(2);
  });

  const results: Record<SendResult['outcome'], SendResult> = {
    confirmed: { outcome: 'confirmed', nodeId: 'x' },
    delivered: { outcome: 'delivered', nodeId: 'x' },
    buffered: { outcome: 'buffered', nodeId: 'x' },
    stored: { outcome: 'stored' },
    routed: { outcome: 'routed', nodeId: 'x' },
    'not-connected': { outcome: 'not-connected' },
    rejected: { outcome: 'rejected', code: 'SEND_BUFFER_FULL', nodeId: 'x' },
    unknown: { outcome: 'unknown' },
    unavailable: { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' },
  };
  const failures: Partial<Record<SendResult['outcome'], string>> = {
    rejected: 'SEND_BUFFER_FULL',
    unknown: 'unknown',
    unavailable: 'CLUSTER_UNREACHABLE',
  };

  for (const result of Object.values(results)) {
    const { outcome } = result;
    it(`with outcome ${outcome} shows it in its spans and in metrics`, async () => {
      const wrap = (inner: ClusterCoordinator): ClusterCoordinator =>
        alteredCoordinator(inner, { messenger: { send: async () => result } });
      const node = await cluster.started('scripted', { wrap });
      await node.service.sendMessageToConnection('c1', 'chat', 'hi');
      const failure = failures[outcome];
      for (const name of ['sse.send', 'sse.route']) {
        const { attributes, status } = sdk.span(name);
        expect(attributes['sse.outcome']).to.equal(outcome);
        expect(attributes['error.type']).to.equal(failure);
        expect(attributes['sse.owner.node.id']).to.equal('nodeId' in result ? 'x' : undefined);
        expect(status.code).to.equal(failure ? SpanStatusCode.ERROR : SpanStatusCode.UNSET);
      }
      expect(await sdk.value('sse.events.sent', { 'sse.outcome': outcome })).to.equal(1);
      expect(await sdk.value('sse.route.duration', { 'sse.outcome': outcome })).to.equal(1);
    });
  }

  it('that is too large is rejected in span and metric', async () => {
    const node = await cluster.started('small', { options: { limits: { maxEventBytes: 10 } } });
    await node.service.sendMessageToConnection('c1', 'chat', 'x'.repeat(11));
    expect(sdk.span('sse.send').attributes).to.include({
      'sse.outcome': 'rejected',
      'error.type': 'EVENT_TOO_LARGE',
    });
    const rejected = { 'sse.scope': 'connection', 'sse.outcome': 'rejected' };
    expect(await sdk.value('sse.events.sent', rejected)).to.equal(1);
  });

  it('that throws is a failed span with the error, and no event sent', async () => {
    await inRequest(() => a.service.sendMessageToConnection('c1', 'sse.own', 'x').catch(() => undefined));
    const { status, attributes } = sdk.span('sse.send');
    expect(status.code).to.equal(SpanStatusCode.ERROR);
    expect(attributes['error.type']).to.equal('INVALID_EVENT_NAME');
    expect(await sdk.points('sse.events.sent')).to.deep.equal([]);
  });

  const answers: Record<string, (sink: RecordingSink) => void> = {
    delivered: () => undefined,
    buffered: sink => {
      sink.block();
    },
    'not-connected': sink => {
      sink.leave();
    },
  };
  for (const [outcome, answer] of Object.entries(answers)) {
    it(`that the owner answers ${outcome} shows it at the owner`, async () => {
      const client = await b.connect('c1');
      await turns();
      const route = cluster.bus.route('c1') ?? expect.fail('no route');
      answer(client.sink);
      const text = 'm8 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
      const frame = { bytes: Buffer.from('data: x\n\n') };
      cluster.bus.reach('b')?.onMessage('c1', route.token, 'm1', frame, text);
      const { attributes, parentSpanContext } = sdk.span('sse.deliver');
      expect(attributes['sse.outcome']).to.equal(outcome);
      expect(attributes['error.type']).to.equal(undefined);
      expect(parentSpanContext?.traceId).to.equal('0af7651916cd43dd8448eb211c80319c');
      const labels = { 'sse.outcome': outcome, 'sse.node.id': 'b' };
      expect(await sdk.value('sse.deliveries', labels)).to.equal(1);
    });
  }

  it('that the owner rejects is a failed delivery', async () => {
    const sendBuffer = { maxBytes: 10, maxTotalBytes: 2_000_000, policy: 'drop-newest' } as const;
    const c = await cluster.started('c', { options: { sendBuffer } });
    const client = await c.connect('c1');
    await turns();
    client.sink.block();
    c.service.sendMessage('c1', 'chat', 'xxx');
    sdk.forget();
    await a.service.sendMessageToConnection('c1', 'chat', 'x'.repeat(20));
    const { attributes, status } = sdk.span('sse.deliver');
    expect(attributes).to.include({ 'sse.outcome': 'rejected', 'error.type': 'SEND_BUFFER_FULL' });
    expect(status.code).to.equal(SpanStatusCode.ERROR);
    expect(await sdk.value('sse.send_buffer.dropped', { 'sse.node.id': 'c' })).to.equal(1);
  });

  it('that no trace came with is delivered without a span, and counted', async () => {
    await b.connect('c1');
    await turns();
    sdk.forget();
    const route = cluster.bus.route('c1') ?? expect.fail('no route');
    const frame = { bytes: Buffer.from('data: x\n\n') };
    for (const text of [undefined, 'nonsense-of-another-version', Date.now().toString(36)]) {
      cluster.bus.reach('b')?.onMessage('c1', route.token, `m-${text ?? ''}`, frame, text);
    }
    expect(sdk.spans()).to.deep.equal([]);
    expect(await sdk.value('sse.deliveries', { 'sse.node.id': 'b' })).to.equal(3);
    expect(await sdk.value('sse.delivery.latency')).to.equal(1);
  });

  it('takes baggage along when that is on', async () => {
    const seen: (string | undefined)[] = [];
    const wrap = (inner: ClusterCoordinator): ClusterCoordinator =>
      alteredCoordinator(inner, {
        messenger: {
          send: async message => {
            seen.push(message.trace);
            return inner.messenger.send(message);
          },
        },
      });
    const baggage = propagation.createBaggage({ tenant: { value: 'acme' } });
    for (const on of [true, false]) {
      const node = await cluster.started(`baggage-${String(on)}`, {
        wrap,
        options: { telemetry: { baggage: on } },
      });
      await inRequest(
        () => node.service.sendMessageToConnection('nobody', 'chat', 'hi'),
        propagation.setBaggage(context.active(), baggage),
      );
    }
    expect(seen[0]).to.match(/^\w+ 00-\w+-\w+-01 tenant=acme$/);
    expect(seen[1]).to.match(/^\w+ 00-\w+-\w+-01$/);
  });

  it('shows retries as events of its route, and counts them', async () => {
    const error = new SseError('UNAVAILABLE', 'away');
    const policy = {
      circuit: () => 'closed' as const,
      execute: async <T>(_: unknown, run: (context: AbortController) => Promise<T>): Promise<T> => {
        // What a policy reports while it repeats a call.
        node.telemetry.maintenance.retrying('send', error);
        return run(new AbortController());
      },
    };
    const node: TestNode = cluster.node('retrying', { policy });
    await node.service.sendMessageToConnection('nobody', 'chat', 'hi');
    expect(sdk.span('sse.route').events.map(({ name, attributes }) => [name, attributes])).to.deep.equal([
      ['sse.retry', { 'sse.operation': 'send', 'error.type': 'UNAVAILABLE' }],
    ]);
    expect(sdk.span('sse.send').events).to.deep.equal([]);
    expect(await sdk.value('sse.retries', { 'sse.operation': 'send' })).to.equal(1);
  });

  it('that comes again says so, and is one delivery', async () => {
    const { sink } = await b.connect('c1');
    await turns();
    sdk.forget();
    const again = { messageId: 'm1' };
    await a.service.sendMessageToConnection('c1', 'chat', 'hi', again);
    const receipt = await a.service.sendMessageToConnection('c1', 'chat', 'hi', again);
    expect(receipt).to.include({ outcome: 'delivered', nodeId: 'b' });
    expect(receipt).not.to.have.property('duplicate');
    const delivers = sdk.spans('sse.deliver').map(({ attributes }) => attributes);
    expect(delivers.map(attributes => attributes['sse.duplicate'])).to.deep.equal([undefined, true]);
    expect(delivers.map(attributes => attributes['sse.outcome'])).to.deep.equal(['delivered', 'delivered']);
    expect(sink.text.split('event: chat')).to.have.length(2);
    expect(await sdk.value('sse.deliveries', { 'sse.scope': 'connection', 'sse.node.id': 'b' })).to.equal(1);
    expect(await sdk.value('sse.delivery.latency', { 'sse.scope': 'connection' })).to.equal(1);
  });

  it('hides connection ids when that is on', async () => {
    const options = { telemetry: { hideConnectionIds: true } };
    const [c, d] = [await cluster.started('c', { options }), await cluster.started('d', { options })];
    const client = await d.connect('secret-7');
    await turns();
    await c.service.sendMessageToConnection('secret-7', 'chat', 'hi');
    client.connection.close();
    await d.connect('secret-7', { onDuplicate: 'reject' });
    await d.connect('secret-7', { onDuplicate: 'reject' }).catch(() => undefined);
    expect(sdk.spans('sse.deliver')).to.have.length(1);
    const recorded = sdk.spans().map(({ attributes, events, status }) => [attributes, events, status]);
    expect(JSON.stringify(recorded)).to.not.include('secret-7');
  });

  it('that is not recorded asks the sampler once, with baggage and without', async () => {
    sdk.stop();
    const asked: string[] = [];
    const shouldSample = (_context: unknown, _traceId: string, name: string) => {
      asked.push(name);
      return { decision: SamplingDecision.NOT_RECORD };
    };
    sdk = RecordingSdk.start({ sampler: { shouldSample, toString: () => 'none' } });
    for (const baggage of [true, false]) {
      const node = await cluster.started(`asks-${String(baggage)}`, { options: { telemetry: { baggage } } });
      await node.service.sendMessageToConnection('nobody', 'chat', 'hi');
    }
    expect(asked).to.deep.equal(['sse.send', 'sse.send']);
    expect(await sdk.value('sse.route.duration')).to.equal(2);
  });

  it('is recorded in metrics alone when spans are not recorded', async () => {
    sdk.stop();
    sdk = RecordingSdk.start({ signals: ['metrics'] });
    await b.connect('c1');
    await turns();
    await a.service.sendMessageToConnection('c1', 'chat', 'hi');
    expect(await sdk.value('sse.delivery.latency')).to.equal(1);
    expect(await sdk.value('sse.route.duration')).to.equal(1);
  });

  it('carries no trace context without an SDK', async () => {
    sdk.stop();
    const wrap = (inner: ClusterCoordinator): ClusterCoordinator =>
      alteredCoordinator(inner, {
        messenger: {
          send: async message => {
            expect(Object.keys(message)).to.not.include('trace');
            return inner.messenger.send(message);
          },
        },
        log: {
          publish: async publication => {
            expect(Object.keys(publication)).to.not.include('trace');
            return inner.log.publish(publication);
          },
        },
      });
    const node = await cluster.started('quiet', { wrap });
    await node.service.sendMessageToConnection('nobody', 'chat', 'hi');
    expect(await node.service.publish('news', 'chat', 'hi')).to.include({ topic: 'news' });
  });
});
