import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { once } from 'node:events';
import type { Server, ServerResponse } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
import { createHttpTerminator } from 'http-terminator';
import type { Context } from 'koa';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { collectGarbage } from '../../support/collect-garbage.js';
import { KoaApp } from '../../support/koa-app.js';
import { RawClient } from '../../support/raw-client.js';
import { until } from '../../support/until.js';

type Detach = NonNullable<SseOptions['connection']>['detach'];

const MODES: readonly Detach[] = ['auto', false];

for (const detach of MODES) {
  describe(`an open stream, detach: ${String(detach)}`, () => {
    let app: KoaApp;
    let client: RawClient;
    let context: WeakRef<Context>;
    let opened: (ctx: Context) => void;
    let after: ((ctx: Context) => Promise<void>) | undefined;

    beforeEach(async () => {
      opened = () => undefined;
      after = undefined;
      app = await KoaApp.start({
        options: { connection: { detach, heartbeat: false } },
        after: [
          async ctx => {
            context = new WeakRef(ctx);
            opened(ctx);
            if (ctx.path !== '/') return;
            await ctx.sse.connect('me');
            await after?.(ctx);
          },
        ],
      });
    });
    afterEach(async () => {
      client.destroy();
      await app.close();
    });

    const connect = async (headers: readonly string[] = []): Promise<void> => {
      client = await RawClient.request(app.port, '/', headers);
      await client.receives('"connectionId":"me"');
      await turn();
      await turn();
    };
    /** What a stream must still do after each call. */
    const works = async (text: string): Promise<void> => {
      expect(app.service.sendMessage('me', 'note', text).outcome).to.equal('delivered');
      await client.receives(`data: ${text}`);
    };

    it('works', async () => {
      await connect();
      await works('first');
      await works('second');
    });

    if (detach === 'auto') {
      it('drops what its client sends, a second request too, and buffers nothing of it', async () => {
        await connect();
        client.send('x'.repeat(1_000));
        client.request('/other');
        const [socket] = app.sockets;
        await until(() => (socket?.bytesRead ?? 0) > 1_000, 'the bytes');
        await works('after nonsense');
        expect(socket?.readableLength).to.equal(0);
        expect(client.received.match(/HTTP\/1.1/g)).to.have.length(1);
      });
    }

    it('takes a body of its request as well', async () => {
      client = await RawClient.request(app.port, '/', ['Content-Length: 5'], 'POST');
      await client.receives('"connectionId":"me"');
      await works('before the body');
      client.send('12345');
      await works('after the body');
    });

    it('ends when its client ends its side', async () => {
      await connect();
      client.end();
      await client.isClosed();
      await until(() => app.store.size === 0, 'the connection to go');
      expect(app.errors).to.deep.equal([]);
    });

    it('ends with its server', async () => {
      await connect();
      (app.server as Server).closeAllConnections();
      await client.isClosed();
      await until(() => app.store.size === 0, 'the connection to go');
    });

    describe('whose response the application refers to', () => {
      let response: ServerResponse;
      const seen: string[] = [];
      const watch = (): void => {
        for (const name of ['finish', 'close', 'error']) response.on(name, () => seen.push(name));
      };

      for (const watched of ['before it opened', 'afterwards', 'not at all']) {
        it(`ends as any other response, watched ${watched}`, async () => {
          seen.length = 0;
          opened = ({ res }) => {
            response = res;
            if (watched === 'before it opened') watch();
          };
          await connect();
          if (watched === 'afterwards') watch();
          expect(response).to.include({ headersSent: true, writableEnded: false, destroyed: false });
          expect(seen).to.deep.equal([]);
          await app.service.closeConnection('me');
          await client.isClosed();
          await until(() => app.sockets.size === 0, 'the socket to close');
          await turn();
          expect(response).to.include({
            writableEnded: true,
            writableFinished: true,
            destroyed: true,
            statusCode: 200,
          });
          expect(seen).to.deep.equal(watched === 'not at all' ? [] : ['finish', 'close']);
          expect(client.received).to.match(/"closed"\}\n\n\r\n0\r\n\r\n$/);
        });

        it(`closes unfinished when its client leaves, watched ${watched}`, async () => {
          seen.length = 0;
          opened = ({ res }) => {
            response = res;
            if (watched === 'before it opened') watch();
          };
          await connect();
          if (watched === 'afterwards') watch();
          client.reset();
          await until(() => app.sockets.size === 0, 'the socket to close');
          await turn();
          expect(response).to.include({ writableEnded: false, writableFinished: false, destroyed: true });
          expect(seen).to.deep.equal(watched === 'not at all' ? [] : ['close']);
        });
      }

      it('carries what the application writes, and ends when the application ends it', async () => {
        opened = ({ res }) => (response = res);
        await connect();
        response.write(': own\n');
        response.end();
        await client.isClosed();
        expect(client.received).to.match(/\r\n6\r\n: own\n\r\n0\r\n\r\n$/);
        await until(() => app.store.size === 0, 'the connection to go');
      });
    });

    it('reports its end to diagnostics_channel', async () => {
      const finished: unknown[] = [];
      const note = (message: unknown): void => void finished.push(message);
      subscribe('http.server.response.finish', note);
      try {
        await connect();
        expect(finished).to.deep.equal([]);
        await app.service.closeConnection('me');
        await client.isClosed();
        expect(finished).to.have.length(1);
      } finally {
        unsubscribe('http.server.response.finish', note);
      }
    });

    it('is a response under way for http-terminator', async () => {
      const terminator = createHttpTerminator({ server: app.server as Server, gracefulTerminationTimeout: 5_000 });
      await connect();
      const terminated = terminator.terminate();
      await turn();
      await works('still here');
      await app.service.closeConnection('me');
      await terminated;
      expect(client.received).to.contain('sse.closed');
      // For the hook that closes it again.
      (app.server as Server).listen(0);
      await once(app.server, 'listening');
    });

    it('leaves a request alone that came in the same packet', async () => {
      let later: Context | undefined;
      opened = ctx => {
        if (ctx.path === '/later') later = ctx;
      };
      const [first, second] = ['GET / HTTP/1.1', 'POST /later HTTP/1.1\r\nContent-Length: 4'];
      client = await RawClient.connect(app.port);
      client.send(`${first}\r\nHost: localhost\r\n\r\n${second}\r\nHost: localhost\r\n\r\nbody`);
      await client.receives('"connectionId":"me"');
      await works('beside it');
      let body = '';
      for await (const piece of later?.req ?? []) body += String(piece);
      expect(body).to.equal('body');
    });

    it('lets its handler read the body after an await', async () => {
      let body = '';
      opened = () => undefined;
      after = async ctx => {
        await turn();
        await turn();
        for await (const piece of ctx.req) body += String(piece);
      };
      client = await RawClient.request(app.port, '/', ['Content-Length: 5'], 'POST');
      client.send('12345');
      await client.receives('"connectionId":"me"');
      await until(() => body === '12345', 'the body');
      await works('afterwards');
    });

    it(
      detach === 'auto'
        ? 'keeps nothing of its request, its response and their context'
        : 'keeps its request, its response and their context',
      async () => {
        await connect();
        await works('one');
        await collectGarbage();
        expect(context.deref() === undefined).to.equal(detach === 'auto');
        await works('two');
      },
    );
  });
}
