import Router from '@koa/router';
import { expect } from 'chai';
import Koa, { type Context, type Next } from 'koa';
import compress from 'koa-compress';
import type { SseRequest } from '../../../src/contracts/authorization.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient, type StreamInit } from '../../support/event-stream-client.js';
import { KoaApp, type KoaAppSettings } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/sse/:clientId', {
    connectionId: ({ params, state }) => `${state['tenant'] === 'acme' ? 'acme' : 'any'}-${params['clientId'] ?? ''}`,
  })
  stream(): void {
    // Only held open.
  }
}

let app: KoaApp;

const start = async (settings: KoaAppSettings): Promise<void> => {
  app = await KoaApp.start({ controllers: [StreamController], ...settings });
};
const open = (path: string, init?: StreamInit): Promise<EventStreamClient> =>
  EventStreamClient.open(app.url + path, init);

describe('other middleware', () => {
  afterEach(() => app.close());

  it('cannot give a stream what a stream must not have', async () => {
    await start({
      before: [
        async (ctx, next) => {
          ctx.set({
            'Cache-Control': 'public, max-age=60',
            'Content-Length': '3',
            'Content-Encoding': 'br',
            'Content-Type': 'application/json',
            'X-Accel-Buffering': 'yes',
          });
          await next();
        },
      ],
    });
    const client = await open('/sse/a');
    await client.event('connected');
    expect(client.headers).to.include({
      'cache-control': 'no-store, no-transform',
      'content-type': 'text/event-stream',
      'x-accel-buffering': 'no',
    });
    expect(client.headers).to.not.have.any.keys('content-length', 'content-encoding');
    client.leave();
  });

  it('in front leaves facts for the endpoint', async () => {
    await start({
      before: [
        async (ctx, next) => {
          ctx.state['tenant'] = 'acme';
          await next();
        },
      ],
    });
    const client = await open('/sse/a');
    await client.event('connected');
    expect(app.service.hasLocal('acme-a')).to.equal(true);
    client.leave();
  });

  it('that compresses leaves streams alone, and events arrive at once', async () => {
    await start({
      before: [compress({ threshold: 0 })],
      after: [
        ctx => {
          ctx.body = 'plain'.repeat(1000);
        },
      ],
    });
    const headers = { 'Accept-Encoding': 'gzip, br' };
    const client = await open('/sse/a', { headers });
    await client.event('connected');
    expect(client.headers).to.not.have.any.keys('content-encoding');
    for (let number = 1; number <= 3; number += 1) {
      app.service.sendMessage('any-a', 'note', number);
      await until(() => client.data('note').length === number, `event ${number}`);
    }
    const plain = await open('/plain', { headers });
    expect(plain.headers['content-encoding']).to.be.oneOf(['gzip', 'br']);
    client.leave();
  });

  it('sees after the stream has opened that Koa is not to respond', async () => {
    const seen: unknown[] = [];
    await start({
      before: [
        async (ctx, next) => {
          await next();
          seen.push(ctx.respond, ctx.status, ctx.headerSent);
          ctx.body = 'late';
        },
      ],
    });
    const client = await open('/sse/a');
    await until(() => seen.length > 0, 'the middleware to go on');
    expect(seen).to.deep.equal([false, 200, true]);
    app.service.sendMessage('any-a', 'note', 'after');
    await client.event('note');
    expect(client.text).to.not.contain('late');
    client.leave();
  });

  it('that throws after the stream has opened is reported as Koa reports it', async () => {
    const late = new Error('too late');
    await start({
      before: [
        async (_ctx, next) => {
          await next();
          throw late;
        },
      ],
    });
    const client = await open('/sse/a');
    await client.event('connected');
    await until(() => app.errors.length > 0, 'the error');
    expect(app.errors).to.deep.equal([late]);
    app.service.sendMessage('any-a', 'note', 'unharmed');
    expect((await client.event('note')).data).to.equal('unharmed');
    client.leave();
  });

  it('sees the params of the router it belongs to', async () => {
    const router = new Router();
    router.get('/things/:thing', async ctx => {
      await ctx.sse.connect(ctx.params['thing']);
    });
    const routed = new Koa();
    routed.use(router.routes()).use(router.allowedMethods());
    await start({ after: routed.middleware });
    const client = await open('/things/t%3A1');
    await client.event('connected');
    expect(app.service.hasLocal('t:1')).to.equal(true);
    client.leave();
  });

  it('behind it is not reached by a request for an endpoint', async () => {
    let reached = 0;
    await start({
      after: [
        async (_ctx: Context, next: Next) => {
          reached += 1;
          await next();
        },
      ],
    });
    const client = await open('/sse/a');
    await client.event('connected');
    expect(reached).to.equal(0);
    client.leave();
  });

  it('may be the library’s own, of another container', async () => {
    class OtherController {
      @SseEndpoint('/other/:clientId')
      open(_connection: unknown, { path }: SseRequest): Iterable<string> {
        return [path];
      }
    }
    const other = await KoaApp.start({ controllers: [OtherController] });
    try {
      await start({
        before: other.app.middleware,
        after: [
          async ctx => {
            await ctx.sse.connect('inner');
          },
        ],
      });
      const first = await open('/other/x');
      expect((await first.event('message')).data).to.equal('/other/x');
      const second = await open('/plain');
      await second.event('connected');
      expect(app.service.hasLocal('inner')).to.equal(true);
      expect(other.service.hasLocal('inner')).to.equal(false);
      second.leave();
    } finally {
      await other.close();
    }
  });
});
