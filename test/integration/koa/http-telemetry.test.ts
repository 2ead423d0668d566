import { createRequire } from 'node:module';
import { context, diag, metrics, type SpanContext, SpanKind, trace } from '@opentelemetry/api';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import type { ReadableSpan } from '@opentelemetry/sdk-trace';
import { expect } from 'chai';
import type { SseGuard } from '../../../src/contracts/authorization.js';
import type { SseConnection } from '../../../src/contracts/connection.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { sseResponseHook } from '../../../src/telemetry/connections.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { RecordingSdk } from '../../support/recording-sdk.js';
import { until } from '../../support/until.js';

const REPORTER = '@opentelemetry/instrumentation-http';
const DURATION = 'http.server.request.duration';
const TRACEPARENT = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';

class RefuseAll implements SseGuard {
  canConnect(): boolean {
    return false;
  }
}

let seen: (SpanContext | undefined)[] = [];

class StreamController {
  @SseEndpoint('/sse/:clientId')
  async stream(connection: SseConnection): Promise<void> {
    seen.push(trace.getSpanContext(context.active()));
    await Promise.resolve();
    seen.push(trace.getSpanContext(context.active()));
    connection.send('hello', 'x');
  }

  @SseEndpoint('/source')
  async *source(): AsyncIterable<number> {
    await Promise.resolve();
    seen.push(trace.getSpanContext(context.active()));
    yield 1;
  }

  @SseEndpoint('/guarded', { guards: [RefuseAll] })
  guarded(): void {
    // Not reached: the guard refuses every request.
  }
}

describe('telemetry over HTTP', () => {
  let sdk: RecordingSdk;
  let app: KoaApp;
  let instrumentation: HttpInstrumentation | undefined;
  let complaints: string[];

  beforeEach(() => {
    seen = [];
    complaints = [];
    sdk = RecordingSdk.start();
    const complain = (message: string): void => void complaints.push(message);
    const silent = (): void => undefined;
    const logger = {
      error: complain,
      warn: complain,
      info: silent,
      debug: silent,
      verbose: silent,
    };
    diag.setLogger(logger, { suppressOverrideMessage: true });
  });

  afterEach(async () => {
    await app.close();
    instrumentation?.disable();
    instrumentation = undefined;
    diag.disable();
    sdk.stop();
    expect(complaints).to.deep.equal([]);
  });

  async function start(hooks?: { responseHook: typeof sseResponseHook }, options?: SseOptions): Promise<void> {
    if (hooks !== undefined) {
      instrumentation = new HttpInstrumentation({
        ...hooks,
        disableOutgoingRequestInstrumentation: true,
      });
      instrumentation.setTracerProvider(trace.getTracerProvider());
      instrumentation.setMeterProvider(metrics.getMeterProvider());
      // It takes hold when somebody requires the module.
      createRequire(import.meta.url)('node:http');
    }
    app = await KoaApp.start({
      ...(options && { options }),
      controllers: [StreamController],
      bind: container => {
        container.bind(RefuseAll).toSelf();
      },
      after: [
        async ctx => {
          if (ctx.path.startsWith('/own/')) {
            await ctx.sse.connect(ctx.path.slice('/own/'.length));
            return;
          }
          ctx.body =
            ctx.method === 'POST'
              ? await app.service.sendMessageToConnection(ctx.path.slice('/send/'.length), 'a', 'b')
              : 'plain';
        },
      ],
    });
  }

  const open = (path: string, headers = {}): Promise<EventStreamClient> =>
    EventStreamClient.open(app.url + path, { headers });
  const idOf = (span: ReadableSpan): string => span.spanContext().spanId;
  const parentOf = (span: ReadableSpan): string | undefined => span.parentSpanContext?.spanId;

  describe('with the HTTP instrumentation and the hook', () => {
    beforeEach(() => start({ responseHook: sseResponseHook }));

    it('the span of the server ends with the head, named by its route', async () => {
      const client = await open('/sse/a', { traceparent: TRACEPARENT });
      await client.event('hello');
      const [http] = sdk.spans().filter(({ kind }) => kind === SpanKind.SERVER);
      expect(http?.name).to.equal('GET /sse/:clientId');
      expect(http?.attributes).to.include({
        'http.response.status_code': 200,
        'http.route': '/sse/:clientId',
        'url.path': '/sse/a',
      });
      expect(http && parentOf(http)).to.equal('b7ad6b7169203331');
      client.leave();
    });

    it('the opening is inside it, and the handler inside the opening', async () => {
      const client = await open('/sse/a');
      await client.event('hello');
      const connect = sdk.span('sse.connect');
      expect(connect.kind).to.equal(SpanKind.INTERNAL);
      expect(parentOf(connect)).to.equal(idOf(sdk.span('GET /sse/:clientId')));
      expect(seen.map(spanContext => spanContext?.spanId)).to.deep.equal([idOf(connect), idOf(connect)]);
      client.leave();
    });

    it('a source is pulled inside the opening', async () => {
      const client = await open('/source');
      await client.event('message');
      expect(seen.map(spanContext => spanContext?.spanId)).to.deep.equal([idOf(sdk.span('sse.connect'))]);
    });

    it('a stream is in no way part of the durations of requests, before its end and after', async () => {
      const client = await open('/sse/a');
      expect(await sdk.points(DURATION, REPORTER)).to.deep.equal([]);
      client.leave();
      await until(() => app.store.size === 0 && app.sockets.size === 0, 'the end');
      await open('/plain');
      await until(async () => (await sdk.points(DURATION, REPORTER)).length > 0, 'a duration');
      const points = await sdk.points(DURATION, REPORTER);
      expect(points.map(({ value, attributes }) => [value, attributes['http.route']])).to.deep.equal([[1, undefined]]);
      expect(sdk.spans().filter(({ kind }) => kind === SpanKind.SERVER)).to.have.length(2);
    });

    it('a request that is refused is a request as any other', async () => {
      const refused = await open('/sse/a', { accept: 'application/json' });
      expect(refused.status).to.equal(406);
      expect((await open('/guarded')).status).to.equal(403);
      await until(async () => (await sdk.points(DURATION, REPORTER)).length === 2, 'durations');
      const points = await sdk.points(DURATION, REPORTER);
      expect(
        points.map(({ attributes }) => [attributes['http.response.status_code'], attributes['http.route']]),
      ).to.have.deep.members([
        [406, '/sse/:clientId'],
        [403, '/guarded'],
      ]);
    });

    it('a send in a request is inside its span', async () => {
      const client = await open('/sse/a');
      await client.event('hello');
      sdk.forget();
      await fetch(`${app.url}/send/a`, { method: 'POST' });
      await until(() => sdk.spans().length === 2, 'both spans');
      const [send, post] = sdk.spans();
      expect(send?.name).to.equal('sse.send');
      expect(send && parentOf(send)).to.equal(post && idOf(post));
      client.leave();
    });

    it('a second stream on the same application is recorded like the first', async () => {
      for (const id of ['a', 'b', 'c']) {
        const client = await open(`/sse/${id}`);
        await client.event('hello');
        client.leave();
      }
      await until(() => app.store.size === 0, 'the ends');
      expect(sdk.spans('GET /sse/:clientId')).to.have.length(3);
      expect(await sdk.points(DURATION, REPORTER)).to.deep.equal([]);
    });
  });

  it('shows a connection id nowhere when ids are hidden', async () => {
    await start({ responseHook: sseResponseHook }, { telemetry: { hideConnectionIds: true } });
    const client = await open('/sse/alice-secret?page=alice-secret');
    await client.event('hello');
    const other = await open('/own/alice-secret');
    await open('/sse/alice-secret', { accept: 'application/json' });
    await fetch(`${app.url}/send/alice-secret`, { method: 'POST' });
    client.leave();
    other.leave();
    await until(() => sdk.spans().filter(({ kind }) => kind === SpanKind.SERVER).length === 4, 'the requests');
    await until(() => sdk.spans('sse.close').length === 2, 'the ends');
    const spans = sdk.spans().map(({ name, attributes, events, links, status }) => ({
      ...{ name, attributes, events, status },
      links: links.map(link => link.attributes),
    }));
    const recorded = JSON.stringify([spans, await sdk.metrics(), await sdk.metrics(REPORTER)]);
    expect(recorded).to.include('"url.path":"/sse/:clientId"').and.not.include('secret');
    const paths = sdk.spans().flatMap(({ attributes }) => attributes['url.path'] ?? []);
    expect(paths).to.have.members(['/sse/:clientId', '/sse/:clientId', '*', '*']);
  });

  describe('without an HTTP instrumentation', () => {
    beforeEach(() => start());

    it('a request continues the trace of its headers', async () => {
      const client = await open('/sse/a', { traceparent: TRACEPARENT });
      await client.event('hello');
      const connect = sdk.span('sse.connect');
      expect(connect.kind).to.equal(SpanKind.SERVER);
      expect(parentOf(connect)).to.equal('b7ad6b7169203331');
      sdk.forget();
      const headers = { traceparent: TRACEPARENT };
      await fetch(`${app.url}/send/a`, { method: 'POST', headers });
      expect(parentOf(sdk.span('sse.send'))).to.equal('b7ad6b7169203331');
      client.leave();
    });

    for (const [what, path, headers, errorType] of [
      ['its Accept header', '/sse/a', { accept: 'application/json' }, 'NOT_ACCEPTABLE'],
      ['a guard', '/guarded', {}, 'FORBIDDEN'],
    ] as const) {
      it(`a request that is refused for ${what} is a failed opening`, async () => {
        await (await open(path, headers)).ended();
        expect(sdk.span('sse.connect').attributes['error.type']).to.equal(errorType);
        const refused = { 'error.type': errorType };
        expect(await sdk.value('sse.connections.refused', refused)).to.equal(1);
      });
    }

    it('a close by the client is recorded', async () => {
      const client = await open('/sse/a');
      await client.event('hello');
      client.leave();
      await until(() => sdk.spans('sse.close').length === 1, 'the end');
      expect(sdk.span('sse.close').attributes['sse.close.reason']).to.equal('client');
      expect(await sdk.value('sse.connections.closed', { 'sse.close.reason': 'client' })).to.equal(1);
    });
  });

  it('the hook leaves the responses of outgoing requests alone', async () => {
    await start();
    const span = trace.getTracer('test').startSpan('GET');
    sseResponseHook(span, {});
    expect(span.isRecording()).to.equal(true);
    span.end();
  });
});
