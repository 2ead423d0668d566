import { once } from 'node:events';
import { request } from 'node:http';
import { expect } from 'chai';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import { confirm, type FetchInit } from '../../../src/client/index.js';
import type { Receipt } from '../../../src/contracts/events.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { connectionIdOf } from '../../../src/protocol/names.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { TestClient } from '../../../src/testing/index.js';
import { KoaApp } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

const TYPE = 'application/vnd.distributed-sse.confirm';

class Guard {
  canConnect({ headers }: { readonly headers: NodeJS.Dict<unknown> }): { user: string } | number {
    const [, user] = /^Bearer (\w+)$/.exec(String(headers['authorization'])) ?? [];
    return user === undefined ? 401 : { user };
  }
}

class Streams {
  @SseEndpoint('/get/:clientId', { guards: [Guard], methods: ['GET'] })
  get(): void {
    // Only the stream is of interest.
  }

  @SseEndpoint('/random')
  random(): void {
    // Its connection id is in no request.
  }
}

describe('Reports of clients that confirm', () => {
  let apps: KoaApp[];
  const clients: TestClient[] = [];
  /** Requests of the clients: the node and the status. */
  const reports: string[] = [];

  before(async () => {
    const bus = new MemoryBus();
    apps = await Promise.all(
      ['a', 'b'].map(id => {
        const options = { node: { id }, confirmation: { enabled: true }, send: { deadline: 5_000 } };
        const { connection } = resolveOptions(options, {});
        return KoaApp.start({
          options,
          controllers: [Streams],
          overrides: { clusterCoordinator: new LocalCoordinator(id, connection, bus) },
          bind: container => container.bind(Guard).toSelf(),
          before: [
            async (ctx, next) => {
              // As a body parser of the application.
              if (ctx.path === '/own/parsed' && ctx.method === 'POST') {
                const chunks: Buffer[] = [];
                for await (const chunk of ctx.req) chunks.push(chunk as Buffer);
                const body: unknown = JSON.parse(Buffer.concat(chunks).toString());
                Object.assign(ctx.request, { body });
              }
              await next();
            },
          ],
          after: [
            async ctx => {
              if (ctx.path.startsWith('/own/'))
                await (ctx.method === 'POST' ? ctx.sse.confirm() : ctx.sse.connect('own'));
            },
          ],
        });
      }),
    );
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.close();
    reports.length = 0;
  });
  after(() => Promise.all(apps.map(app => app.close())));

  const appOf = (node: 'a' | 'b'): KoaApp => {
    const app = apps[node === 'a' ? 0 : 1];
    if (app === undefined) throw new Error('no such application');
    return app;
  };
  /** A client whose stream is at node a, and whose reports go to another node, as behind a balancer. */
  const connect = async (path: string, to: 'a' | 'b' = 'b', headers = {}): Promise<string> => {
    const fetcher = async (url: string, init: FetchInit): Promise<Response> => {
      const target = new URL(url);
      if (init.method === 'POST') target.port = String(appOf(to).port);
      const response = await fetch(target, init);
      if (init.method === 'POST') reports.push(`${to} ${response.status}`);
      return response;
    };
    const client = TestClient.connect(appOf('a').url + path, { confirm, headers, fetch: fetcher, delay: 10 });
    clients.push(client);
    await client.opened();
    return (await client.next('connected')).data.connectionId;
  };
  const send = (id: string): Promise<Receipt> =>
    appOf('b').service.sendMessageToConnection(id, 'note', 'ö', { ack: 'client' });

  it('reach the node of the stream from any node, through the guards, also where the endpoint has only GET', async () => {
    expect(await connect('/get/me', 'b', { authorization: 'Bearer anna' })).to.equal('me');
    const connectionId = connectionIdOf('anna', 'me');
    expect(await send(connectionId)).to.include({ outcome: 'confirmed', nodeId: 'a', connectionId });
    // The sender is answered before the report is.
    await until(() => reports.length > 0, 'the answer to the report');
    expect(reports).to.deep.equal(['b 204']);
  });

  it('need no connection id in the path', async () => {
    expect(await send(await connect('/random', 'a'))).to.include({ outcome: 'confirmed' });
  });

  it('are answered by a route of the application, and behind its body parser', async () => {
    for (const path of ['/own/raw', '/own/parsed']) {
      expect(await send(await connect(path)), path).to.include({ outcome: 'confirmed' });
      clients.pop()?.close();
    }
  });

  it('are refused by the guards, without a token, after the end, and in another form', async () => {
    const post = async (path: string, body: string, headers: Record<string, string> = {}): Promise<number> => {
      const response = await fetch(appOf('b').url + path, {
        method: 'POST',
        body,
        headers: { accept: TYPE, ...headers },
      });
      await response.arrayBuffer();
      return response.status;
    };
    const report = (connectionId: string, token = 'x'.repeat(22)): string =>
      JSON.stringify({ connectionId, token, handled: [], failed: [] });
    const id = await connect('/random');
    expect(await post('/get/me', report('me'))).to.equal(401);
    // Another user has no connection of this id.
    expect(await post('/get/me', report('me'), { authorization: 'Bearer berta' })).to.equal(410);
    expect(await post('/random', report('anna/me'))).to.equal(400);
    const foreign = { 'sec-fetch-site': 'cross-site', origin: 'https://other.test' };
    expect(await post('/random', report('me'), foreign)).to.equal(403);
    expect(await post('/random', report(id))).to.equal(403);
    expect(await post('/random', report('other'))).to.equal(410);
    expect(await post('/random', 'no JSON')).to.equal(400);
    expect(await post('/random', '[]')).to.equal(400);
    expect(await post('/random', ' '.repeat(40_000))).to.equal(413);
    expect(await post('/random', report(id), { accept: 'text/html' })).to.equal(405);
    expect(await post('/elsewhere', report(id))).to.equal(404);
  });

  it('that are sent too often get 429 and a time', async () => {
    const id = await connect('/random');
    const { confirm: token } = (clients[0]?.events[0]?.data ?? {}) as { confirm?: string };
    const body = JSON.stringify({ connectionId: id, token, handled: [], failed: [] });
    const answers = await Promise.all(
      Array.from({ length: 40 }, () =>
        fetch(`${appOf('b').url}/random`, { method: 'POST', body, headers: { accept: TYPE } }),
      ),
    );
    const refused = answers.find(({ status }) => status === 429);
    expect(refused?.headers.get('retry-after')).to.equal('1');
    await Promise.all(answers.map(answer => answer.arrayBuffer()));
    // A client that confirms goes on after that.
    expect(await send(id)).to.include({ outcome: 'confirmed' });
  });

  it('whose client leaves in the middle of the body hold nothing', async () => {
    const { port } = appOf('b');
    const post = request({ port, path: '/random', method: 'POST', headers: { accept: TYPE, 'content-length': 100 } });
    post.on('error', () => undefined);
    post.write('{');
    const [socket] = (await once(appOf('b').server, 'connection')) as [NodeJS.EventEmitter];
    const closed = once(socket, 'close');
    post.destroy();
    await closed;
    expect(appOf('b').errors).to.deep.equal([]);
  });
});
