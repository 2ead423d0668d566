import { once } from 'node:events';
import { createServer } from 'node:http';
import { createServer as createHttp2Server } from 'node:http2';
import type { AddressInfo } from 'node:net';
import { expect } from 'chai';
import { ChildProgram } from '../support/child-program.js';
import { newTrace } from '../support/client-trace.js';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { OtlpReceiver, type ReceivedPoint, type ReceivedSpan } from '../support/otlp-receiver.js';
import { freePort } from '../support/redis/free-port.js';
import { until } from '../support/until.js';

const KIND = { internal: 1, server: 2, client: 3, producer: 4, consumer: 5 };

describe('the demo with OTEL_EXPORTER_OTLP_ENDPOINT', () => {
  let receiver: OtlpReceiver;
  let demo: DemoProcess;

  const start = (variables: Readonly<Record<string, string>>): Promise<DemoProcess> =>
    DemoProcess.start({ OTEL_METRIC_EXPORT_INTERVAL: '200', OTEL_BSP_SCHEDULE_DELAY: '100', ...variables });
  const clients: EventStreamClient[] = [];

  // The tests share the demo, and the last that uses it ends it.
  before(async () => {
    receiver = await OtlpReceiver.start();
    demo = await start({ NODE_ID: 'node-a', ...receiver.environment });
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
    const connection = receiver.trace(traceId).get('sse.connect')?.spanId ?? expect.fail('sse.connect');
    const close = receiver.spans.find(({ name, links }) => name === 'sse.close' && links.includes(connection));
    const [drain, ...more] = receiver.spans.filter(({ name }) => name === 'sse.drain');
    expect(close?.attributes['sse.close.reason']).to.equal('draining');
    expect(close?.links).to.deep.equal([connection, drain?.spanId]);
    expect(more).to.deep.equal([]);
    expect(point('sse.connections.closed', { 'sse.close.reason': 'draining' })?.value).to.equal(1);
    expect(point('sse.connections.active')?.value).to.equal(0);
  });

  it('says once where its telemetry goes, and once that the endpoint refuses each kind of it', async () => {
    const asked: string[] = [];
    const refusing = createServer((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(404).end();
    });
    refusing.listen(0, '127.0.0.1');
    await once(refusing, 'listening');
    const address = `127.0.0.1:${(refusing.address() as AddressInfo).port}`;
    const lone = await start({ NODE_ID: '', OTEL_EXPORTER_OTLP_ENDPOINT: address });
    const metrics = (): number => asked.filter(path => path === '/v1/metrics').length;
    await connect('c1', {}, lone);
    await until(() => asked.includes('/v1/traces') && metrics() > 3, 'refused requests', 20_000);
    expect(await lone.stop()).to.equal(0);
    refusing.close();
    const lines = lone.program.output.split('\n').filter(line => line.startsWith('telemetry'));
    const [first, ...problems] = lines;
    expect(first).to.equal(
      `telemetry is on: traces to http://${address}/v1/traces (http/protobuf), metrics to ` +
        `http://${address}/v1/metrics (http/protobuf), instance ${lone.nodeId} ` +
        '(OTEL_EXPORTER_OTLP_ENDPOINT has no scheme: http:// is assumed)',
    );
    expect(problems.map(line => /^telemetry: (\w+) cannot be sent: .*Not Found/.exec(line)?.[1]).sort()).to.deep.equal([
      'metrics',
      'traces',
    ]);
  });

  it('serves, says so once and stops in time when nothing answers at the endpoint', async () => {
    const endpoint = `http://127.0.0.1:${await freePort()}/v1/traces`;
    const lone = await start({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: endpoint, OTEL_EXPORTER_OTLP_TIMEOUT: '300' });
    await connect('c1', {}, lone);
    const failure = /^telemetry: traces cannot be sent: .*ECONNREFUSED/m;
    await until(() => failure.test(lone.program.output), 'the failure', 20_000);
    expect(await lone.stop()).to.equal(0);
    expect(lone.program.output).to.include(`traces to ${endpoint} (http/protobuf), metrics to none, instance`);
    expect(lone.program.output.match(/cannot be sent/g)).to.have.length(1);
  });
});

describe('examples/05-telemetry', () => {
  it('shows one send from node to node as one trace, in its right order', async () => {
    const receiver = await OtlpReceiver.start();
    try {
      const program = ChildProgram.start('examples/05-telemetry/main.js', receiver.environment);
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

  it('sends its trace over gRPC when the variables say so', async () => {
    const paths = new Set<string>();
    const collector = createHttp2Server();
    collector.on('stream', (stream, headers) => {
      paths.add(String(headers[':path']));
      stream.respond({ ':status': 200, 'content-type': 'application/grpc' }, { waitForTrailers: true });
      stream.on('wantTrailers', () => stream.sendTrailers({ 'grpc-status': '0' }));
      // An empty message in gRPC's frame.
      stream.end(Buffer.alloc(5));
    });
    collector.listen(0, '127.0.0.1');
    await once(collector, 'listening');
    const program = ChildProgram.start('examples/05-telemetry/main.js', {
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`,
      OTEL_EXPORTER_OTLP_PROTOCOL: 'grpc',
    });
    expect(await program.exited).to.equal(0);
    collector.close();
    expect([...paths]).to.deep.equal(['/opentelemetry.proto.collector.trace.v1.TraceService/Export']);
  });
});
