import type { Server } from 'node:http';
import { setImmediate as turn } from 'node:timers/promises';
import { expect } from 'chai';
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

    beforeEach(async () => {
      opened = () => undefined;
      app = await KoaApp.start({
        options: { connection: { detach, heartbeat: false } },
        after: [
          async ctx => {
            context = new WeakRef(ctx);
            opened(ctx);
            await ctx.sse.connect('me');
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

    it('ends when the application ends its response', async () => {
      let end = (): void => undefined;
      opened = ({ res }) => {
        end = () => res.end();
      };
      await connect();
      end();
      await client.isClosed();
      expect(client.ended).to.equal(true);
    });

    for (const early of [true, false]) {
      it(`emits close to listeners added to its response ${early ? 'before' : 'after'} it opened`, async () => {
        let closes = 0;
        let listen = (): void => undefined;
        opened = ({ res }) => {
          listen = () => res.on('close', () => (closes += 1));
          if (early) listen();
        };
        await connect();
        if (!early) listen();
        expect(closes).to.equal(0);
        client.reset();
        await until(() => closes > 0, 'the close event');
        expect(closes).to.equal(1);
      });
    }

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
