import { isDeepStrictEqual } from 'node:util';
import { expect } from 'chai';
import { newTrace } from '../support/client-trace.js';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { OtlpReceiver, type ReceivedPoint, type ReceivedSpan } from '../support/otlp-receiver.js';
import { withRedis } from '../support/redis/with-redis.js';
import { until } from '../support/until.js';

const PATIENCE = 15_000;
const POST = 'POST /sse/send{/:clientId}';

describe('telemetry of two processes over Redis', () => {
  const started = withRedis();
  let receiver: OtlpReceiver;
  let a: DemoProcess;
  let b: DemoProcess;
  const clients: EventStreamClient[] = [];

  // The tests share the nodes: each has ids and topics of its own, and the last ends one of them.
  before(async function () {
    this.timeout(60_000);
    receiver = await OtlpReceiver.start();
    const start = (nodeId: string): Promise<DemoProcess> =>
      DemoProcess.start({
        NODE_ID: nodeId,
        REDIS_URL: started.redis.url,
        SSE_NODE_HEARTBEAT: '200',
        SSE_NODE_LEASE: '1000',
        ...receiver.environment,
        OTEL_METRIC_EXPORT_INTERVAL: '200',
        OTEL_BSP_SCHEDULE_DELAY: '100',
      });
    [a, b] = await Promise.all([start('node-a'), start('node-b')]);
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });

  after(async () => {
    await Promise.all([a, b].map(node => node.stop('SIGKILL')));
    await receiver.close();
  });

  async function connect(node: DemoProcess, path: string, headers = {}): Promise<EventStreamClient> {
    const client = await EventStreamClient.open(`${node.url}/sse/connect/${path}`, { headers });
    clients.push(client);
    await client.event('connected');
    return client;
  }

  const isCloseOf = (id: string) => (span: ReceivedSpan) =>
    span.name === 'sse.close' && span.attributes['sse.connection.id'] === id;

  function points(name: string, attributes: Record<string, unknown>): ReceivedPoint[] {
    return receiver.points.filter(
      point =>
        point.name === name && Object.entries(attributes).every(([key, value]) => point.attributes[key] === value),
    );
  }

  // The first, so that what is counted is its own.
  it('metrics show the way through the cluster, each node its own', async () => {
    const client = await connect(b, 'counted');
    await fetch(`${a.url}/sse/send/counted?event=chat`, { method: 'POST', body: 'hi' });
    await client.event('chat');
    await until(
      () =>
        points('sse.delivery.latency', { 'sse.scope': 'connection' }).length === 1 &&
        points('sse.route.duration', { 'sse.outcome': 'delivered' }).length === 1 &&
        points('sse.redis.command.duration', { 'sse.redis.command': 'send' }).length === 1 &&
        points('sse.redis.command.duration', { 'sse.redis.command': 'register' }).length === 1,
      'the metrics',
      PATIENCE,
    );
    const [latency] = points('sse.delivery.latency', {});
    const [route] = points('sse.route.duration', {});
    const [register] = points('sse.redis.command.duration', { 'sse.redis.command': 'register' });
    expect(latency?.resource['service.instance.id']).to.equal('node-b');
    expect(route?.resource['service.instance.id']).to.equal('node-a');
    expect(register?.resource['service.instance.id']).to.equal('node-b');
    await until(
      () => points('sse.connections.active', { 'sse.node.id': 'node-b' })[0]?.value === 1,
      'the connection',
      PATIENCE,
    );
    expect(points('sse.connections.active', { 'sse.node.id': 'node-a' })[0]?.value).to.equal(0);
  });

  it('a send on A to a client on B is one trace: connect, send, route, deliver', async () => {
    const { traceId, clientSpan, headers } = newTrace();
    const client = await connect(b, 'traced', headers);
    await fetch(`${a.url}/sse/send/traced?event=chat`, { method: 'POST', body: 'hi', headers });
    await client.event('chat');
    const names = ['sse.connect', 'sse.send', 'sse.route', 'sse.deliver'];
    const expected = [...names, POST, 'GET /sse/connect{/:clientId}'];
    await until(() => expected.every(name => receiver.trace(traceId).has(name)), 'the trace', PATIENCE);

    const spans = receiver.trace(traceId);
    const parentOf = (name: string): string | undefined => {
      const parent = spans.get(name)?.parentSpanId;
      return parent === clientSpan ? 'the client' : [...spans.values()].find(({ spanId }) => spanId === parent)?.name;
    };
    expect(Object.fromEntries(expected.map(name => [name, parentOf(name)]))).to.deep.equal({
      'GET /sse/connect{/:clientId}': 'the client',
      'sse.connect': 'GET /sse/connect{/:clientId}',
      [POST]: 'the client',
      'sse.send': POST,
      'sse.route': 'sse.send',
      'sse.deliver': 'sse.route',
    });
    const connection = spans.get('sse.connect');
    expect(spans.get('sse.deliver')?.links).to.deep.equal([connection?.spanId]);
    expect(names.map(name => spans.get(name)?.attributes['sse.node.id'])).to.deep.equal([
      'node-b',
      'node-a',
      'node-a',
      'node-b',
    ]);
    expect(names.map(name => spans.get(name)?.resource['service.instance.id'])).to.deep.equal([
      'node-b',
      'node-a',
      'node-a',
      'node-b',
    ]);
    for (const name of ['sse.send', 'sse.route', 'sse.deliver']) {
      expect(spans.get(name)?.attributes['sse.outcome'], name).to.equal('delivered');
    }
    expect(spans.get('sse.send')?.attributes['sse.owner.node.id']).to.equal('node-b');
    expect(receiver.foreign).to.deep.equal([]);
  });

  it('a publication on A is delivered on both, each with one span that continues it', async () => {
    await connect(a, 'p1?topics=news');
    await connect(b, 'p2?topics=news');
    await connect(b, 'p3?topics=news');
    const { traceId, headers } = newTrace();
    await fetch(`${a.url}/sse/topics/news?event=tick`, { method: 'POST', body: 'x', headers });
    const delivers = () => receiver.spans.filter(span => span.traceId === traceId && span.name === 'sse.deliver');
    await until(() => delivers().length === 2, 'both deliveries', PATIENCE);
    const publish = receiver.trace(traceId).get('sse.publish');
    expect(delivers().map(({ parentSpanId }) => parentSpanId)).to.deep.equal([publish?.spanId, publish?.spanId]);
    expect(
      Object.fromEntries(
        delivers().map(({ attributes }) => [attributes['sse.node.id'], attributes['sse.fanout.delivered']]),
      ),
    ).to.deep.equal({ 'node-a': 1, 'node-b': 2 });
  });

  it('an end on B that was asked for on A is linked to the command, in the trace of the request', async () => {
    const [opening, closing] = [newTrace(), newTrace()];
    await connect(b, 'closed', opening.headers);
    await fetch(`${a.url}/sse/connections/closed`, { method: 'DELETE', headers: closing.headers });
    const command = () => receiver.trace(closing.traceId).get('sse.command');
    const close = () => receiver.spans.find(isCloseOf('closed'));
    await until(() => command() !== undefined && close() !== undefined, 'both spans', PATIENCE);
    expect(close()?.attributes['sse.node.id']).to.equal('node-b');
    const connection = receiver.trace(opening.traceId).get('sse.connect');
    expect(close()?.links).to.deep.equal([connection?.spanId, command()?.spanId]);
  });

  it('a takeover is recorded on the node that lost the connection, linked to the newer opening', async () => {
    const [{ traceId, headers }, newer] = [newTrace(), newTrace()];
    await connect(b, 'moved', headers);
    await connect(a, 'moved', newer.headers);
    const opening = () => receiver.trace(newer.traceId).get('sse.connect');
    const end = () => receiver.spans.find(isCloseOf('moved'));
    await until(() => end() !== undefined && opening() !== undefined, 'both spans', PATIENCE);
    const close = end();
    expect(close?.links).to.deep.equal([receiver.trace(traceId).get('sse.connect')?.spanId, opening()?.spanId]);
    expect(close?.attributes).to.include({
      'sse.node.id': 'node-b',
      'sse.close.reason': 'superseded',
    });
    await until(() => points('sse.takeovers', { 'sse.node.id': 'node-b' })[0]?.value === 1, 'the takeover', PATIENCE);
  });

  it('an owner that does not answer shows as repeated attempts, and an unknown outcome', async () => {
    await connect(b, 'unanswered');
    const { traceId, headers } = newTrace();
    const retries = (): number => points('sse.retries', { 'sse.operation': 'send' })[0]?.value ?? 0;
    const before = retries();
    b.program.process.kill('SIGSTOP');
    const response = await fetch(`${a.url}/sse/send/unanswered`, {
      method: 'POST',
      body: 'x',
      headers,
    });
    b.program.process.kill('SIGCONT');
    expect(response.status).to.equal(504);
    await until(() => receiver.trace(traceId).has(POST), 'the trace', PATIENCE);
    const route = receiver.trace(traceId).get('sse.route');
    expect(route?.attributes).to.include({ 'sse.outcome': 'unknown', 'error.type': 'unknown' });
    expect(route?.events[0]).to.deep.equal({
      name: 'sse.retry',
      attributes: { 'sse.operation': 'send', 'error.type': 'unanswered' },
    });
    await until(() => retries() > before, 'the count', PATIENCE);
  });

  it('the removal of a dead node is recorded by the node that removes it', async () => {
    await connect(b, 'left-1');
    await connect(b, 'left-2');
    // What the tests before have left is gone, on both.
    await until(async () => {
      const response = await fetch(`${a.url}/sse/connections`);
      const { nodes } = (await response.json()) as { nodes: Record<string, number> };
      return nodes['node-a'] === 0 && nodes['node-b'] === 2;
    }, 'two connections');
    const cleanups = () => receiver.spans.filter(({ name }) => name === 'sse.cleanup');
    const before = cleanups().length;
    await b.stop('SIGKILL');
    const expected = { 'sse.node.id': 'node-a', 'sse.cleanup.kind': 'node', 'sse.cleanup.removed': 2 };
    await until(
      () =>
        cleanups()
          .slice(before)
          .some(({ attributes }) => isDeepStrictEqual(attributes, expected)),
      'the cleanup',
      PATIENCE,
    );
    // A node that stalls is removed as well, so there may be more of them.
    const sum = () =>
      cleanups().reduce((total, { attributes }) => total + Number(attributes['sse.cleanup.removed']), 0);
    const counted = () => points('sse.cleanup.removed', {}).reduce((total, { value }) => total + value, 0);
    await until(() => counted() === sum(), 'the count', PATIENCE);
  });
});
