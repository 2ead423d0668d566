import { expect } from 'chai';
import { EventSource } from 'eventsource';
import type { Middleware } from 'koa';
import type { SseGuard, SseRequest } from '../../../src/contracts/authorization.js';
import { sentenceOf, SseError, type SseErrorCode } from '../../../src/errors.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { MAX_NAME_BYTES } from '../../../src/protocol/names.js';
import { EventStreamClient, type StreamInit } from '../../support/event-stream-client.js';
import { KoaApp, type KoaAppSettings } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

const STREAM = { Accept: 'text/event-stream' };

/** Refuses as the query wants it: `?code=DRAINING`, `?verdict=503`, `?status=404`. */
class Refusing implements SseGuard {
  canConnect({ query }: SseRequest): boolean | number {
    const { code, status, verdict } = query;
    if (code !== undefined) throw new SseError(code as SseErrorCode, 'redis://10.0.0.7 said no');
    if (status !== undefined) {
      throw Object.assign(new Error('secret: of the application'), { status: Number(status), expose: false });
    }
    return verdict === undefined || Number(verdict);
  }
}

class StreamController {
  @SseEndpoint('/sse/:clientId', { guards: [Refusing] })
  stream(): void {
    // Only held open.
  }
}

class TwoController {
  @SseEndpoint('/nameless', { connectionId: () => 5 as unknown as string })
  nameless(): void {
    // Never called.
  }

  @SseEndpoint('/two')
  *two(): Iterable<string> {
    yield 'one';
    yield 'two';
  }
}

/** Answers errors as many applications do. */
const errorHandler: Middleware = async (ctx, next) => {
  try {
    await next();
  } catch (error) {
    const { status = 500, expose, message } = error as { status?: number; expose?: boolean; message: string };
    ctx.status = status;
    ctx.body = { failed: expose === true ? message : 'internal' };
  }
};

describe('a refusal that may pass', () => {
  let app: KoaApp;

  const start = async (settings: KoaAppSettings = {}): Promise<void> => {
    app = await KoaApp.start({
      controllers: [StreamController, TwoController],
      bind: container => container.bind(Refusing).toSelf(),
      after: [
        errorHandler,
        async ctx => {
          if (ctx.query['code'] !== undefined) throw new SseError(ctx.query['code'] as SseErrorCode, 'refused');
          await ctx.sse.connect(ctx.path.slice(1));
        },
      ],
      ...settings,
    });
  };
  const open = (path: string, init: StreamInit = { headers: STREAM }): Promise<EventStreamClient> =>
    EventStreamClient.open(app.url + path, init);
  const retryOf = ({ text }: EventStreamClient): number => Number(/^retry: (\d+)$/m.exec(text)?.[1]);

  describe('of a client that names text/event-stream', () => {
    before(() => start({ options: { reconnect: { retry: 2000, jitter: 1000 } } }));
    after(() => app.close());

    for (const [query, reason, least] of [
      ['code=DRAINING', 'draining', 2000],
      ['code=CLOSED', 'draining', 2000],
      ['code=CONNECTION_LIMIT', 'full', 2000],
      ['code=UNAVAILABLE', 'unavailable', 2000],
      ['code=INCONSISTENT', 'inconsistent', 2000],
      ['code=SEND_BUFFER_FULL', 'rate-limited', 2000],
      ['code=RATE_LIMITED', 'rate-limited', 30_000],
      ['code=INTERNAL', 'error', 10_000],
      ['verdict=429', 'rate-limited', 2000],
      ['verdict=503', 'error', 10_000],
      ['status=502', 'error', 10_000],
      ['status=99', 'error', 10_000],
    ] as const) {
      it(`is a stream that says ${reason} and when to come back: ${query}`, async () => {
        const client = await open(`/sse/a?${query}`);
        expect(client.status).to.equal(200);
        expect(client.headers).to.include({
          'content-type': 'text/event-stream',
          'cache-control': 'no-store',
          connection: 'close',
        });
        expect(await client.ended()).to.equal('clean');
        expect(client.events.map(({ event, data, id }) => ({ event, data, id }))).to.deep.equal([
          { event: 'sse.closed', data: JSON.stringify({ reason }), id: undefined },
        ]);
        expect(retryOf(client)).to.be.within(least, least + 1000);
      });
    }

    it('is spread', async () => {
      const clients = await Promise.all(Array.from({ length: 5 }, () => open('/sse/a?code=DRAINING')));
      await Promise.all(clients.map(client => client.ended()));
      expect(new Set(clients.map(retryOf)).size).to.be.greaterThan(1);
    });

    for (const accept of ['text/event-stream;charset=utf-8', 'text/html, text/event-stream;q=0.1']) {
      it(`is one for Accept: ${accept}`, async () => {
        const client = await open('/sse/a?code=DRAINING', { headers: { Accept: accept } });
        expect(await client.closeReason()).to.equal('draining');
      });
    }

    for (const [what, sent, repeated] of [
      ['a cursor', 'abc.1-2', 'abc.1-2'],
      ['an id of the application, in UTF-8', 'zähler-😀', 'zähler-😀'],
      ['256 bytes', 'x'.repeat(MAX_NAME_BYTES), 'x'.repeat(MAX_NAME_BYTES)],
      ['257 bytes', 'x'.repeat(MAX_NAME_BYTES + 1), undefined],
      ['bytes that are no UTF-8', '\xff\xfe', undefined],
    ] as const) {
      it(`repeats the last id ${repeated === undefined ? 'not ' : ''}when it is ${what}`, async () => {
        const isBytes = sent.startsWith('\xff');
        const header = isBytes ? sent : Buffer.from(sent).toString('latin1');
        const client = await open('/sse/a?code=DRAINING', { headers: { ...STREAM, 'Last-Event-ID': header } });
        expect((await client.event('sse.closed')).id).to.equal(repeated);
        if (isBytes) return;
        const queried = await open(`/sse/a?code=DRAINING&lastEventId=${encodeURIComponent(sent)}`);
        expect((await queried.event('sse.closed')).id).to.equal(repeated);
      });
    }

    it('reports a failure of the application to Koa, and none of the library’s own refusals', async () => {
      app.errors.length = 0;
      for (const query of ['status=502', 'code=DRAINING', 'status=429']) await (await open(`/sse/a?${query}`)).ended();
      expect(app.errors.map(error => (error as Error).message)).to.deep.equal(['secret: of the application']);
    });

    for (const [query, status] of [
      ['code=FORBIDDEN', 403],
      ['code=DUPLICATE_CONNECTION', 409],
      ['verdict=401', 401],
      ['status=404', 404],
      ['code=SOURCE_ENDED', 204],
    ] as const) {
      it(`is no stream when it does not pass: ${query}`, async () => {
        const client = await open(`/sse/a?${query}`);
        expect(client.status).to.equal(status);
        expect(client.headers['cache-control']).to.equal('no-store');
        expect(client.headers).to.not.have.property('retry-after');
      });
    }
  });

  it('survives an error handler between the middleware and a route that keeps its status', async () => {
    await start({ options: { connection: { maxConnections: 1 } } });
    try {
      const first = await open('/first');
      await first.event('connected');
      expect(await (await open('/second')).closeReason()).to.equal('full');
      first.leave();
    } finally {
      await app.close();
    }
  });

  describe('of another client', () => {
    before(() => start());
    after(() => app.close());

    for (const accept of [undefined, '*/*', 'text/*']) {
      it(`is a status with Retry-After: ${accept ?? 'no Accept'}`, async () => {
        const client = await open('/sse/a?code=UNAVAILABLE', {
          headers: accept === undefined ? {} : { Accept: accept },
        });
        expect(client.status).to.equal(503);
        expect(client.headers).to.include({ 'cache-control': 'no-store', connection: 'close' });
        expect(client.headers['retry-after']).to.match(/^[2-7]$/);
        const { error } = (await client.json()) as { error: Record<string, string> };
        expect(error).to.include({ code: 'UNAVAILABLE', message: sentenceOf('UNAVAILABLE') });
        expect(error).to.have.all.keys('code', 'message', 'reference');
      });
    }

    it('has no internal messages, limits and class names', async () => {
      const statuses = {
        '/sse/a?code=INTERNAL': 500,
        '/sse/a?verdict=500': 500,
        '/sse/a?status=500': 500,
        '/sse/a?verdict=403': 403,
        '/sse/a?code=RATE_LIMITED': 429,
        '/sse/a?code=INVALID_TOPIC': 422,
        '/nameless': 400,
        [`/sse/${'x'.repeat(257)}`]: 400,
      };
      for (const [path, status] of Object.entries(statuses)) {
        const client = await open(path, {});
        expect(client.status, path).to.equal(status);
        await client.ended();
        expect(client.text).to.not.match(/10\.0\.0\.7|secret|Refusing|Controller|256|limits\./);
      }
    });

    it('carries a reference that the log has, when the server failed', async () => {
      const client = await open('/sse/a?code=INTERNAL', {});
      const { error } = (await client.json()) as { error: Record<string, string> };
      expect(error).to.include({ code: 'INTERNAL', message: sentenceOf('INTERNAL') });
      const line = app.logger.at('error').find(({ fields }) => fields?.['reference'] === error['reference']);
      expect((line?.fields?.['error'] as Error).message).to.contain('10.0.0.7');
    });

    it('keeps its status in an error handler between the middleware and the route', async () => {
      const draining = await open('/a?code=DRAINING', {});
      expect(draining.status).to.equal(503);
      expect(await draining.json()).to.deep.equal({ failed: 'internal' });
      const invalid = await open('/', {});
      expect(invalid.status).to.equal(400);
      expect(await invalid.json())
        .to.have.property('failed')
        .that.contains('a connection id');
    });
  });

  describe('of an EventSource', () => {
    let source: EventSource;

    const connect = (path: string): EventSource => (source = new EventSource(app.url + path));
    afterEach(async () => {
      source.close();
      await app.close();
    });

    it('is survived: it comes back until the node has room', async () => {
      await start({ options: { connection: { maxConnections: 1 }, reconnect: { retry: 10, jitter: 10 } } });
      const first = await open('/sse/first');
      await first.event('connected');
      const reasons: string[] = [];
      let connected = false;
      connect('/sse/second');
      source.addEventListener('sse.closed', ({ data }) => reasons.push(data as string));
      source.addEventListener('connected', () => (connected = true));
      await until(() => reasons.length > 2, 'some refusals');
      expect(new Set(reasons)).to.deep.equal(new Set(['{"reason":"full"}']));
      first.leave();
      await until(() => connected, 'the connection');
    });

    it('is the end after a source that has ended: its events come once', async () => {
      await start({ options: { reconnect: { retry: 10, jitter: 0 } } });
      const events: string[] = [];
      connect('/two');
      source.addEventListener('message', ({ data }) => events.push(data as string));
      await until(() => source.readyState === EventSource.CLOSED, 'the end');
      expect(events).to.deep.equal(['one', 'two']);
    });
  });

  it('is a status for everyone with reconnect.refusal: status', async () => {
    await start({ options: { reconnect: { refusal: 'status' } } });
    try {
      for (const [query, status] of [
        ['code=DRAINING', 503],
        ['code=RATE_LIMITED', 429],
      ] as const) {
        const client = await open(`/sse/a?${query}`);
        expect(client.status).to.equal(status);
        expect(Number(client.headers['retry-after'])).to.be.greaterThan(0);
      }
    } finally {
      await app.close();
    }
  });

  it('has the message of its error with disclosure: message', async () => {
    await start({ options: { disclosure: 'message' } });
    try {
      const client = await open('/sse/a?code=INTERNAL', {});
      const { error } = (await client.json()) as { error: Record<string, string> };
      expect(error['message']).to.equal('redis://10.0.0.7 said no');
    } finally {
      await app.close();
    }
  });

  it('closes the HTTP/2 session for new streams, and leaves the open ones', async () => {
    await start({ protocol: 'h2c' });
    try {
      const client = await EventStreamClient.open2(`${app.url}/sse/a?code=DRAINING`, { headers: STREAM });
      expect(await client.closeReason()).to.equal('draining');
      expect(client.headers).to.not.have.property('connection');
    } finally {
      await app.close();
    }
  });
});
