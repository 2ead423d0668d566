import { once } from 'node:events';
import * as http from 'node:http';
import * as http2 from 'node:http2';
import { expect } from 'chai';
import type { SseConnection } from '../../../src/contracts/connection.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { EventStreamClient, type StreamInit } from '../../support/event-stream-client.js';
import { KoaApp, type Protocol } from '../../support/koa-app.js';
import { RawClient } from '../../support/raw-client.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/sse/:clientId', { topics: ['news'], methods: ['GET', 'POST'] })
  stream(connection: SseConnection): void {
    connection.send('welcome', 'hello');
  }
}

let app: KoaApp;

const start = async (protocol: Protocol, options: SseOptions = {}): Promise<void> => {
  app = await KoaApp.start({
    options,
    protocol,
    controllers: [StreamController],
    after: [
      ctx => {
        ctx.body = 'plain';
      },
    ],
  });
};

const HTTP1: readonly Protocol[] = ['http', 'https', 'h2'];
const HTTP2: readonly Protocol[] = ['h2', 'h2c'];
const COMBINATIONS = [
  ...HTTP1.map(protocol => ({ protocol, name: `HTTP/1.1 to ${protocol}`, open: open1 })),
  ...HTTP2.map(protocol => ({ protocol, name: `HTTP/2 to ${protocol}`, open: open2 })),
];

function open1(path: string, init?: StreamInit): Promise<EventStreamClient> {
  return EventStreamClient.open(app.url + path, init);
}

function open2(path: string, init?: StreamInit): Promise<EventStreamClient> {
  return EventStreamClient.open2(app.url + path, init);
}

for (const { protocol, name, open } of COMBINATIONS) {
  describe(`a stream over ${name}`, () => {
    beforeEach(() => start(protocol));
    afterEach(() => app.close());

    it('carries events', async () => {
      const client = await open('/sse/a');
      expect(client.status).to.equal(200);
      expect((await client.event('welcome')).data).to.equal('hello');
      await app.service.publish('news', 'note', { n: 1 });
      expect((await client.event('note')).data).to.equal('{"n":1}');
      client.leave();
      await until(() => app.store.size === 0, 'the end');
    });

    it('carries large events whole', async () => {
      const client = await open('/sse/a');
      await client.event('welcome');
      const data = 'äöü😀'.repeat(80_000);
      app.service.sendMessage('a', 'large', data);
      expect((await client.event('large')).data).to.equal(data);
      client.leave();
    });

    it('says delivered of each event that its client reads', async () => {
      const client = await open('/sse/a');
      await client.event('welcome');
      const outcomes = new Set<string>();
      for (let n = 0; n < 50; n += 1) {
        outcomes.add(app.service.sendMessage('a', 'note', n).outcome);
        outcomes.add((await app.service.sendMessageToConnection('a', 'note', n)).outcome);
      }
      expect([...outcomes]).to.deep.equal(['delivered']);
      client.leave();
    });

    it('says buffered of events that its client does not read', async () => {
      const client = await open('/sse/a');
      await client.event('welcome');
      client.pause();
      await until(() => app.service.sendMessage('a', 'note', 'x'.repeat(50_000)).outcome === 'buffered', 'the outcome');
      client.leave();
    });

    it('ends cleanly with a last event', async () => {
      const client = await open('/sse/a');
      await client.event('welcome');
      await app.service.closeConnection('a', 'enough');
      expect(await client.closeReason()).to.equal('enough');
      expect(await client.ended()).to.equal('clean');
    });

    it('answers a POST whose body is not read, to its end', async () => {
      const client = await open('/sse/a', { method: 'POST', body: 'x'.repeat(10_000) });
      await client.event('welcome');
      await app.service.closeConnection('a');
      expect(await client.ended()).to.equal('clean');
      await until(() => app.store.size === 0, 'the end');
    });

    it('is refused as JSON, and the client can ask again', async () => {
      const refused = await open('/sse/%00');
      expect(refused.status).to.equal(400);
      expect(await refused.errorCode()).to.equal('INVALID_CONNECTION_ID');
      const plain = await open('/plain');
      await plain.ended();
      expect(plain.text).to.equal('plain');
    });

    it('has a head for HEAD, and no connection', async () => {
      const client = await open('/sse/a', { method: 'HEAD' });
      expect(client.status).to.equal(200);
      expect(client.headers).to.include({
        'content-type': 'text/event-stream',
        'cache-control': 'no-store, no-transform',
        'x-accel-buffering': 'no',
      });
      expect(await client.ended()).to.equal('clean');
      expect(client.text).to.equal('');
      expect(app.store.size + app.store.opening).to.equal(0);
    });

    it('is no error of the application when its client leaves', async () => {
      const client = await open('/sse/a');
      await client.event('welcome');
      client.leave();
      await until(() => app.store.size === 0, 'the end');
      expect(app.errors).to.deep.equal([]);
      expect(app.logger.lines).to.deep.equal([]);
    });
  });
}

describe('an HTTP/2 session', () => {
  beforeEach(() => start('h2c'));
  afterEach(() => app.close());

  it('carries many streams, of which one can end alone', async () => {
    const session = http2.connect(app.url);
    const texts = new Map<string, string>();
    for (const id of ['a', 'b', 'c']) {
      const stream = session.request({ ':path': `/sse/${id}` });
      stream.setEncoding('utf8');
      stream.on('data', (text: string) => texts.set(id, (texts.get(id) ?? '') + text));
    }
    await until(() => app.store.size === 3, 'three connections');
    await app.service.closeConnection('b');
    await until(() => texts.get('b')?.includes('sse.closed') === true, 'the end of b');
    app.service.broadcast('note', 'to the others');
    const got = (id: string): boolean => texts.get(id)?.includes('to the others') === true;
    await until(() => got('a') && got('c'), 'the event');
    expect(got('b')).to.equal(false);
    expect(session.destroyed).to.equal(false);
    session.destroy();
  });

  it('is asked to go when the drain begins, and its streams end as others do', async () => {
    const session = http2.connect(app.url);
    const stream = session.request({ ':path': '/sse/a' });
    let text = '';
    stream.setEncoding('utf8').on('data', (piece: string) => (text += piece));
    await until(() => text.includes('welcome'), 'the stream');
    const news: unknown[] = [];
    session.on('goaway', (code: number, lastStreamId: number) =>
      news.push(code, lastStreamId, text.includes('sse.closed')),
    );
    await app.service.drain({ timeout: 5_000 });
    await once(stream, 'end');
    expect(text).to.contain('"draining"');
    expect(news.slice(0, 3)).to.deep.equal([http2.constants.NGHTTP2_NO_ERROR, stream.id, false]);
    session.destroy();
  });

  it('gets no header that HTTP/2 forbids', async () => {
    const client = await open2('/sse/a');
    expect(client.headers).to.not.have.any.keys('connection', 'transfer-encoding', 'keep-alive');
    client.leave();
  });
});

describe('an HTTP/1.1 connection', () => {
  beforeEach(() => start('http'));
  afterEach(() => app.close());

  it('that served other requests before can become a stream', async () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    for (let request = 0; request < 2; request += 1) {
      const plain = await open1('/plain', { agent });
      await plain.ended();
    }
    const client = await open1('/sse/a', { agent });
    await client.event('welcome');
    expect(app.sockets.size).to.equal(1);
    client.leave();
    agent.destroy();
  });

  it('says that it ends with the stream, whose body is chunked', async () => {
    const client = await RawClient.request(app.port, '/sse/a');
    await client.receives('data: hello\n\n');
    const [head = '', body = ''] = client.received.split('\r\n\r\n', 2);
    expect(head).to.match(/^HTTP\/1\.1 200 OK\r\n/);
    expect(head).to.match(/^connection: close$/im);
    expect(head).to.match(/^transfer-encoding: chunked$/im);
    expect(head).to.not.match(/^(content-length|keep-alive):/im);
    expect(body).to.match(/^[0-9a-f]+\r\n(event|id|retry|data|:)/);
    await app.service.closeConnection('a');
    await client.isClosed();
    expect(client.ended).to.equal(true);
    expect(client.error).to.equal(undefined);
    expect(client.received).to.match(/event: sse\.closed\ndata: \{"reason":"closed"\}\n\n\r\n0\r\n\r\n$/);
  });

  it('of HTTP/1.0 can become a stream', async () => {
    const client = await RawClient.connect(app.port);
    client.send('GET /sse/a HTTP/1.0\r\n\r\n');
    await client.receives('data: hello');
    const [head = '', body = ''] = client.received.split('\r\n\r\n', 2);
    expect(head).to.not.match(/^transfer-encoding:/im);
    expect(body).to.match(/^(event|id|retry|data|:)/);
    client.end();
    await until(() => app.store.size === 0, 'the end');
  });

  for (const detach of ['auto', false] as const) {
    it(`that breaks is an error for its reader, detach: ${String(detach)}`, async () => {
      await app.close();
      await start('http', { connection: { detach } });
      const client = await open1('/sse/a');
      await client.event('welcome');
      for (const socket of app.sockets) socket.destroy();
      expect(await client.ended()).to.equal('broken');
    });
  }

  it('refuses a stream that is pipelined behind another request', async () => {
    const client = await RawClient.connect(app.port);
    const lines = ['Host: localhost', '', ''].join('\r\n');
    client.send(`GET /plain HTTP/1.1\r\n${lines}GET /sse/a HTTP/1.1\r\n${lines}`);
    await client.receives('"INVALID_REQUEST"');
    expect(client.received).to.match(/^HTTP\/1\.1 200 OK/);
    expect(client.received).to.contain('plainHTTP/1.1 400 Bad Request');
    expect(app.store.size + app.store.opening).to.equal(0);
    // The connection is still good.
    client.request('/plain');
    await until(() => client.received.split('plain').length === 3, 'the next answer');
    client.end();
    await client.isClosed();
  });

  it('is not cut by the timeout of its server', async () => {
    // Long enough for a busy machine to answer the head before.
    (app.server as http.Server).setTimeout(500);
    const client = await open1('/sse/a');
    await client.event('welcome');
    const idle = await RawClient.connect(app.port);
    // The server cuts idle connections by now, but not a quiet stream.
    await idle.isClosed();
    app.service.sendMessage('a', 'note', 'still here');
    expect((await client.event('note')).data).to.equal('still here');
    client.leave();
  });

  it('outlives server.close, which takes no new ones', async () => {
    const server = app.server as http.Server;
    const client = await open1('/sse/a');
    await client.event('welcome');
    const closed = once(server, 'close');
    server.close();
    server.closeIdleConnections();
    app.service.sendMessage('a', 'note', 'still here');
    expect((await client.event('note')).data).to.equal('still here');
    await app.service.closeConnection('a');
    await closed;
    // For the hook that closes it again.
    server.listen(0);
    await once(server, 'listening');
  });

  it('is destroyed by server.closeAllConnections', async () => {
    const client = await open1('/sse/a');
    await client.event('welcome');
    (app.server as http.Server).closeAllConnections();
    await client.ended();
    expect(client.data('sse.closed')).to.deep.equal([]);
    await until(() => app.store.size === 0, 'the end');
    expect(app.errors).to.deep.equal([]);
  });
});
