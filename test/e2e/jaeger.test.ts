import { expect } from 'chai';
import { Jaeger } from '../../examples/05-telemetry/jaeger.js';
import { ChildProgram } from '../support/child-program.js';
import { newTrace } from '../support/client-trace.js';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { JaegerReader, type JaegerSpan } from '../support/jaeger.js';
import { withRedis } from '../support/redis/with-redis.js';
import { until } from '../support/until.js';

const PATIENCE = 15_000;
const REQUESTS = {
  send: 'POST /sse/send{/:clientId}',
  connect: 'GET /sse/connect{/:clientId}',
  close: 'DELETE /sse/connections/:clientId',
};

describe('two nodes that export to Jaeger', () => {
  const started = withRedis();
  let jaeger: Jaeger | undefined;
  let reader: JaegerReader;
  let nodes: readonly DemoProcess[] = [];
  let a: DemoProcess;
  let b: DemoProcess;
  const clients: EventStreamClient[] = [];

  before(async function () {
    // An image may have to be fetched.
    this.timeout(180_000);
    const starting = await Jaeger.start();
    if (typeof starting === 'string') {
      if (process.env['REQUIRE_JAEGER'] === '1') throw new Error(starting);
      console.warn(`      skipped: ${starting}`);
      this.skip();
    }
    jaeger = starting;
    reader = new JaegerReader(starting);
    const start = (nodeId: string): Promise<DemoProcess> =>
      DemoProcess.start({
        NODE_ID: nodeId,
        REDIS_URL: started.redis.url,
        SSE_SEND_DEADLINE: '300',
        OTEL_SERVICE_NAME: `sse ${nodeId}`,
        OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: `${starting.otlp}/v1/traces`,
        OTEL_BSP_SCHEDULE_DELAY: '100',
      });
    [a, b] = await Promise.all([start('node-a'), start('node-b')]);
    nodes = [a, b];
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });

  after(async () => {
    await Promise.all(nodes.map(node => node.stop('SIGKILL')));
    await jaeger?.stop();
  });

  async function connect(node: DemoProcess, path: string, headers = {}): Promise<EventStreamClient> {
    const client = await EventStreamClient.open(`${node.url}/sse/connect/${path}`, { headers });
    clients.push(client);
    await client.event('connected');
    return client;
  }

  /** The spans of a trace, once it has these names, each as often as it is listed. */
  async function trace(traceId: string, ...names: readonly string[]): Promise<JaegerSpan[]> {
    let spans: JaegerSpan[] = [];
    const complete = async (): Promise<boolean> => {
      spans = await reader.trace(traceId);
      return names.every(name => count(spans, name) >= count(names, name));
    };
    await until(complete, `the spans ${names.join(', ')}`, PATIENCE);
    return spans;
  }

  /** The span of the end of a connection, which is a trace of its own. */
  async function endOf(node: string, connectionId: string, reason: string): Promise<JaegerSpan> {
    let found: readonly string[] = [];
    const tags = { 'sse.connection.id': connectionId, 'sse.close.reason': reason };
    const isThere = async (): Promise<boolean> => {
      found = await reader.search(`sse ${node}`, tags);
      return found.length > 0;
    };
    await until(isThere, `the end of ${connectionId}`, PATIENCE);
    const [only = expect.fail(), ...others] = await trace(found[0] ?? '', 'sse.close');
    expect([only.warnings, others]).to.deep.equal([[], []]);
    return only;
  }

  const count = (spans: readonly (JaegerSpan | string)[], wanted: string): number =>
    spans.filter(span => (typeof span === 'string' ? span : span.name) === wanted).length;

  const named = (spans: readonly JaegerSpan[], wanted: string): JaegerSpan =>
    spans.find(({ name }) => name === wanted) ?? expect.fail(wanted);

  it('show a send on A to a client on B as one trace, each node under its name', async () => {
    const { traceId, headers } = newTrace();
    const client = await connect(b, 'sent-to', headers);
    await fetch(`${a.url}/sse/send/sent-to?event=chat`, { method: 'POST', body: 'hi', headers });
    await client.event('chat');
    const names = ['sse.connect', 'sse.send', 'sse.route', 'sse.deliver'];
    const spans = await trace(traceId, ...names, REQUESTS.connect, REQUESTS.send);
    const connection = named(spans, 'sse.connect').spanId;
    const facts = names
      .map(name => named(spans, name))
      .map(({ parent, links, service, instance }) => {
        return { parent, links, service, instance };
      });
    const [onA, onB] = ['node-a', 'node-b'].map(instance => ({ service: `sse ${instance}`, instance }));
    expect(facts).to.deep.equal([
      { parent: REQUESTS.connect, links: [], ...onB },
      { parent: REQUESTS.send, links: [], ...onA },
      { parent: 'sse.send', links: [], ...onA },
      { parent: 'sse.route', links: [connection], ...onB },
    ]);
  });

  it('find a publication by the id that its publisher got, with one delivery per node', async () => {
    await connect(a, 'p1?topics=news');
    await connect(b, 'p2?topics=news');
    const { traceId, headers } = newTrace();
    const response = await fetch(`${a.url}/sse/topics/news?event=tick`, { method: 'POST', body: 'x', headers });
    const { id } = (await response.json()) as { id: string };
    const spans = await trace(traceId, 'sse.publish', 'sse.deliver', 'sse.deliver');
    const delivers = spans.filter(({ name }) => name === 'sse.deliver');
    expect(delivers.map(({ parent }) => parent)).to.deep.equal(['sse.publish', 'sse.publish']);
    expect(delivers.map(({ service }) => service).sort()).to.deep.equal(['sse node-a', 'sse node-b']);
    expect(await reader.search('sse node-b', { 'messaging.message.id': id })).to.deep.equal([traceId]);
  });

  it('link the end of a stream that was taken over, or closed on the other node, to its cause', async () => {
    const [first, second, closing] = [newTrace(), newTrace(), newTrace()];
    await connect(b, 'moved', first.headers);
    await connect(a, 'moved', second.headers);
    const opening = named(await trace(second.traceId, 'sse.connect'), 'sse.connect').spanId;
    const former = named(await trace(first.traceId, 'sse.connect'), 'sse.connect').spanId;
    expect((await endOf('node-b', 'moved', 'superseded')).links).to.deep.equal([former, opening]);

    await fetch(`${b.url}/sse/connections/moved`, { method: 'DELETE', headers: closing.headers });
    const request = await trace(closing.traceId, 'sse.command');
    const closed = await endOf('node-a', 'moved', 'closed');
    expect(closed.links).to.deep.equal([opening, named(request, 'sse.command').spanId]);
    expect(named(request, 'sse.command')).to.include({ parent: REQUESTS.close, service: 'sse node-b' });
  });

  it('find a send that failed by error=true, and no refused request', async () => {
    await connect(b, 'unanswered');
    const [failing, refused] = [newTrace(), newTrace()];
    b.program.process.kill('SIGSTOP');
    const send = { method: 'POST', body: 'x', headers: failing.headers };
    const response = await fetch(`${a.url}/sse/send/unanswered`, send);
    b.program.process.kill('SIGCONT');
    expect(response.status).to.equal(504);
    const accept = { accept: 'text/html', ...refused.headers };
    expect((await fetch(`${a.url}/sse/connect/x`, { headers: accept })).status).to.equal(406);
    await trace(refused.traceId, 'sse.connect');
    await trace(failing.traceId, 'sse.send');
    const found = await reader.search('sse node-a', { error: 'true' });
    expect(found).to.include(failing.traceId).and.not.include(refused.traceId);
  });

  it('get the three traces of the demo of traces, which prints their addresses', async () => {
    const program = ChildProgram.start('examples/05-telemetry/demo-traces.js', {
      JAEGER_URL: jaeger?.query ?? '',
      JAEGER_OTLP_URL: jaeger?.otlp ?? '',
      REDIS_URL: started.redis.url,
      SSE_REDIS_PREFIX: 'demo:',
    });
    await program.printed(/the nodes go on/);
    expect(await program.stop('SIGTERM')).to.equal(0);
    const addresses = [...program.output.matchAll(/^ {2}(http\S+)$/gm)].map(([, address = '']) => address);
    expect(addresses).to.have.length(3);
    for (const address of addresses) expect((await fetch(address)).status, address).to.equal(200);
    expect(program.output).to.match(/^ {6}sse\.send .*node-a, .*delivered\n.*sse\.route .*\n.*sse\.deliver .*node-b/m);
    expect(program.output.match(/sse\.deliver +node-[ab]/g)).to.have.length(3);
    expect(program.output).to.match(/^ {2}sse\.close +node-b, [\d.]+ ms, closed, 2 links$/m);
  });

  // The last, since it ends a node.
  it('link the end of a stream whose node drains to the drain', async () => {
    const { traceId, headers } = newTrace();
    await connect(b, 'drained', headers);
    expect(await b.stop()).to.equal(0);
    const close = await endOf('node-b', 'drained', 'draining');
    const connection = named(await trace(traceId, 'sse.connect'), 'sse.connect').spanId;
    const [drain = ''] = await reader.search('sse node-b', { 'sse.connections': '1' });
    expect(close.links).to.deep.equal([connection, named(await trace(drain, 'sse.drain'), 'sse.drain').spanId]);
  });
});

describe('where there is no Jaeger', () => {
  it('the test and the demo say what to do', async () => {
    const why = await Jaeger.start({ JAEGER_BIN: '/nowhere' }, '/no/docker');
    expect(why).to.match(/^no Jaeger: build one with .ci\/jaeger/);
  });

  it('one that runs elsewhere is used as it is', async () => {
    const elsewhere = await Jaeger.start({ JAEGER_URL: 'http://jaeger.test:16686/' });
    expect(elsewhere)
      .to.be.instanceOf(Jaeger)
      .and.to.include({ otlp: 'http://jaeger.test:4318', query: 'http://jaeger.test:16686' });
  });
});
