import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { ChildProgram } from '../support/child-program.js';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { OtlpReceiver, type ReceivedPoint, type ReceivedSpan } from '../support/otlp-receiver.js';
import { freePort } from '../support/redis/free-port.js';
import { until } from '../support/until.js';

const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

describe('the demo with OTEL_EXPORTER_OTLP_ENDPOINT', () => {
  let receiver: OtlpReceiver;
  let demo: DemoProcess;

  const start = (endpoint: string): Promise<DemoProcess> =>
    DemoProcess.start({
      NODE_ID: 'node-a',
      OTEL_EXPORTER_OTLP_ENDPOINT: endpoint,
      OTEL_METRIC_EXPORT_INTERVAL: '200',
      OTEL_BSP_SCHEDULE_DELAY: '100',
    });
  const clients: EventStreamClient[] = [];

  // The tests share the demo, and the last that uses it ends it.
  before(async () => {
    receiver = await OtlpReceiver.start();
    demo = await start(receiver.endpoint);
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });

  after(async () => {
    await demo.stop('SIGKILL');
    await receiver.close();
  });

  async function connect(path: string, headers = {}, { url } = demo): Promise<EventStreamClient> {
    const client = await EventStreamClient.open(`${url}/sse/connect/${path}`, { headers });
    clients.push(client);
    await client.event('connected');
    return client;
  }

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

  // The first, so that what is counted is its own.
  it('exports its metrics, of streams that are open too', async () => {
    await connect('c1');
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

  it('exports a send as a trace, and the connect that it goes to', async () => {
    const connecting = newTrace();
    const client = await connect('c1', connecting.headers);
    const sending = newTrace();
    await fetch(`${demo.url}/sse/send/c1?event=chat`, { method: 'POST', body: 'hi', ...sending });
    await client.event('chat');

    const send = await spanNamed(sending.traceId, 'sse.send');
    const post = await spanNamed(sending.traceId, 'POST /sse/send{/:clientId}');
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
    const connected = await spanNamed(connecting.traceId, 'sse.connect');
    const get = await spanNamed(connecting.traceId, 'GET /sse/connect{/:clientId}');
    expect(connected.parentSpanId).to.equal(get.spanId);
    expect(connected.kind).to.equal(KIND.internal);
    expect(get.kind).to.equal(KIND.server);
    expect(get.parentSpanId).to.equal(connecting.clientSpan);
    expect(client.end).to.equal(undefined);
    expect(receiver.foreign).to.deep.equal([]);
  });

  it('exports a publication with one delivery for all its connections', async () => {
    for (const id of ['c1', 'c2', 'c3']) await connect(`${id}?topics=news`);
    const { headers, traceId } = newTrace();
    await fetch(`${demo.url}/sse/topics/news?event=tick`, { method: 'POST', body: 'x', headers });
    const deliver = await spanNamed(traceId, 'sse.deliver');
    const publish = await spanNamed(traceId, 'sse.publish');
    expect(deliver.parentSpanId).to.equal(publish.spanId);
    expect(deliver.kind).to.equal(KIND.consumer);
    expect(deliver.attributes).to.include({ 'sse.fanout.delivered': 3, 'sse.topic': 'news' });
    const delivers = receiver.spans.filter(span => span.traceId === traceId && span.name === 'sse.deliver');
    expect(delivers).to.have.length(1);
  });

  it('exports the rest when it stops, and exits 0', async () => {
    const { headers, traceId } = newTrace();
    await connect('c1', headers);
    expect(await demo.stop()).to.equal(0);
    const close = receiver.trace(traceId).get('sse.close');
    expect(close?.attributes['sse.close.reason']).to.equal('draining');
    expect(receiver.spans.filter(({ name }) => name === 'sse.drain')).to.have.length(1);
    expect(point('sse.connections.closed', { 'sse.close.reason': 'draining' })?.value).to.equal(1);
    expect(point('sse.connections.active')?.value).to.equal(0);
  });

  it('serves and stops in time when the collector does not accept telemetry', async () => {
    // Nothing answers at that port.
    const lone = await start(`http://127.0.0.1:${await freePort()}`);
    await connect('c1', {}, lone);
    expect(await lone.stop()).to.equal(0);
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
        'POST /send/:clientId': 'say hello',
        'sse.send': 'POST /send/:clientId',
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
