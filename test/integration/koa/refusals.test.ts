import * as http from 'node:http';
import { expect } from 'chai';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { EventStreamClient, type StreamInit } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { RawClient } from '../../support/raw-client.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/sse/:clientId', { topics: ({ query }) => [query['topic'] ?? []].flat() })
  stream(): void {
    // Only held open.
  }

  @SseEndpoint('/exclusive/:clientId', { onDuplicate: 'reject' })
  exclusive(): void {
    // Only held open.
  }
}

let app: KoaApp;

const start = async (options?: SseOptions): Promise<void> => {
  app = await KoaApp.start({
    controllers: [StreamController],
    ...(options && { options }),
    after: [
      ctx => {
        ctx.body = 'plain';
      },
    ],
  });
};
const open = (path: string, init?: StreamInit): Promise<EventStreamClient> =>
  EventStreamClient.open(app.url + path, init);
const connected = async (path: string, init?: StreamInit): Promise<EventStreamClient> => {
  const client = await open(path, init);
  await client.event('connected');
  return client;
};

describe('a refused stream', () => {
  afterEach(() => app.close());

  describe('because of the connection id', () => {
    beforeEach(() => start());

    for (const [what, id] of [
      ['257 bytes', 'x'.repeat(257)],
      ['257 bytes of UTF-8', 'é'.repeat(129)],
      ['NUL', '%00'],
      ['DEL', 'a%7Fb'],
      ['a C1 control character', '%C2%85'],
      ['a header injection', 'a%0d%0aSet-Cookie:%20stolen=1'],
      ['a bare LF', 'a%0aX: 1'.replace(' ', '%20')],
    ] as const) {
      it(`answers 400 to ${what}`, async () => {
        const client = await open(`/sse/${id}`);
        expect(client.status).to.equal(400);
        expect(client.headers).to.not.have.any.keys('set-cookie', 'x');
        expect(await client.errorCode()).to.equal('INVALID_CONNECTION_ID');
      });
    }

    it('is in the log once, with its reason', async () => {
      for (const id of ['%00', 'a%7Fb']) expect((await open(`/sse/${id}`)).status).to.equal(400);
      const reasons = app.logger.at('warn').map(({ fields }) => fields?.['reason']);
      expect(reasons).to.have.length(1);
      expect(reasons[0]).to.match(/^a connection id must be /);
    });

    it('answers 400 to broken percent-encoding', async () => {
      for (const id of ['%', '%zz', '%ff', '%c3%28', '%ed%a0%80']) {
        const client = await open(`/sse/${id}`);
        expect(client.status, id).to.equal(400);
        expect(await client.errorCode()).to.equal('INVALID_REQUEST');
      }
    });

    it('takes 256 bytes of anything else', async () => {
      const id = `${'x'.repeat(246)}é😀 "&`;
      const client = await connected(`/sse/${encodeURIComponent(id)}`);
      expect(app.store.get(id)?.id).to.equal(id);
      client.leave();
    });
  });

  it('answers 422 to a topic that is none', async () => {
    await start();
    const client = await open('/sse/a?topic=*');
    expect(client.status).to.equal(422);
    expect(await client.errorCode()).to.equal('INVALID_TOPIC');
  });

  describe('because the node is full', () => {
    beforeEach(() => start({ connection: { maxConnections: 1 } }));

    it('answers 503 with Retry-After, which is spread, so that refused clients do not return at once', async () => {
      const first = await connected('/sse/a');
      const waits = new Set<unknown>();
      await until(async () => {
        const client = await open('/sse/b');
        expect(client.status).to.equal(503);
        expect(await client.errorCode()).to.equal('CONNECTION_LIMIT');
        waits.add(client.headers['retry-after']);
        return waits.size > 1;
      }, 'two different times');
      const lines = app.logger.at('warn').map(({ fields }) => fields?.['limit']);
      expect(lines).to.deep.equal(['connection.maxConnections']);
      expect([...waits].every(wait => /^[2-7]$/.test(String(wait)))).to.equal(true);
      first.leave();
    });

    it('takes the next one once there is room', async () => {
      const first = await connected('/sse/a');
      first.leave();
      await until(() => app.store.size === 0, 'room');
      const client = await connected('/sse/b');
      client.leave();
    });
  });

  it('says at least one second in Retry-After', async () => {
    await start({ connection: { maxConnections: 1 }, reconnect: { retry: 1, jitter: 0 } });
    const first = await connected('/sse/a');
    const client = await open('/sse/b');
    expect(client.headers['retry-after']).to.equal('1');
    first.leave();
  });

  it('answers 503 with Retry-After while the node drains', async () => {
    await start();
    const client = await connected('/sse/a');
    const drained = app.service.drain();
    expect(await client.closeReason()).to.equal('draining');
    const late = await open('/sse/b');
    expect(late.status).to.equal(503);
    expect(late.headers['retry-after']).to.match(/^[1-9]\d*$/);
    expect(await late.errorCode()).to.be.oneOf(['DRAINING', 'CLOSED']);
    await drained;
  });

  it('answers 503 once the service is closed', async () => {
    await start();
    await app.service.close();
    const client = await open('/sse/a');
    expect(client.status).to.equal(503);
    expect(await client.errorCode()).to.equal('CLOSED');
  });

  it('answers 409 to an id that is connected, and leaves its owner alone', async () => {
    await start();
    const owner = await connected('/exclusive/a');
    const client = await open('/exclusive/a');
    expect(client.status).to.equal(409);
    expect(await client.errorCode()).to.equal('DUPLICATE_CONNECTION');
    app.service.sendMessage('a', 'note', 'still mine');
    expect((await owner.event('note')).data).to.equal('still mine');
    owner.leave();
  });

  it('answers 204 without a body to a takeover storm, and leaves the owner alone', async () => {
    await start({ connection: { takeoverLimit: 1 } });
    const headers = { 'Last-Event-ID': 'where it was' };
    const loser = await connected('/sse/a');
    const owner = await connected('/sse/a', { headers });
    expect(await loser.closeReason()).to.equal('superseded');
    const client = await open('/sse/a', { headers });
    expect(client.status).to.equal(204);
    expect(client.headers).to.include({ 'cache-control': 'no-store' });
    expect(client.headers).to.not.have.any.keys('content-type', 'content-length', 'retry-after');
    await client.ended();
    expect(client.text).to.equal('');
    app.service.sendMessage('a', 'note', 'still mine');
    expect((await owner.event('note')).data).to.equal('still mine');
    owner.leave();
  });

  it('sends a page that is loaded again and again away for at least 30 s, and never with 204', async () => {
    await start();
    for (let load = 0; load <= 19; load += 1) await connected('/sse/a');
    const client = await open('/sse/a', { headers: { Accept: 'text/event-stream' } });
    expect(await client.closeReason()).to.equal('rate-limited');
    expect(Number(/^retry: (\d+)$/m.exec(client.text)?.[1])).to.be.at.least(30_000);
    const other = await open('/sse/a');
    expect(other.status).to.equal(429);
    expect(Number(other.headers['retry-after'])).to.be.at.least(30);
    expect(app.logger.at('warn')).to.have.length(1);
  });

  it('is answered as JSON whatever earlier middleware set on the response', async () => {
    app = await KoaApp.start({
      controllers: [StreamController],
      before: [
        async (ctx, next) => {
          ctx.type = 'text/event-stream';
          await next();
        },
      ],
    });
    const client = await open('/sse/%00');
    expect(client.status).to.equal(400);
    expect(client.headers['content-type']).to.equal('application/json; charset=utf-8');
  });

  describe('on a kept-alive connection', () => {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
    const headers = { 'Last-Event-ID': 'where it was' };
    let owner: EventStreamClient;

    beforeEach(async () => {
      await start({ connection: { takeoverLimit: 1 } });
      await connected('/sse/taken');
      owner = await connected('/sse/taken', { headers });
      await until(() => app.sockets.size === 1, 'the loser to go');
    });
    afterEach(() => {
      owner.leave();
      agent.destroy();
    });

    /** A request that is refused only after its sink was attached. */
    const refuse = async (): Promise<void> => {
      const refused = await open('/sse/taken', { agent, headers });
      expect(refused.status).to.equal(204);
      await refused.ended();
    };
    const listeners = (): number[] => {
      const socket = [...app.sockets][1];
      return ['drain', 'close', 'error', 'end', 'timeout'].map(name => socket?.listenerCount(name) ?? Number.NaN);
    };

    it('leaves the connection to the next request', async () => {
      for (let request = 0; request < 3; request += 1) await refuse();
      const plain = await open('/plain', { agent });
      await plain.ended();
      expect(plain.text).to.equal('plain');
      expect(app.sockets.size).to.equal(2);
    });

    it('leaves no listener on the socket', async () => {
      await refuse();
      const before = listeners();
      for (let request = 0; request < 3; request += 1) await refuse();
      expect(listeners()).to.deep.equal(before);
    });

    it('leaves the connection to a stream that is admitted later', async () => {
      await refuse();
      const client = await connected('/sse/free', { agent });
      expect(app.sockets.size).to.equal(2);
      app.service.sendMessage('free', 'note', 'on a used socket');
      expect((await client.event('note')).data).to.equal('on a used socket');
      client.leave();
      await until(() => !app.service.hasLocal('free'), 'the end');
    });

    it('keeps the connection alive after an answer with a body as well', async () => {
      const refused = await open('/sse/%00', { agent });
      expect(refused.status).to.equal(400);
      expect(refused.headers['connection']).to.equal('keep-alive');
      await refused.ended();
      await refuse();
      expect(app.sockets.size).to.equal(2);
    });
  });
});

describe('Last-Event-ID', () => {
  beforeEach(() => start());
  afterEach(() => app.close());

  const seen = async (path: string, header?: string): Promise<string | undefined> => {
    const lines = header === undefined ? [] : [`Last-Event-ID: ${header}`];
    const client = await RawClient.request(app.port, path, lines);
    await client.receives('event:');
    expect(client.received).to.match(/^HTTP\/1\.1 200 OK\r\n/);
    const connection = app.store.get('a');
    client.destroy();
    await until(() => app.store.size === 0, 'the end');
    return connection?.lastEventId;
  };

  it('comes from the header', async () => {
    expect(await seen('/sse/a', 'mine-17')).to.equal('mine-17');
  });

  it('comes from the query parameter lastEventId', async () => {
    expect(await seen('/sse/a?lastEventId=mine-18')).to.equal('mine-18');
  });

  it('comes from the header when both are there', async () => {
    expect(await seen('/sse/a?lastEventId=old', 'new')).to.equal('new');
  });

  for (const [query, id] of [
    ['lastEventId=a&lastEventId=b', 'b'],
    ['last_event_id=a', 'a'],
    ['evs_last_event_id=a&evs_preamble=2048', 'a'],
    ['lastEventID=a%2Fb+c', 'a/b c'],
    ['lastEventId=old&x=1&last_event_id=new', 'new'],
    ['lastEventId=a&lastEventId=', 'a'],
    ['lastEventId=%ff', undefined],
    ['lastEventId=%', undefined],
    ['lastEventId=a%0Ab', undefined],
    ['lastEventId=%20a', undefined],
  ] as const) {
    it(`is ${id ?? 'nothing'} when the query has ${query}`, async () => {
      expect(await seen(`/sse/a?${query}`)).to.equal(id);
    });
  }

  it('is the last one of repeated headers', async () => {
    expect(await seen('/sse/a', 'old\r\nlast-event-id: new, and whole')).to.equal('new, and whole');
  });

  it('is UTF-8, as browsers send it', async () => {
    const bytes = Buffer.from('zähler-😀').toString('latin1');
    expect(await seen('/sse/a', bytes)).to.equal('zähler-😀');
  });

  it('of 2 KiB is no cursor', async () => {
    expect(await seen('/sse/a', 'x'.repeat(2048))).to.equal(undefined);
  });

  it('of arbitrary bytes opens a stream that starts at the present', async () => {
    expect(await seen('/sse/a', '\xff\xfe\x80')).to.equal(undefined);
  });

  it('cannot put lines into the stream', async () => {
    const client = await RawClient.request(app.port, '/sse/a?lastEventId=a%0d%0aevent:%20evil');
    await client.receives('event: connected');
    app.service.sendMessage('a', 'note', 'end');
    await client.receives('end');
    expect(client.received).to.not.contain('evil');
    client.destroy();
  });

  it('resumes at a cursor of the log', async () => {
    const first = await connected('/sse/a?topic=news');
    await app.service.publish('news', 'note', 1);
    const { id = '' } = await first.event('note');
    first.leave();
    await until(() => app.store.size === 0, 'the end');
    await app.service.publish('news', 'note', 2);
    await app.service.publish('news', 'note', 3);
    const second = await connected('/sse/a?topic=news', { headers: { 'Last-Event-ID': id } });
    await until(() => second.data('note').length === 2, 'what was missed');
    expect(second.data('note')).to.deep.equal(['2', '3']);
    second.leave();
  });
});
