import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { Jaeger, type JaegerSpan } from '../support/jaeger.js';
import { withRedis } from '../support/redis/with-redis.js';
import { until } from '../support/until.js';

describe('two processes that export to Jaeger', () => {
  const started = withRedis();
  let jaeger: Jaeger;
  let nodes: DemoProcess[] = [];

  before(async function () {
    // The image may have to be fetched.
    this.timeout(180_000);
    const starting = await Jaeger.start();
    if (starting instanceof Jaeger) {
      jaeger = starting;
      return;
    }
    if (process.env['REQUIRE_CONTAINERS'] === '1') throw new Error(starting);
    console.warn(`      skipped: ${starting}`);
    this.skip();
  });

  afterEach(() => Promise.all(nodes.map(node => node.stop('SIGKILL'))));

  after(() => (jaeger as Jaeger | undefined)?.stop());

  it('show a send on A to a client on B as one trace', async () => {
    const start = (nodeId: string): Promise<DemoProcess> =>
      DemoProcess.start({
        NODE_ID: nodeId,
        REDIS_URL: started.redis.url,
        OTEL_EXPORTER_OTLP_ENDPOINT: jaeger.endpoint,
        OTEL_BSP_SCHEDULE_DELAY: '100',
      });
    nodes = await Promise.all([start('node-a'), start('node-b')]);
    const [a, b] = nodes.map(({ url }) => url);
    const [traceId, root] = [randomBytes(16).toString('hex'), randomBytes(8).toString('hex')];
    const headers = { traceparent: `00-${traceId}-${root}-01` };
    const client = await EventStreamClient.open(`${b ?? ''}/sse/connect/c1`, { headers });
    await client.event('connected');
    await fetch(`${a ?? ''}/sse/send/c1?event=chat`, { method: 'POST', body: 'hi', headers });
    await client.event('chat');

    const names = ['sse.connect', 'sse.send', 'sse.route', 'sse.deliver'];
    let spans = new Map<string, JaegerSpan>();
    await until(
      async () => {
        spans = await jaeger.trace(traceId);
        return names.every(name => spans.has(name));
      },
      'the trace',
      15_000,
    );
    expect(names.map(name => spans.get(name))).to.deep.equal([
      { parent: 'GET /sse/connect{/:clientId}', links: [], process: 'node-b' },
      { parent: 'POST', links: [], process: 'node-a' },
      { parent: 'sse.send', links: [], process: 'node-a' },
      { parent: 'sse.route', links: ['sse.connect'], process: 'node-b' },
    ]);
    client.leave();
  });
});

describe('Jaeger in a container', () => {
  it('does not start, and answers the reason and a remedy, where testcontainers cannot be imported', async () => {
    const why = await Jaeger.start(() => Promise.reject(new Error('no such module')));
    expect(why).to.match(/^no \S+jaeger:\S+ in a container \(no such module\): start Docker/);
  });

  it('does not start, and answers the reason, where no engine answers', async () => {
    const nowhere = {
      withExposedPorts: () => nowhere,
      withWaitStrategy: () => nowhere,
      start: () => Promise.reject(new Error('no container runtime')),
    };
    const library = {
      GenericContainer: function () {
        return nowhere;
      },
      Wait: { forHttp: () => undefined },
    };
    // Just what is asked of it.
    const why = await Jaeger.start(() => Promise.resolve(library as never));
    expect(why).to.include('(no container runtime)');
  });
});
