import { tracingChannel } from 'node:diagnostics_channel';
import { SpanKind, trace } from '@opentelemetry/api';
import { expect } from 'chai';
import { Container } from 'inversify';
import { Redis } from 'ioredis';
import { sseModule, SseService } from '../../../src/index.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const SECRET = 'alice-secret';

interface CommandReport {
  readonly command: string;
  readonly args: readonly string[];
}

describe('telemetry.hideConnectionIds, with an instrumentation of ioredis', () => {
  const started = withRedis();
  const containers: Container[] = [];
  const commands = tracingChannel<string, CommandReport>('ioredis:command');
  let sdk: RecordingSdk;

  /** As an instrumentation does: a span of each command with its arguments. */
  const instrumentation = {
    start: ({ command, args }: CommandReport): void => {
      const attributes = { 'db.query.text': [command, ...args].join(' ') };
      trace.getTracer('ioredis').startSpan(command, { kind: SpanKind.CLIENT, attributes }).end();
    },
    end: (): void => undefined,
    asyncStart: (): void => undefined,
    asyncEnd: (): void => undefined,
    error: (): void => undefined,
  };

  beforeEach(() => {
    sdk = RecordingSdk.start();
    commands.subscribe(instrumentation);
  });

  afterEach(async () => {
    for (const container of containers.splice(0)) await container.get(SseService).close();
    commands.unsubscribe(instrumentation);
    sdk.stop();
  });

  async function node(id: string): Promise<SseService> {
    const container = new Container();
    containers.push(container);
    const telemetry = { hideConnectionIds: true };
    container.load(
      sseModule({ node: { id }, redis: { url: started.redis.url }, mailbox: { enabled: true }, telemetry }),
    );
    const service = container.get(SseService);
    await service.start();
    return service;
  }

  it('leaves no id and no event in anything that is exported', async () => {
    const [a, b] = [await node('a'), await node('b')];
    const sink = new RecordingSink();
    await b.createConnection(SECRET, sink, { topics: ['news'] });
    await a.sendMessageToConnection(SECRET, 'chat', { text: SECRET });
    await a.sendMessageToConnection(`${SECRET}-away`, 'chat', SECRET, { durable: true });
    await a.publish('news', 'chat', SECRET);
    await a.subscribe(SECRET, 'sport');
    await a.locate(SECRET);
    await a.sendMessageToConnection(SECRET, 'chat', 'x'.repeat(2 ** 21)).catch(() => undefined);
    await a.createConnection(SECRET, new RecordingSink());
    await a.closeConnection(SECRET);
    await until(() => sdk.spans('sse.close').length === 2, 'both ends');
    const exported = [
      ...sdk
        .spans()
        .map(({ name, attributes, events, status, links }) => ({ name, attributes, events, status, links })),
      ...(await sdk.metrics()),
    ];
    for (const name of [
      'sse.connect',
      'sse.send',
      'sse.route',
      'sse.deliver',
      'sse.publish',
      'sse.command',
      'sse.close',
    ]) {
      expect(sdk.spans(name), name).to.not.deep.equal([]);
    }
    expect(exported.filter(each => JSON.stringify(each).includes(SECRET))).to.deep.equal([]);
  });

  it('leaves the commands of the application to the instrumentation', async () => {
    await node('a');
    const own = new Redis(started.redis.url);
    await own.get('key');
    expect(sdk.spans('get').map(({ attributes }) => attributes['db.query.text'])).to.deep.equal(['get key']);
    expect(sdk.spans().filter(({ kind, name }) => kind === SpanKind.CLIENT && /^ev|publish/i.test(name))).to.deep.equal(
      [],
    );
    own.disconnect();
  });
});
