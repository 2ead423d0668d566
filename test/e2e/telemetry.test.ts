import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { ChildProgram } from '../support/child-program.js';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { OtlpReceiver, type ReceivedPoint, type ReceivedSpan } from '../support/otlp-receiver.js';
import { until } from '../support/until.js';

const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

describe('the demo with OTEL_EXPORTER_OTLP_ENDPOINT', () => {
  let receiver: OtlpReceiver;
  let demo: DemoProcess;

  beforeEach(async () => {
    receiver = await OtlpReceiver.start();
    demo = await DemoProcess.start({
      NODE_ID: 'node-a',
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      OTEL_METRIC_EXPORT_INTERVAL: '200',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    });
  });

  afterEach(async () => {
    await demo.stop('SIGKILL');
    await receiver.close();
  });

  /** A trace that a client begins: its id, and the header that carries it. */
  function newTrace(): { traceId: string; clientSpan: string; headers: Record<string, string> } {
    const traceId = randomBytes(16).toString('hex');
    const clientSpan = randomBytes(8).toString('hex');
    return { traceId, clientSpan, headers: { traceparent: `00-${traceId}-${clientSpan}-01` } };
  }

  async function spanNamed(traceId: string, name: string): Promise<ReceivedSpan> {
    await until(() => receiver.trace(traceId).has(name), `span ${name}`, 20_000);
    return receiver.trace(traceId).get(name) ?? expect.fail(name);
  }

  function point(name: string, attributes: Record<string, unknown> = {}): ReceivedPoint | undefined {
    return receiver.points.find(
      candidate =>
        candidate.name === name &&
        Object.entries(attributes).every(([key, value]) => candidate.attributes[key] === value),
    );
  }

  it('exports a send as a trace, and the connect that it goes to', async () => {
    const connecting = newTrace();
    const client = await EventStreamClient.open(`${demo.url}/sse/connect/c1`, connecting);
    await client.event('connected');
    const sending = newTrace();
    await fetch(`${demo.url}/sse/send/c1?event=chat`, { method: 'POST', body: 'hi', ...sending });
    await client.event('chat');

    const send = await spanNamed(sending.traceId, 'sse.send');
    const post = await spanNamed(sending.traceId, 'POST');
    expect(send.parentSpanId).to.equal(post.spanId);
    expect(send.kind).to.equal(KIND.producer);
    expect(send.attributes).to.include({
      'sse.node.id': 'node-a',
      'sse.connection.id': 'c1',
      'sse.event.name': 'chat',
      'sse.outcome': 'delivered',
    });
    expect(post.parentSpanId).to.equal(sending.clientSpan);
    expect(post.resource).to.include({
      'service.name': 'distributed-sse',
      'service.instance.id': 'node-a',
    });

    // The stream is still open; its spans are there all the same.
    const connect = await spanNamed(connecting.traceId, 'sse.connect');
    const get = await spanNamed(connecting.traceId, 'GET /sse/connect{/:clientId}');
    expect(connect.parentSpanId).to.equal(get.spanId);
    expect(connect.kind).to.equal(KIND.internal);
    expect(get.kind).to.equal(KIND.server);
    expect(get.parentSpanId).to.equal(connecting.clientSpan);
    expect(client.end).to.equal(undefined);
    expect(receiver.foreign).to.deep.equal([]);
  });

  it('exports a publication with one delivery for all its connections', async () => {
    const clients = await Promise.all(
      ['c1', 'c2', 'c3'].map(id => EventStreamClient.open(`${demo.url}/sse/connect/${id}?topics=news`)),
    );
    for (const client of clients) await client.event('connected');
    const { headers, traceId } = newTrace();
    await fetch(`${demo.url}/sse/topics/news?event=tick`, { method: 'POST', body: 'x', headers });
    const deliver = await spanNamed(traceId, 'sse.deliver');
    const publish = await spanNamed(traceId, 'sse.publish');
    expect(deliver.parentSpanId).to.equal(publish.spanId);
    expect(deliver.kind).to.equal(KIND.consumer);
    expect(deliver.attributes).to.include({ 'sse.fanout.delivered': 3, 'sse.topic': 'news' });
    expect(receiver.spans.filter(({ name }) => name === 'sse.deliver')).to.have.length(1);
  });

  it('exports its metrics, of streams that are open too', async () => {
    const client = await EventStreamClient.open(`${demo.url}/sse/connect/c1`);
    await client.event('connected');
    await fetch(`${demo.url}/sse/send/c1`, { method: 'POST', body: 'x' });
    await fetch(`${demo.url}/sse/send/nobody`, { method: 'POST', body: 'x' });
    const sent = { 'sse.scope': 'connection' };
    await until(
      () => point('sse.events.sent', { ...sent, 'sse.outcome': 'not-connected' })?.value === 1,
      'the metrics',
      20_000,
    );
    expect(point('sse.events.sent', { ...sent, 'sse.outcome': 'delivered' })?.value).to.equal(1);
    expect(point('sse.connections.active')).to.deep.include({
      value: 1,
      unit: '{connection}',
      attributes: { 'sse.node.id': 'node-a' },
    });
    expect(point('sse.bytes.written')?.value).to.be.greaterThan(0);
    expect(point('sse.route.duration', { 'sse.outcome': 'not-connected' })?.value).to.equal(1);
    await until(() => point('http.server.request.duration') !== undefined, 'requests', 20_000);
    const durations = receiver.points.filter(({ name }) => name === 'http.server.request.duration');
    expect(durations.map(({ attributes }) => attributes['http.request.method'])).to.not.include('GET');
  });

  it('exports the rest when it stops, and exits 0', async () => {
    const { headers, traceId } = newTrace();
    const client = await EventStreamClient.open(`${demo.url}/sse/connect/c1`, { headers });
    await client.event('connected');
    expect(await demo.stop()).to.equal(0);
    const close = receiver.trace(traceId).get('sse.close');
    expect(close?.attributes['sse.close.reason']).to.equal('draining');
    expect(receiver.spans.filter(({ name }) => name === 'sse.drain')).to.have.length(1);
    expect(point('sse.connections.closed', { 'sse.close.reason': 'draining' })?.value).to.equal(1);
    expect(point('sse.connections.active')?.value).to.equal(0);
  });

  it('serves and stops in time when the collector does not accept telemetry', async () => {
    await receiver.close();
    const client = await EventStreamClient.open(`${demo.url}/sse/connect/c1`);
    await client.event('connected');
    expect(await demo.stop()).to.equal(0);
    receiver = await OtlpReceiver.start();
  });
});

describe('examples/05-telemetry', () => {
  it('shows one send from node to node as one trace, in its right order', async () => {
    const receiver = await OtlpReceiver.start();
    try {
      const program = ChildProgram.start('examples/05-telemetry/main.js', {
        OTEL_EXPORTER_OTLP_ENDPOINT: receiver.endpoint,
      });
      const [, traceId = ''] = await program.printed(/trace (\w{32})$/m);
      expect(await program.exited).to.equal(0);
      const spans = receiver.trace(traceId);
      const parents = [...spans.values()].map(({ name, parentSpanId }) => [
        name,
        [...spans.values()].find(({ spanId }) => spanId === parentSpanId)?.name,
      ]);
      expect(Object.fromEntries(parents)).to.deep.equal({
        'say hello': undefined,
        'GET /stream/:clientId': 'say hello',
        'sse.connect': 'GET /stream/:clientId',
        'sse.close': 'sse.connect',
        POST: 'say hello',
        'sse.send': 'POST',
        'sse.route': 'sse.send',
        'sse.deliver': 'sse.route',
      });
      const connect = spans.get('sse.connect');
      expect(spans.get('sse.deliver')?.links).to.deep.equal([connect?.spanId]);
      const nodes = ['sse.send', 'sse.route', 'sse.deliver', 'sse.connect'].map(
        name => spans.get(name)?.attributes['sse.node.id'],
      );
      expect(nodes).to.deep.equal(['node-a', 'node-a', 'node-b', 'node-b']);
    } finally {
      await receiver.close();
    }
  });
});
