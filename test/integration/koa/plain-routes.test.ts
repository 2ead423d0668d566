import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { Context, Middleware } from 'koa';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import type { ClusterCoordinator, EventLog } from '../../../src/contracts/cluster.js';
import type { SseConnection } from '../../../src/contracts/connection.js';
import type { LocalConnection } from '../../../src/contracts/store.js';
import { sentenceOf, SseError } from '../../../src/errors.js';
import { MemoryConnectionStore } from '../../../src/node/store.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { EventStreamClient, type StreamInit } from '../../support/event-stream-client.js';
import { KoaApp, type KoaAppSettings } from '../../support/koa-app.js';
import { RawClient } from '../../support/raw-client.js';
import { until } from '../../support/until.js';

let app: KoaApp;

const start = async (route: (ctx: Context) => unknown, settings: KoaAppSettings = {}): Promise<void> => {
  const after: Middleware = async ctx => {
    await route(ctx);
  };
  app = await KoaApp.start({ ...settings, after: [after] });
};
const open = (path = '/', init?: StreamInit): Promise<EventStreamClient> =>
  EventStreamClient.open(app.url + path, init);

describe('ctx.sse.connect', () => {
  afterEach(() => app.close());

  it('opens a stream of the given id and topics', async () => {
    await start(ctx => ctx.sse.connect('me', { topics: ['news'] }));
    const client = await open();
    await client.event('connected');
    await app.service.publish('news', 'note', 'hello');
    expect((await client.event('note')).data).to.equal('hello');
    expect(app.service.hasLocal('me')).to.equal(true);
    client.leave();
  });

  it('generates a random id', async () => {
    const connections: SseConnection[] = [];
    await start(async ctx => connections.push(await ctx.sse.connect()));
    const clients = [await open(), await open()];
    const [first, second] = connections.map(({ id }) => id);
    expect(first).to.match(/^[0-9a-f-]{36}$/);
    expect(second)
      .to.match(/^[0-9a-f-]{36}$/)
      .and.not.equal(first);
    for (const client of clients) client.leave();
  });

  it('keeps the stream when the route returns', async () => {
    let answered = false;
    await start(ctx => ctx.sse.connect('me'), {
      before: [
        async (_ctx, next) => {
          await next();
          answered = true;
        },
      ],
    });
    const client = await open();
    await until(() => answered, 'the middleware to return');
    await turn();
    app.service.sendMessage('me', 'note', 'later');
    expect((await client.event('note')).data).to.equal('later');
    client.leave();
  });

  it('ignores what the route says about the response afterwards', async () => {
    await start(async ctx => {
      const connection = await ctx.sse.connect('me');
      ctx.status = 404;
      ctx.body = { not: 'this' };
      connection.close();
    });
    const client = await open();
    expect(await client.closeReason()).to.equal('closed');
    expect(await client.ended()).to.equal('clean');
    expect(client.status).to.equal(200);
    expect(client.text).to.not.contain('not');
  });

  it('takes lastEventId from the options first', async () => {
    let seen: string | undefined;
    await start(async ctx => {
      const connection = await ctx.sse.connect('me', { lastEventId: 'mine' });
      seen = connection.lastEventId;
    });
    const client = await open('/?lastEventId=query', { headers: { 'Last-Event-ID': 'header' } });
    client.leave();
    expect(seen).to.equal('mine');
  });

  it('says 200 OK whatever status was set before', async () => {
    await start(ctx => {
      ctx.status = 202;
      return ctx.sse.connect('me');
    });
    const client = await RawClient.request(app.port, '/');
    await client.receives('\r\n\r\n');
    expect(client.received).to.match(/^HTTP\/1\.1 200 OK\r\n/);
    client.destroy();
  });

  it('lets the route catch a refusal and try another id', async () => {
    await start(async ctx => {
      try {
        await ctx.sse.connect('taken', { onDuplicate: 'reject' });
      } catch (error) {
        if (!SseError.is(error, 'DUPLICATE_CONNECTION')) throw error;
        await ctx.sse.connect('free');
      }
    });
    const first = await open();
    await first.event('connected');
    const second = await open();
    await second.event('connected');
    app.service.sendMessage('free', 'note', 'second');
    app.service.sendMessage('taken', 'note', 'first');
    expect((await second.event('note')).data).to.equal('second');
    expect((await first.event('note')).data).to.equal('first');
    second.leave();
    first.leave();
    await until(() => app.store.size === 0, 'the end of both');
  });

  it('leaves the answer to a route that catches a refusal', async () => {
    await start(async ctx => {
      await ctx.sse.connect('').catch(() => {
        ctx.body = 'no stream today';
      });
    });
    const client = await open();
    await client.ended();
    expect(client.status).to.equal(200);
    expect(client.text).to.equal('no stream today');
  });

  it('refuses a second stream on one request and keeps the first until then', async () => {
    const codes: string[] = [];
    await start(async ctx => {
      const connection = await ctx.sse.connect('first');
      await ctx.sse.connect('second').catch((error: unknown) => {
        codes.push((error as SseError).code);
      });
      connection.send('note', 'still open');
    });
    const client = await open();
    expect((await client.event('note')).data).to.equal('still open');
    expect(codes).to.deep.equal(['INVALID_REQUEST']);
    expect(app.service.hasLocal('second')).to.equal(false);
    client.leave();
  });

  it('refuses a second stream while the first one opens', async () => {
    const codes: string[] = [];
    await start(async ctx => {
      const first = ctx.sse.connect('first');
      await ctx.sse.connect('second').catch((error: unknown) => {
        codes.push((error as SseError).code);
      });
      await first;
    });
    const client = await open();
    await client.event('connected');
    expect(codes).to.deep.equal(['INVALID_REQUEST']);
    client.leave();
    await until(() => app.store.size === 0, 'the end');
  });

  it('refuses a request whose response has begun', async () => {
    const codes: string[] = [];
    await start(async ctx => {
      ctx.status = 200;
      ctx.flushHeaders();
      await ctx.sse.connect('me').catch((error: unknown) => {
        codes.push((error as SseError).code);
      });
      ctx.body = 'something else';
    });
    const client = await open();
    expect(await client.ended()).to.equal('clean');
    expect(client.text).to.equal('something else');
    expect(codes).to.deep.equal(['INVALID_REQUEST']);
    expect(app.store.size + app.store.opening).to.equal(0);
  });

  it('warns of a refusal that cannot be sent to the client', async () => {
    await start(async ctx => {
      ctx.flushHeaders();
      await ctx.sse.connect('me');
    });
    const client = await open();
    await client.ended();
    const [line] = app.logger.at('warn');
    expect(line?.fields?.['error']).to.include({ code: 'INVALID_REQUEST' });
  });

  it('gives HEAD the head of a stream, and no connection', async () => {
    await start(ctx => ctx.sse.connect('me'));
    const client = await open('/', { method: 'HEAD' });
    expect(client.status).to.equal(200);
    expect(client.headers['content-type']).to.equal('text/event-stream');
    await client.ended();
    expect(app.store.size + app.store.opening).to.equal(0);
  });

  for (const [what, wait] of [
    ['without a wait', () => undefined],
    ['without a wait, and does something else meanwhile', () => delay(1)],
  ] as const) {
    it(`may be called ${what}`, async () => {
      await start(ctx => {
        void ctx.sse.connect(ctx.path === '/' ? 'me' : '');
        return wait();
      });
      const client = await open();
      await client.event('connected');
      expect(client.status).to.equal(200);
      client.leave();
      const refused = await open('/refused');
      expect(refused.status).to.equal(400);
      expect(await refused.errorCode()).to.equal('INVALID_CONNECTION_ID');
      expect(app.errors).to.deep.equal([]);
    });
  }

  it('writes nothing into a response that the route has begun meanwhile', async () => {
    await start(async ctx => {
      const connecting = ctx.sse.connect('me');
      ctx.res.writeHead(200);
      ctx.res.write('something else');
      await connecting.catch(() => undefined);
      ctx.res.end();
    });
    const client = await open();
    expect(await client.ended()).to.equal('clean');
    expect(client.text).to.equal('something else');
    expect(app.store.size + app.store.opening).to.equal(0);
  });

  it('is refused once the route has returned, and the log says how to call it', async () => {
    await start(ctx => {
      setImmediate(() => void ctx.sse.connect('late'));
    });
    const client = await open();
    expect(client.status).to.equal(404);
    await until(() => app.logger.at('error').length > 0, 'the error');
    expect(app.logger.at('error')[0]?.fields?.['error']).to.include({ code: 'INVALID_REQUEST' });
    expect(app.store.size + app.store.opening).to.equal(0);
  });

  it('answers every SseError of the route', async () => {
    await start(() => app.service.publish('*', 'note', 1));
    const client = await open();
    expect(client.status).to.equal(422);
    expect(await client.errorCode()).to.equal('INVALID_TOPIC');
    expect(app.errors).to.deep.equal([]);
  });

  it('answers an SseError of another copy of this package', async () => {
    const foreign = Object.assign(new Error('of another copy'), {
      code: 'DRAINING',
      [Symbol.for('distributed-sse/SseError')]: true,
    });
    await start(() => {
      throw foreign;
    });
    const client = await open();
    expect(client.status).to.equal(503);
    const { error } = (await client.json()) as { error: Record<string, string> };
    expect(error).to.include({ code: 'DRAINING', message: sentenceOf('DRAINING') });
    expect(error).to.have.all.keys('code', 'message', 'reference');
  });

  it('answers 500 to a mistake of the server and reports it to Koa', async () => {
    const mistake = new SseError('INTERNAL', 'that was us');
    await start(() => {
      throw mistake;
    });
    const client = await open();
    expect(client.status).to.equal(500);
    expect(await client.errorCode()).to.equal('INTERNAL');
    expect(app.errors).to.deep.equal([mistake]);
  });

  it('leaves other errors to Koa', async () => {
    await start(() => {
      throw new Error('of the application');
    });
    const client = await open();
    expect(client.status).to.equal(500);
    await client.ended();
    expect(client.text).to.equal('Internal Server Error');
  });

  for (const error of [new Error('of the application'), new SseError('INVALID_EVENT_NAME', 'of the library')]) {
    it(`ends the stream when the route throws an error ${error.message} afterwards, and reports it to Koa`, async () => {
      await start(async ctx => {
        await ctx.sse.connect('me');
        throw error;
      });
      const client = await open();
      expect(await client.closeReason()).to.equal('failed');
      expect(await client.ended()).to.equal('clean');
      expect(app.errors).to.deep.equal([error]);
      expect(app.store.size).to.equal(0);
    });
  }

  it('serves Koa’s other requests at the same time', async () => {
    await start(ctx => {
      if (ctx.path !== '/plain') return ctx.sse.connect('me');
      ctx.body = 'plain';
      return undefined;
    });
    const stream = await open('/stream');
    const plain = await open('/plain');
    await plain.ended();
    expect(plain.text).to.equal('plain');
    stream.leave();
  });
});

describe('a client that leaves before its stream is open', () => {
  let release: () => void;
  let arrived: boolean;
  let outcome: unknown;

  beforeEach(async () => {
    arrived = false;
    outcome = undefined;
    const work = new Promise<void>(resolve => {
      release = resolve;
    });
    await start(async ctx => {
      arrived = true;
      await work;
      await ctx.sse.connect('me', { topics: ['news'] }).catch((error: unknown) => {
        outcome = error;
        throw error;
      });
    });
  });
  afterEach(() => app.close());

  it('during asynchronous work of the route leaves nothing behind', async () => {
    const client = await RawClient.request(app.port, '/');
    await until(() => arrived, 'the request');
    client.end();
    await client.isClosed();
    release();
    await until(() => outcome !== undefined, 'the refusal');
    expect(outcome).to.include({ code: 'CONNECTION_CLOSED' });
    await until(() => app.sockets.size === 0, 'the socket to close');
    expect(app.store.size + app.store.opening).to.equal(0);
    expect([...app.store.topics()]).to.deep.equal([]);
    expect(await app.service.getClusterConnectionCount()).to.equal(0);
    expect(app.errors).to.deep.equal([]);
    expect(app.logger.lines).to.deep.equal([]);
  });
});

describe('a stream that fails while it opens', () => {
  afterEach(() => app.close());

  /** The log breaks when its second page is read, which is after the head, and stays broken. */
  function breakingCoordinator(): ClusterCoordinator {
    const inner = new LocalCoordinator('n', { takeoverLimit: 5, takeoverWindow: 30_000 });
    let pages = 0;
    const replay: EventLog['replay'] = async request => {
      pages += 1;
      if (pages >= 2) throw new SseError('UNAVAILABLE', 'the log broke');
      return inner.log.replay(request);
    };
    return alteredCoordinator(inner, { log: { replay } });
  }

  /** Shows the connection that the route does not get. */
  class ShowingStore extends MemoryConnectionStore {
    last: LocalConnection | undefined;

    override add(connection: LocalConnection): void {
      this.last = connection;
      super.add(connection);
    }
  }

  it('after the head is ended, and the warning says why', async () => {
    const connectionStore = new ShowingStore();
    await start(ctx => ctx.sse.connect('me', { topics: ['news'] }), {
      overrides: { clusterCoordinator: breakingCoordinator(), connectionStore },
    });
    const { id = '' } = await app.service.publish('news', 'note', 0);
    for (let number = 1; number <= 250; number += 1) {
      await app.service.publish('news', 'note', number);
    }
    const client = await open('/', { headers: { 'Last-Event-ID': id } });
    expect(client.status).to.equal(200);
    await client.ended();
    expect(await connectionStore.last?.closed).to.equal('failed');
    await until(() => app.logger.at('warn').length > 0, 'the warning');
    expect(app.logger.at('warn')[0]?.fields?.['error']).to.include({ code: 'UNAVAILABLE' });
    expect(app.errors).to.deep.equal([]);
    expect(app.store.size + app.store.opening).to.equal(0);
    expect(await app.service.getClusterConnectionCount()).to.equal(0);
  });

  it('after the head ends with sse.closed alone although its client does not read', async () => {
    await start(ctx => ctx.sse.connect('me', { topics: ['news'] }));
    const { id = '' } = await app.service.publish('news', 'note', 0);
    for (let number = 1; number <= 200; number += 1) {
      await app.service.publish('news', 'note', 'x'.repeat(100_000));
    }
    const client = await open('/', { headers: { 'Last-Event-ID': id } });
    client.pause();
    const [socket] = app.sockets;
    await until(() => socket?.writableNeedDrain === true, 'a full socket');
    const other = await open();
    await other.event('connected');
    await turn();
    client.resume();
    expect(await client.ended()).to.equal('clean');
    expect(client.text).to.match(/event: sse\.closed\ndata: .*\n\n$/);
    other.leave();
  });

  for (const { detach, protocol } of [
    { detach: 'auto', protocol: 'http' },
    { detach: false, protocol: 'http' },
    { detach: 'auto', protocol: 'h2c' },
  ] as const) {
    for (const reason of ['superseded', 'draining'] as const) {
      it(`after the head ends with sse.closed alone: ${reason}, ${protocol}, detach ${String(detach)}`, async () => {
        let reading = false;
        let goOn = (): void => undefined;
        const mayGoOn = new Promise<void>(resolve => (goOn = resolve));
        const inner = new LocalCoordinator('n', { takeoverLimit: 5, takeoverWindow: 30_000 });
        const replay: EventLog['replay'] = async request => {
          reading = (request.after?.sequence ?? 0) > 1;
          if (reading) await mayGoOn;
          return inner.log.replay(request);
        };
        await start(ctx => ctx.sse.connect('me', { topics: ['news'] }), {
          protocol,
          options: { connection: { detach } },
          overrides: { clusterCoordinator: alteredCoordinator(inner, { log: { replay } }) },
          before: [
            (ctx, next) => {
              ctx.res.on('close', () => undefined);
              return next();
            },
          ],
        });
        const { id = '' } = await app.service.publish('news', 'note', 0);
        for (let number = 1; number <= 250; number += 1) await app.service.publish('news', 'note', number);
        const connect = protocol === 'http' ? EventStreamClient.open : EventStreamClient.open2;
        const client = await connect(app.url, { headers: { 'Last-Event-ID': id } });
        await until(() => reading, 'the second page');
        const other = reason === 'superseded' ? await connect(app.url) : undefined;
        const drained = reason === 'draining' ? app.service.drain({ timeout: 5_000 }) : undefined;
        await client.event('sse.closed');
        goOn();
        expect(await client.ended()).to.equal('clean');
        expect(await client.closeReason()).to.equal(reason);
        expect(client.text).to.match(/event: sse\.closed\ndata: .*\n\n$/);
        other?.leave();
        await drained;
      });
    }
  }
});
