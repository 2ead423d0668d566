import * as http from 'node:http';
import { Readable } from 'node:stream';
import { setImmediate as turn, setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import { interval, map, of, take, throwError } from 'rxjs';
import type { Context } from 'koa';
import type { SseRequest } from '../../../src/contracts/authorization.js';
import type { SseConnection } from '../../../src/contracts/connection.js';
import { type EndpointRequest, SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

const THREE = ['one', 'two', 'three'];
const cancelled: string[] = [];
let release: () => void = () => undefined;
let aborted: unknown;

let app: KoaApp;

const notFound = (): Error => Object.assign(new Error('no such job'), { status: 404, expose: true });

class SourceController {
  @SseEndpoint('/async-iterable')
  async *asyncIterable(): AsyncIterable<string> {
    for (const item of THREE) {
      await delay(1);
      yield item;
    }
  }

  @SseEndpoint('/iterable')
  iterable(): Iterable<string> {
    return THREE;
  }

  @SseEndpoint('/promise')
  async promise(): Promise<Iterable<string>> {
    await delay(1);
    return new Set(THREE);
  }

  @SseEndpoint('/readable')
  readable(): Readable {
    return Readable.from(THREE);
  }

  @SseEndpoint('/web-stream')
  webStream(): ReadableStream<string> {
    return new ReadableStream({
      start: controller => {
        for (const item of THREE) controller.enqueue(item);
        controller.close();
      },
    });
  }

  @SseEndpoint('/observable')
  observable(): unknown {
    return interval(1).pipe(
      take(3),
      map(index => THREE[index]),
    );
  }

  @SseEndpoint('/events')
  *events(): Iterable<object> {
    yield { event: 'tick', data: { n: 1 }, id: 'a-1', retry: 1234 };
    yield { n: 2 };
  }

  @SseEndpoint('/empty')
  empty(): unknown {
    return of();
  }

  @SseEndpoint('/endless/:clientId')
  async *endless(connection: SseConnection): AsyncIterable<string> {
    try {
      for (;;) {
        yield 'more';
        await delay(5);
      }
    } finally {
      cancelled.push(connection.id);
    }
  }

  @SseEndpoint('/ready/:clientId')
  *ready(): Iterable<string> {
    for (;;) yield 'x';
  }

  @SseEndpoint('/held/:clientId')
  held(): void {
    // Only held open.
  }

  @SseEndpoint('/raw')
  raw(_connection: SseConnection, { res }: EndpointRequest): void {
    res.write('data: by hand\n\n');
  }

  @SseEndpoint('/no-source')
  noSource(): number {
    return 42;
  }

  @SseEndpoint('/throws/:clientId')
  throws(): void {
    throw new Error('broken handler');
  }

  @SseEndpoint('/rejects/:clientId')
  async rejects(): Promise<void> {
    await delay(1);
    throw new Error('broken promise');
  }

  @SseEndpoint('/fails/:clientId')
  async *fails(): AsyncIterable<string> {
    yield 'before';
    await delay(1);
    throw new Error('broken source');
  }

  @SseEndpoint('/fails-observable/:clientId')
  failsObservable(): unknown {
    return throwError(() => new Error('broken observable'));
  }

  @SseEndpoint('/bad-item/:clientId')
  *badItem(): Iterable<object> {
    yield { event: 'two\nlines', data: 1 };
  }

  @SseEndpoint('/missing/:clientId')
  async missing(): Promise<void> {
    await delay(1);
    throw notFound();
  }

  @SseEndpoint('/missing-items/:clientId')
  async *missingItems(): AsyncIterable<string> {
    await delay(1);
    if (THREE.length > 0) throw notFound();
    yield 'never';
  }

  @SseEndpoint('/uses/:clientId')
  async uses(connection: SseConnection, { query }: SseRequest): Promise<void> {
    if (query['how'] === 'send') connection.send('early', 1);
    if (query['how'] === 'wait') await delay(220);
    if (query['how'] === 'close') connection.close('done');
    else throw notFound();
  }

  @SseEndpoint('/sends-and-throws/:clientId')
  sendsAndThrows(connection: SseConnection): void {
    connection.send('early', 1);
    throw notFound();
  }

  @SseEndpoint('/by-id/:clientId')
  async byId({ id }: SseConnection): Promise<void> {
    const { outcome } = await app.service.subscribe(id, 'room');
    await app.service.sendMessageToConnection(id, 'subscribed', outcome);
  }

  @SseEndpoint('/slow/:clientId')
  async slow(connection: SseConnection, request: SseRequest & Context): Promise<void> {
    await new Promise<void>(resolve => (release = resolve));
    request.set('X-Handler', 'was here');
    connection.send('late', connection.state.kind);
  }

  @SseEndpoint('/floods/:clientId')
  async floods(connection: SseConnection): Promise<void> {
    while (!connection.signal.aborted) {
      connection.send('flood', 'x'.repeat(1000));
      await connection.drained();
    }
  }

  @SseEndpoint('/waits/:clientId')
  async waits(connection: SseConnection): Promise<void> {
    try {
      await delay(60_000, undefined, { signal: connection.signal });
    } catch (error) {
      aborted = connection.signal.reason;
      throw error;
    }
  }
}

describe('a handler', () => {
  beforeEach(async () => {
    cancelled.length = 0;
    aborted = undefined;
    app = await KoaApp.start({ controllers: [SourceController] });
  });
  afterEach(() => app.close());

  const open = (path: string): Promise<EventStreamClient> => EventStreamClient.open(app.url + path);
  const failures = (): unknown[] => app.logger.at('error').map(({ fields }) => (fields?.['error'] as Error).message);

  for (const source of ['async-iterable', 'iterable', 'promise', 'readable', 'web-stream', 'observable']) {
    it(`streams what it returns: ${source}`, async () => {
      const client = await open(`/${source}`);
      expect(await client.closeReason()).to.equal('completed');
      expect(client.data()).to.deep.equal(THREE);
      expect(await client.ended()).to.equal('clean');
    });
  }

  it('yields whole events and plain data', async () => {
    const client = await open('/events');
    await client.ended();
    expect(client.events.slice(1, 3)).to.deep.equal([
      { event: 'tick', data: '{"n":1}', id: 'a-1' },
      { event: undefined, data: '{"n":2}', id: undefined },
    ]);
    expect(client.text).to.match(/^retry: ?1234$/m);
  });

  it('that ended is not run again by a client that comes back: its last id answers with 204, on any node', async () => {
    const client = await open('/events');
    await client.ended();
    const lastId = client.events.at(-1)?.id ?? '';
    const node = await KoaApp.start({ controllers: [SourceController] });
    try {
      for (const url of [app.url, node.url]) {
        for (const init of [{ headers: { 'Last-Event-ID': lastId, Accept: 'text/event-stream' } }, {}]) {
          const query = init.headers === undefined ? `?lastEventId=${lastId}` : '';
          const again = await EventStreamClient.open(`${url}/events${query}`, init);
          expect(again.status).to.equal(204);
          expect(again.headers['cache-control']).to.equal('no-store');
          await again.ended();
        }
      }
    } finally {
      await node.close();
    }
  });

  it('that fails makes its client come back later each time, from where it was', async () => {
    const waits: number[] = [];
    let headers: Record<string, string> = {};
    for (let failure = 1; failure <= 4; failure += 1) {
      const client = await EventStreamClient.open(`${app.url}/fails/x`, { headers });
      await client.ended();
      waits.push(Number(/^retry: (\d+)\nevent: sse.closed$/m.exec(client.text)?.[1]));
      const [connected] = client.events;
      expect(client.events.at(-1)?.id).to.equal(`~failed${failure}.${connected?.id ?? ''}`);
      headers = { 'Last-Event-ID': client.events.at(-1)?.id ?? '' };
    }
    expect(waits).to.deep.equal([...new Set(waits)].sort((a, b) => a - b));
  });

  it('that returns an empty source ends its stream', async () => {
    const client = await open('/empty');
    expect(await client.closeReason()).to.equal('completed');
  });

  it('that returns nothing holds its stream open', async () => {
    const client = await open('/held/a');
    await client.event('connected');
    app.service.sendMessage('a', 'note', 'still open');
    expect((await client.event('note')).data).to.equal('still open');
    client.leave();
  });

  it('is cancelled when the client leaves', async () => {
    const client = await open('/endless/gone');
    await client.event('message');
    client.leave();
    await until(() => cancelled.includes('gone'), 'the end of the generator');
    expect(app.store.size).to.equal(0);
  });

  it('learns from the signal that the client left, and why', async () => {
    const client = await open('/waits/w');
    await client.event('connected');
    client.leave();
    await until(() => aborted !== undefined, 'the abort');
    expect(aborted).to.equal('client');
  });

  it('that fails because the client left is no error', async () => {
    const client = await open('/waits/w');
    await client.event('connected');
    client.leave();
    await until(() => app.logger.at('debug').length > 0, 'the note');
    expect(app.logger.at('error')).to.deep.equal([]);
    expect(app.errors).to.deep.equal([]);
  });

  for (const [path, message] of [
    ['fails', 'broken source'],
    ['fails-observable', 'broken observable'],
  ] as const) {
    it(`that ${path} ends its stream with a last event and is logged once`, async () => {
      const client = await open(`/${path}/x`);
      expect(await client.closeReason()).to.equal('failed');
      expect(await client.ended()).to.equal('clean');
      expect(failures()).to.deep.equal([message]);
      expect(app.logger.at('error')[0]?.fields).to.include({ connectionId: 'x' });
      expect(app.errors).to.deep.equal([]);
    });
  }

  describe('before the head', () => {
    const refused = async (path: string, headers = {}): Promise<EventStreamClient> => {
      const client = await EventStreamClient.open(app.url + path, { headers });
      await client.ended();
      expect(app.store.size + app.store.opening).to.equal(0);
      return client;
    };

    for (const path of ['missing', 'missing-items']) {
      it(`may refuse: the status that it throws is the answer, after an await as well (${path})`, async () => {
        const client = await refused(`/${path}/x`, { Accept: 'text/event-stream' });
        expect([client.status, client.text]).to.deep.equal([404, 'no such job']);
        expect(client.headers['cache-control']).to.equal('no-store');
        expect(failures()).to.deep.equal([]);
      });
    }

    for (const [path, message] of [
      ['throws', 'broken handler'],
      ['rejects', 'broken promise'],
    ] as const) {
      it(`that ${path} is answered with 500, or with a stream for clients that name one, and reported to Koa`, async () => {
        expect((await refused(`/${path}/x`)).status).to.equal(500);
        const client = await refused(`/${path}/x`, { Accept: 'text/event-stream' });
        expect(await client.closeReason()).to.equal('error');
        expect(app.errors.map(error => (error as Error).message)).to.deep.equal([message, message]);
      });
    }

    it('that refuses leaves the former owner of the id alone', async () => {
      const owner = await open('/held/x');
      await owner.event('connected');
      expect((await open('/missing/x')).status).to.equal(404);
      app.service.sendMessage('x', 'note', 'still mine');
      expect((await owner.event('note')).data).to.equal('still mine');
      owner.leave();
    });

    for (const [path, sent] of [
      ['/uses/x?how=send', ['1']],
      ['/sends-and-throws/x', ['1']],
      ['/uses/x?how=wait', []],
    ] as const) {
      it(`no longer refuses after it sent something or took more than 200 ms: ${path}`, async () => {
        const client = await open(path);
        expect(client.status).to.equal(200);
        expect(await client.closeReason()).to.equal('failed');
        expect(client.data('early')).to.deep.equal(sent);
        expect(failures()).to.deep.equal(['no such job']);
      });
    }

    it('may close: the client gets the head and the reason', async () => {
      const client = await open('/uses/x?how=close');
      expect(await client.closeReason()).to.equal('done');
      expect(client.events.map(({ event }) => event)).to.deep.equal(['connected', 'sse.closed']);
    });

    it('reaches its own connection by id, not the former one', async () => {
      const former = await open('/held/x');
      await former.event('connected');
      const client = await open('/by-id/x');
      expect((await client.event('subscribed')).data).to.equal('delivered');
      expect(await former.closeReason()).to.equal('superseded');
      expect(former.events.map(({ event }) => event)).to.deep.equal(['connected', 'sse.closed']);
      await app.service.publish('room', 'note', 'to the room');
      expect((await client.event('note')).data).to.equal('to the room');
      client.leave();
    });

    it('may set headers; what arrives meanwhile is held, and what it sends comes in order', async () => {
      const opening = open('/slow/x');
      await until(() => app.store.opening === 1, 'the handler');
      app.service.broadcast('note', 'held');
      release();
      const client = await opening;
      await client.event('late');
      expect(client.headers['x-handler']).to.equal('was here');
      expect(client.events.map(({ event }) => event)).to.deep.equal(['connected', 'note', 'late']);
      expect(client.data('late')).to.deep.equal(['opening']);
      client.leave();
    });

    it('may send as fast as its client reads', async () => {
      const client = await open('/floods/x');
      await until(() => client.data('flood').length > 500, 'many events');
      expect(client.events[0]?.event).to.equal('connected');
      client.leave();
      await until(() => app.store.size === 0, 'the end');
    });

    it('that runs on when its client leaves is no error', async () => {
      const leaving = http.get(`${app.url}/slow/x`).on('error', () => undefined);
      await until(() => app.store.opening === 1, 'the handler');
      leaving.destroy();
      await until(() => app.store.opening === 0, 'the end');
      release();
      await turn();
      expect(failures()).to.deep.equal([]);
      expect(app.errors).to.deep.equal([]);
    });
  });

  it('that writes to the response itself is reported, with what to call instead', async () => {
    const client = await open('/raw');
    await until(() => app.logger.at('warn').length > 0, 'the warning');
    const [line] = app.logger.at('warn');
    expect(line?.fields?.['error']).to.include({ code: 'INVALID_REQUEST' });
    expect(String(line?.fields?.['error'])).to.include('call connection.send instead of ctx.res.write');
    client.leave();
  });

  it('that returns no source ends its stream', async () => {
    const client = await open('/no-source');
    expect(await client.closeReason()).to.equal('failed');
    expect(app.logger.at('error')[0]?.fields?.['error']).to.include({ code: 'INVALID_SOURCE' });
  });

  it('whose source yields no event ends its stream', async () => {
    const client = await open('/bad-item/x');
    expect(await client.closeReason()).to.equal('failed');
    expect(app.logger.at('error')[0]?.fields?.['error']).to.include({
      code: 'INVALID_EVENT_NAME',
    });
  });

  it('sends what its source yielded before it failed', async () => {
    const client = await open('/fails/x');
    await client.ended();
    expect(client.data()).to.deep.equal(['before']);
  });

  it('whose source is always ready leaves time for 49 others, and for clients that connect', async () => {
    const clients = await Promise.all(Array.from({ length: 50 }, (_, n) => open(`/ready/${n}`)));
    for (const id of ['a', 'b', 'c']) {
      const newcomer = await open(`/held/${id}`);
      expect((await newcomer.event('connected')).data).to.contain(id);
    }
    await until(() => clients.every(({ text }) => text.includes('data: x')), 'an event for each');
    for (const client of clients) client.leave();
  });

  it('that fails harms no other client', async () => {
    const other = await open('/held/other');
    await other.event('connected');
    const failing = await open('/throws/x');
    await failing.ended();
    app.service.sendMessage('other', 'note', 'unharmed');
    expect((await other.event('note')).data).to.equal('unharmed');
    other.leave();
  });
});

describe('a controller that cannot be built', () => {
  const built: string[] = [];

  class BrokenController {
    constructor() {
      built.push('tried');
      throw new Error('no database');
    }

    @SseEndpoint('/x/:clientId')
    open(): void {
      // Never called.
    }
  }

  it('is answered by Koa before anything is registered', async () => {
    const app = await KoaApp.start({ controllers: [BrokenController] });
    try {
      const client = await EventStreamClient.open(`${app.url}/x/a`);
      expect(client.status).to.equal(500);
      expect(built).to.deep.equal(['tried']);
      expect(app.errors).to.have.length(1);
      expect(await app.service.isConnected('a')).to.equal(false);
    } finally {
      await app.close();
    }
  });
});
