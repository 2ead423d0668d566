import { createRequire } from 'node:module';
import { tracingChannel } from 'node:diagnostics_channel';
import { SpanKind, trace } from '@opentelemetry/api';
import { IORedisInstrumentation } from '@opentelemetry/instrumentation-ioredis';
import { expect } from 'chai';
import { Container } from 'inversify';
import { Redis } from 'ioredis';
import { sseModule, SseService } from '../../../src/index.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const SECRET = 'alice-secret';
const BODY = 'secret-words';

interface CommandReport {
  readonly command: string;
  readonly args: readonly string[];
}

/** Records each command of ioredis as a span with its arguments, until the returned function is called. */
type Instrument = () => () => void;

/** By the channel to which ioredis reports. */
function byChannel(): () => void {
  const commands = tracingChannel<string, CommandReport>('ioredis:command');
  const nothing = (): void => undefined;
  const subscriber = {
    start: ({ command, args }: CommandReport): void => {
      const attributes = { 'db.query.text': [command, ...args].join(' ') };
      trace.getTracer('ioredis').startSpan(command, { kind: SpanKind.CLIENT, attributes }).end();
    },
    end: nothing,
    asyncStart: nothing,
    asyncEnd: nothing,
    error: nothing,
  };
  commands.subscribe(subscriber);
  return () => {
    commands.unsubscribe(subscriber);
  };
}

/** By the instrumentation of OpenTelemetry, which shows whole commands here. */
function byInstrumentation(): () => void {
  const instrumentation = new IORedisInstrumentation({
    requireParentSpan: false,
    dbStatementSerializer: (name, args) => [name, ...args].join(' '),
  });
  instrumentation.setTracerProvider(trace.getTracerProvider());
  // It takes hold when somebody requires the module.
  createRequire(import.meta.url)('ioredis');
  return () => {
    instrumentation.disable();
  };
}

const INSTRUMENTS: readonly (readonly [string, Instrument])[] = [
  ['a subscriber of its channel', byChannel],
  ['the instrumentation of OpenTelemetry', byInstrumentation],
];

for (const [what, instrument] of INSTRUMENTS) {
  describe(`telemetry beside ${what} for ioredis`, () => {
    const started = withRedis();
    const containers: Container[] = [];
    let sdk: RecordingSdk;
    let end: () => void;

    beforeEach(() => {
      sdk = RecordingSdk.start();
      end = instrument();
    });

    afterEach(async () => {
      for (const container of containers.splice(0)) await container.get(SseService).close();
      end();
      sdk.stop();
    });

    async function node(id: string, hideConnectionIds: boolean): Promise<SseService> {
      const container = new Container();
      containers.push(container);
      const telemetry = { hideConnectionIds };
      container.load(
        sseModule({ node: { id }, redis: { url: started.redis.url }, mailbox: { enabled: true }, telemetry }),
      );
      const service = container.get(SseService);
      await service.start();
      return service;
    }

    /** Uses two nodes in every way that leaves a span; resolves to all that is exported. */
    async function use(hideConnectionIds: boolean): Promise<readonly string[]> {
      const [a, b] = [await node('a', hideConnectionIds), await node('b', hideConnectionIds)];
      await b.createConnection(SECRET, new RecordingSink(), { topics: ['news'] });
      await a.sendMessageToConnection(SECRET, 'chat', { text: BODY });
      await a.sendMessageToConnection(`${SECRET}-away`, 'chat', BODY, { durable: true });
      await a.publish('news', 'chat', BODY);
      await a.broadcastToCluster('chat', BODY);
      await a.subscribe(SECRET, 'sport');
      await a.locate(SECRET);
      await a.sendMessageToConnection(SECRET, 'chat', BODY.repeat(2 ** 18)).catch(() => undefined);
      await a.createConnection(SECRET, new RecordingSink());
      await a.closeConnection(SECRET);
      await b.createConnection(SECRET, new RecordingSink());
      await a.revoke({ connectionId: SECRET });
      await until(() => sdk.spans('sse.close').length === 3, 'the ends');
      for (const name of ['connect', 'send', 'route', 'deliver', 'publish', 'broadcast', 'command', 'close']) {
        expect(sdk.spans(`sse.${name}`), name).to.not.deep.equal([]);
      }
      const spans = sdk.spans().map(({ name, attributes, events, status, links, resource }) => {
        return { name, attributes, events, status, links, resource: resource.attributes };
      });
      return [...spans, ...(await sdk.metrics())].map(each => JSON.stringify(each));
    }

    it('leaves no id and no event in anything that is exported where ids are hidden', async () => {
      expect((await use(true)).filter(each => /secret/.test(each))).to.deep.equal([]);
    });

    it('leaves no event in anything that is exported where they are not', async () => {
      const exported = await use(false);
      expect(exported.filter(each => each.includes(BODY))).to.deep.equal([]);
      expect(exported.filter(each => each.includes(SECRET))).to.not.deep.equal([]);
    });

    it('leaves the commands of the application to the instrumentation', async () => {
      await node('a', false);
      const own = new Redis(started.redis.url);
      await own.get('key').finally(() => {
        own.disconnect();
      });
      const texts = sdk.spans().flatMap(({ attributes }) => attributes['db.query.text'] ?? []);
      // A connection of the application greets the server; a command that waits for it may be recorded twice.
      const greeting = /^(connect|hello|client|info)/;
      const commands = new Set(texts.map(String).filter(text => !greeting.test(text)));
      expect([...commands]).to.deep.equal(['get key']);
    });
  });
}
