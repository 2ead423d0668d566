import { Writable } from 'node:stream';
import cors from '@koa/cors';
import Router from '@koa/router';
import { expect } from 'chai';
import Koa, { type Middleware } from 'koa';
import compress from 'koa-compress';
import helmet from 'koa-helmet';
import logger from 'koa-logger';
import mount from 'koa-mount';
import session from 'koa-session';
import { pinoHttp } from 'pino-http';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { StreamReader } from '../../support/stream-reader.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/compressed/:clientId', { compression: true })
  compressed(): void {
    // Only held open.
  }

  @SseEndpoint('/endpoint/:clientId')
  stream(): void {
    // Only held open.
  }
}

/** A route of another application, at `/mounted`. */
const mounted = new Koa();
mounted.use(ctx => ctx.sse.connect(ctx.get('id')));

const router = new Router();
const routed = new Koa();
routed.use(router.routes()).use(router.allowedMethods());
router.get('/route/:id', async ctx => {
  await ctx.sse.connect(ctx.params['id']);
});

/** The lines of an access log, as they are written. */
class AccessLog {
  readonly pretty: string[] = [];
  readonly json: Line[] = [];
  readonly stream = new Writable({
    write: (text: Buffer, _encoding, done) => {
      // pino writes one JSON document a line.
      this.json.push(JSON.parse(text.toString()) as Line);
      done();
    },
  });

  of(url: string): { pretty: string[]; json: Line[] } {
    return {
      // Without the colours.
      pretty: this.pretty.filter(line => line.includes(url)).map(line => line.replaceAll(/\u001b\[\d+m/g, '').trim()),
      json: this.json.filter(({ req }) => req.url === url),
    };
  }
}

interface Line {
  readonly msg: string;
  readonly responseTime: number;
  readonly req: { readonly url: string };
  readonly res: { readonly statusCode: number; readonly headers: Readonly<Record<string, unknown>> };
}

/** Every stream is open for at least so long, in milliseconds. */
const OPEN_MS = 30;

for (const detach of ['auto', false] as const) {
  describe(`a stream behind other middleware, detach: ${String(detach)}`, () => {
    const log = new AccessLog();
    let app: KoaApp;

    before(async () => {
      const pino = pinoHttp({}, log.stream);
      const setSession: Middleware = async (ctx, next) => {
        const own: unknown = ctx['session'];
        if (typeof own === 'object' && own !== null) Object.assign(own, { visits: 1 });
        await next();
      };
      const koa = new Koa();
      koa.keys = ['secret'];
      const before = [
        logger(text => log.pretty.push(text)),
        (async (ctx, next) => {
          pino(ctx.req, ctx.res);
          await next();
        }) satisfies Middleware,
        helmet(),
        cors({ origin: 'https://example.org' }),
        compress({ threshold: 0 }),
        session({ signed: false }, koa),
        setSession,
      ];
      app = await KoaApp.start({
        options: { connection: { detach } },
        context: koa.context,
        controllers: [StreamController],
        before,
        after: [mount('/mounted', mounted), ...routed.middleware],
      });
    });
    after(() => app.close());

    const paths = {
      'an endpoint': '/endpoint/a',
      'a route of @koa/router': '/route/a',
      'a mounted route': '/mounted/',
    };
    for (const [name, url] of Object.entries(paths)) {
      it(`is right in headers, events and access logs: ${name}`, async () => {
        const client = await EventStreamClient.open(app.url + url, {
          headers: { id: 'a', 'Accept-Encoding': 'gzip', Origin: 'https://example.org' },
        });
        const opened = performance.now();
        await client.event('connected');
        expect(client.status).to.equal(200);
        expect(client.headers).to.include({
          'content-type': 'text/event-stream',
          'cache-control': 'no-store, no-transform',
          'access-control-allow-origin': 'https://example.org',
          'x-frame-options': 'SAMEORIGIN',
        });
        expect(client.headers).to.not.have.property('content-encoding');
        expect(client.headers['vary']).to.match(/Origin/);
        expect(client.headers['set-cookie']?.[0]).to.match(/^koa\.sess=/);
        app.service.sendMessage('a', 'note', 'hello');
        expect((await client.event('note')).data).to.equal('hello');
        await until(() => performance.now() - opened > OPEN_MS, 'some time');
        expect(log.of(url).json).to.deep.equal([]);
        expect(log.of(url).pretty).to.have.length(1);
        await app.service.closeConnection('a');
        expect(await client.ended()).to.equal('clean');

        await until(() => log.of(url).json.length > 0 && log.of(url).pretty.length > 1, 'the access logs');
        const { json, pretty } = log.of(url);
        expect(json).to.have.length(1);
        expect(json[0]).to.deep.include({ msg: 'request completed' });
        expect(json[0]?.res.statusCode).to.equal(200);
        expect(json[0]?.res.headers).to.include({ 'content-type': 'text/event-stream' });
        expect(json[0]?.responseTime).to.be.at.least(OPEN_MS);
        expect(pretty[0]).to.equal(`<-- GET ${url}`);
        const [, milliseconds] = new RegExp(`^--> GET ${url} 200 (\\d+)ms -$`).exec(pretty[1] ?? '') ?? [];
        expect(Number(milliseconds)).to.be.at.least(OPEN_MS);
        expect(pretty).to.have.length(2);
        expect(app.errors).to.deep.equal([]);
      });
    }

    const encodings = { 'gzip, deflate, br': 'gzip', br: 'br', 'gzip;q=0.5, br;q=0.9': 'br', '*': 'gzip' };
    for (const [accepted, encoding] of Object.entries(encodings)) {
      it(`is compressed when its endpoint says so and its client accepts ${accepted}`, async () => {
        const reader = await StreamReader.open(`${app.url}/compressed/c`, { headers: { 'accept-encoding': accepted } });
        expect(reader.response.headers.get('content-encoding')).to.equal(encoding);
        expect(reader.response.headers.get('vary')).to.match(/Accept-Encoding/);
        await reader.event('connected');
        for (let n = 0; n < 3; n += 1) {
          expect(app.service.sendMessage('c', `note-${n}`, 'x'.repeat(10_000)).outcome).to.equal('delivered');
          expect((await reader.event(`note-${n}`)).data).to.have.length(10_000);
        }
        const [socket] = app.sockets;
        expect(socket?.bytesWritten).to.be.lessThan(4_000);
        await app.service.closeConnection('c');
        expect((await reader.event('sse.closed')).data).to.contain('closed');
        await reader.end();
      });
    }

    for (const accepted of ['identity', 'gzip;q=0, identity', 'deflate', 'identity, gzip;q=0.5']) {
      it(`is not compressed when its client accepts ${accepted}`, async () => {
        const client = await EventStreamClient.open(`${app.url}/compressed/d`, {
          headers: { 'Accept-Encoding': accepted },
        });
        await client.event('connected');
        expect(client.headers).to.not.have.property('content-encoding');
        client.leave();
        await until(() => app.store.size === 0, 'the end');
      });
    }

    it('is an aborted request in the logs when its client leaves', async () => {
      const url = '/endpoint/b';
      const client = await EventStreamClient.open(app.url + url);
      await client.event('connected');
      client.leave();
      await until(() => log.of(url).json.length > 0 && log.of(url).pretty.length > 1, 'the access logs');
      expect(log.of(url).json.map(({ msg }) => msg)).to.deep.equal(['request aborted']);
      expect(app.errors).to.deep.equal([]);
    });
  });
}
