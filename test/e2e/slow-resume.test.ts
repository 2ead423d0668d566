import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect } from 'chai';
import { createParser, type EventSourceMessage } from 'eventsource-parser';
import { ChildProgram } from '../support/child-program.js';
import { amount } from '../support/extent.js';
import { KoaApp } from '../support/koa-app.js';
import type { LoadMemory } from '../support/load-server.js';
import { fillLog } from '../support/redis/fill-log.js';
import { withRedis } from '../support/redis/with-redis.js';
import { reached, until } from '../support/until.js';

// Many times what may wait for the client, and more than the sockets between hold.
const ENTRIES = amount(30_000, 100_000);
const BYTES = 400;
const BUFFER_BYTES = 1_048_576;
// A page of the log, as Redis answers it and as the entries made of it.
const PAGE_BYTES = 2 * 256 * 1024;

/** A client that reads only on request. */
class IdleClient {
  readonly numbers: number[] = [];
  readonly names = new Set<string>();
  lastId: string | undefined;
  closed = false;
  readonly #parser = createParser({ onEvent: event => this.#note(event) });

  constructor(
    readonly socket: Socket,
    path: string,
    lastEventId?: string,
  ) {
    const resume = lastEventId === undefined ? '' : `Last-Event-ID: ${lastEventId}\r\n`;
    socket.write(`GET ${path} HTTP/1.0\r\nHost: x\r\n${resume}\r\n`);
    socket.setEncoding('utf8');
    socket.on('data', (text: string) => this.#parser.feed(text));
    socket.on('error', () => socket.destroy());
    socket.on('close', () => (this.closed = true));
    socket.pause();
  }

  /** Reads what comes next, and no more. */
  async sip(): Promise<void> {
    const came = once(this.socket, 'data');
    this.socket.resume();
    await came;
    this.socket.pause();
  }

  #note({ event = 'message', id, data }: EventSourceMessage): void {
    this.names.add(event);
    if (event === 'message') this.numbers.push(parseInt(data, 10));
    this.lastId = id ?? this.lastId;
  }
}

describe('a client that resumes over Redis and reads slowly', () => {
  const redis = withRedis();
  const cleanups: (() => unknown)[] = [];

  beforeEach(() => redis.redis.admin.flushall());
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  const open = (port: number, path: string, lastEventId?: string): IdleClient => {
    const client = new IdleClient(connect(port, '127.0.0.1'), path, lastEventId);
    cleanups.push(() => client.socket.destroy());
    return client;
  };

  it(`gets ${ENTRIES} entries and uses no more memory than its send buffer and a page of the log`, async () => {
    const from = await fillLog(redis.redis.admin, 'load', ENTRIES, BYTES);
    const server = ChildProgram.start(
      'test/support/load-server.js',
      { SSE_REDIS_URL: redis.redis.url, SSE_SEND_BUFFER_MAX_BYTES: String(BUFFER_BYTES), SSE_HISTORY_TAIL: '0' },
      ['--expose-gc'],
    );
    cleanups.push(() => server.stop('SIGKILL'));
    const port = Number((await server.printed(/listening on (\d+)/))[1]);
    const used = async (): Promise<number> => {
      const { heapUsed, arrayBuffers } = await server.ask<LoadMemory>({ ask: 'memory' });
      return heapUsed + arrayBuffers;
    };
    // The first client that resumes makes a process load code and connect for reading.
    const warm = open(port, '/warm', from);
    warm.socket.resume();
    // Until it has everything, its pages take memory as well.
    await reached(() => warm.numbers.length, ENTRIES, 'entries of the first client');
    const before = await used();

    const client = open(port, '/slow', from);
    let most = 0;
    const watch = async (): Promise<void> => {
      most = Math.max(most, (await used()) - before);
    };
    for (let looks = 0; looks < 5; looks += 1) await watch();
    // A little at a time, then all of it.
    for (let sips = 0; sips < 5 || client.numbers.length === 0; sips += 1) {
      await client.sip();
      await watch();
    }
    expect(client.numbers.length).to.be.within(1, ENTRIES / 2);
    client.socket.resume();
    await reached(() => client.numbers.length, ENTRIES, 'entries');
    expect(client.numbers).to.deep.equal(Array.from({ length: ENTRIES }, (_, n) => n + 1));
    expect(client.names.has('sse.reset')).to.equal(false);
    expect(most, `${most} bytes`).to.be.lessThan(BUFFER_BYTES + PAGE_BYTES);
  }).timeout(300_000);

  it('is closed when it falls too far behind, and gets missed entries when it resumes, once', async () => {
    const app = await KoaApp.start({
      options: {
        redis: { url: redis.redis.url },
        sendBuffer: { maxBytes: 100_000 },
        history: { maxEntries: 10_000 },
      },
      after: [
        async ctx => {
          await ctx.sse.connect('slow', { topics: ['news'] });
        },
      ],
    });
    cleanups.push(() => app.close());
    const client = open(app.port, '/');
    // A connection that Redis was too late to register has no position yet.
    await until(() => app.service.connections().some(({ state, cursor }) => state === 'open' && cursor), 'the client');
    const padding = 'x'.repeat(8_000);
    let published = 0;
    while (app.service.hasLocal('slow')) {
      for (let n = 0; n < 50; n += 1) {
        published += 1;
        await app.service.publish('news', 'message', `${published} ${padding}`);
      }
      if (published > 5_000) throw new Error('it was never closed');
    }
    client.socket.resume();
    await until(() => client.closed, 'the end');
    const had = [...client.numbers];
    expect(had.length).to.be.within(1, published - 1);
    await app.service.publish('news', 'message', `${published + 1} last`);
    const again = open(app.port, '/', client.lastId);
    again.socket.resume();
    await until(() => again.numbers.at(-1) === published + 1, 'the rest', 20_000);
    const all = Array.from({ length: published + 1 }, (_, n) => n + 1);
    expect([...had, ...again.numbers]).to.deep.equal(all);
    expect([...client.names, ...again.names]).to.not.include('sse.reset');
  }).timeout(60_000);
});
