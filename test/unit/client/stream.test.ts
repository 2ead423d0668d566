import { getEventListeners } from 'node:events';
import { expect } from 'chai';
import sinon from 'sinon';
import {
  connect,
  type ConnectOptions,
  eventSourceTransport,
  type Gap,
  type SseStream,
} from '../../../src/client/index.js';
import { ScriptedFetch } from '../../support/scripted-fetch.js';

const URL = 'http://server.test/sse/me';
const SECOND = 1_000;

/** Ids of the library's log. */
const id = (sequence: number, epoch = 'e'): string => `${epoch}.${(1_000).toString(36)}-${sequence.toString(36)}`;

describe('client: a stream', () => {
  let clock: sinon.SinonFakeTimers;
  let server: ScriptedFetch;
  let stream: SseStream;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    server = new ScriptedFetch();
  });
  afterEach(() => {
    stream.close();
    clock.restore();
  });

  const start = async (options: ConnectOptions = {}): Promise<void> => {
    stream = connect(URL, { fetch: server.fetch, ...options });
    await clock.tickAsync(0);
  };
  const settled = (): Promise<number> => clock.tickAsync(0);
  /** Whether the next request comes within this time, and not before `from`. */
  const comesBack = async (from: number, to: number): Promise<void> => {
    const before = server.requests.length;
    await clock.tickAsync(from - 1);
    expect(server.requests, `requests after ${from} ms`).to.have.length(before);
    await clock.tickAsync(to - from + 1);
    expect(server.requests, `requests after ${to} ms`).to.have.length(before + 1);
  };

  describe('events', () => {
    it('reach the listeners of their name, parsed, with the last id', async () => {
      await start();
      const ticks: unknown[] = [];
      stream.on('tick', (data, { lastEventId }) => ticks.push([data, lastEventId]));
      server.last.open(id(1));
      server.last.send(
        `id: ${id(2)}\nevent: tick\ndata: {"at":1}\n\nevent: tick\ndata: plain\n\nevent: no\ndata: 1\n\n`,
      );
      await settled();
      expect(ticks).to.deep.equal([
        [{ at: 1 }, id(2)],
        ['plain', id(2)],
      ]);
      expect(stream.state).to.deep.equal({ kind: 'open', connectionId: 'c', nodeId: 'n' });
    });

    it('reach a listener of once one time, and none that was removed', async () => {
      await start();
      const got: unknown[] = [];
      const listener = (data: unknown): void => void got.push(data);
      stream.once('a', data => got.push(['once', data]));
      stream.on('a', listener);
      const off = stream.on('a', () => got.push('never'));
      off();
      server.last.open();
      server.last.send('event: a\ndata: 1\n\n');
      await settled();
      stream.off('a', listener);
      server.last.send('event: a\ndata: 2\n\n');
      await settled();
      expect(got).to.deep.equal([['once', 1], 1]);
    });

    it('reach the other listeners when one throws, which is reported', async () => {
      const errors: unknown[] = [];
      await start({ onError: error => errors.push(error), parse: text => JSON.parse(text) as unknown });
      const got: unknown[] = [];
      stream.on('a', () => {
        throw new Error('mine');
      });
      stream.on('a', data => got.push(data));
      server.last.open();
      server.last.send('event: a\ndata: 1\n\nevent: a\ndata: no json\n\nevent: a\ndata: 2\n\n');
      await settled();
      expect(got).to.deep.equal([1, 2]);
      expect(errors.map(error => (error as Error).name)).to.deep.equal(['Error', 'SyntaxError', 'Error']);
      expect(server.requests).to.have.length(1);
    });

    it('are read by several iterations, which end with the stream', async () => {
      await start();
      const read = async (): Promise<string[]> => {
        const names: string[] = [];
        for await (const { event } of stream) names.push(event);
        return names;
      };
      const both = [read(), read()];
      await settled();
      server.last.open();
      server.last.send('event: a\ndata: 1\n\nevent: b\ndata: 1\n\n');
      await settled();
      server.last.close('completed');
      const expected = ['connected', 'a', 'b', 'sse.closed'];
      expect(await Promise.all(both)).to.deep.equal([expected, expected]);
      expect(await read()).to.deep.equal([]);
    });

    it('are not kept without bound for an iteration that does not read them', async () => {
      await start();
      const iterator = stream[Symbol.asyncIterator]();
      const first = iterator.next();
      server.last.open();
      server.last.send('data: 1\n\n'.repeat(20_000));
      await settled();
      expect((await first).value).to.include({ event: 'connected' });
      let read = 0;
      const rest = (async (): Promise<void> => {
        while ((await iterator.next()).done !== true) read += 1;
      })();
      const error = await rest.catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(Error);
      expect(read).to.be.within(9_999, 10_000);
    });
  });

  describe('resuming', () => {
    it('brings the last id, of a quiet block as well, and delivers nothing twice', async () => {
      await start();
      const got: unknown[] = [];
      stream.on('message', data => got.push(data));
      server.last.open(id(1));
      server.last.send(`id: ${id(2)}\ndata: 2\n\nid: ${id(3)}\n\n`);
      await settled();
      server.last.end();
      await comesBack(SECOND, 1.5 * SECOND);
      expect(server.last.lastEventId).to.equal(id(3));
      server.last.open(id(3));
      server.last.send(`id: ${id(2)}\ndata: 2\n\nid: ${id(4)}\ndata: 4\n\nid: ${id(4)}\ndata: 4\n\n`);
      await settled();
      expect(got).to.deep.equal([2, 4]);
      expect(stream.lastEventId).to.equal(id(4));
    });

    it('begins after the id that it is given', async () => {
      await start({ lastEventId: id(7) });
      expect(server.last.lastEventId).to.equal(id(7));
    });

    it('sends an id of any characters as UTF-8', async () => {
      await start({ lastEventId: 'é' });
      expect(server.last.lastEventId).to.equal(Buffer.from('é').toString('latin1'));
    });

    it('keeps its id through a refusal, and through a stream that sends none', async () => {
      await start({ lastEventId: 'mine' });
      server.last.head();
      server.last.close('full', 5_000);
      await comesBack(5_000, 7_500);
      expect(server.last.lastEventId).to.equal('mine');
    });

    it('reports gaps before what follows them, and goes back only when it is ahead of the log', async () => {
      await start({ lastEventId: id(9, 'old') });
      const got: unknown[] = [];
      stream.onGap((gap: Gap) => got.push([gap.reason, gap.topics]));
      stream.on('message', data => got.push(data));
      const reset = (reason: string, at: string): string =>
        `id: ${at}\nevent: sse.reset\ndata: {"reason":"${reason}","topics":["a"],"resumedFrom":"${at}"}\n\n`;
      server.last.open();
      server.last.send(`${reset('EPOCH', id(5))}id: ${id(6)}\ndata: 6\n\n`);
      server.last.send(`${reset('GAP', id(3))}id: ${id(6)}\ndata: again\n\n`);
      server.last.send(`${reset('AHEAD', id(2))}id: ${id(3)}\ndata: 3\n\n`);
      await settled();
      expect(got).to.deep.equal([['EPOCH', ['a']], 6, ['GAP', ['a']], ['AHEAD', ['a']], 3]);
    });
  });

  describe('requests', () => {
    it('carry headers, method, body and credentials, computed for each attempt', async () => {
      let token = 0;
      await start({
        headers: async () => ({ authorization: `t${(token += 1)}` }),
        method: 'POST',
        body: () => `b${token}`,
        credentials: 'include',
      });
      server.last.fail('broken');
      await comesBack(SECOND, 1.5 * SECOND);
      const { method, credentials, headers } = server.last.init;
      const body: unknown = server.last.init.body;
      expect({ method, body, credentials, headers }).to.deep.equal({
        method: 'POST',
        body: 'b2',
        credentials: 'include',
        headers: { accept: 'text/event-stream', authorization: 't2' },
      });
    });
  });

  it('has a connection of its own where tabs cannot share one', async () => {
    // An insecure page has no locks, older browsers have no channel either.
    const channel = Object.getOwnPropertyDescriptor(globalThis, 'BroadcastChannel') ?? {};
    Reflect.deleteProperty(globalThis, 'BroadcastChannel');
    try {
      await start({ share: true });
    } finally {
      Object.defineProperty(globalThis, 'BroadcastChannel', channel);
    }
    server.last.open();
    await settled();
    expect(stream.state.kind).to.equal('open');
  });

  describe('reconnects', () => {
    it('with growing pauses up to the longest one', async () => {
      await start({ maxDelay: 5_000 });
      const bounds = [
        [1_000, 1_500],
        [1_000, 2_000],
        [2_000, 4_000],
        [2_500, 5_000],
        [2_500, 5_000],
      ] as const;
      for (const [from, to] of bounds) {
        server.last.fail('no network');
        await settled();
        expect(stream.state).to.deep.include({ kind: 'waiting', reason: 'failed' });
        await comesBack(from, to);
      }
    });

    it('soon again after a stream that lasted, and not after one that did not', async () => {
      await start();
      for (let failure = 0; failure < 4; failure += 1) {
        server.last.fail('no network');
        await clock.tickAsync(30 * SECOND);
      }
      server.last.open();
      await clock.tickAsync(SECOND);
      server.last.end();
      await settled();
      await clock.tickAsync(7 * SECOND);
      expect(server.requests).to.have.length(5);
      await clock.tickAsync(30 * SECOND);
      server.last.open();
      await clock.tickAsync(6 * SECOND);
      server.last.end();
      await settled();
      await comesBack(SECOND, 1.5 * SECOND);
    });

    it('no earlier than the server asks, by retry or Retry-After', async () => {
      await start();
      server.last.open(undefined, 3_000);
      await settled();
      server.last.end();
      await settled();
      await comesBack(3_000, 4_500);
      server.last.refuse(503, { 'retry-after': '60' });
      await settled();
      await comesBack(60_000, 70_000);
      server.last.refuse(429, { 'retry-after': new Date(Date.now() + 90_000).toUTCString() });
      await settled();
      await comesBack(89_000, 110_000);
    });

    for (const reason of ['draining', 'shutdown', 'max-age', 'idle', 'closed', 'failed', 'slow', 'mine']) {
      it(`after ${reason}`, async () => {
        await start();
        server.last.open();
        server.last.close(reason, 2_000);
        await settled();
        expect(stream.state).to.deep.include({ kind: 'waiting', reason });
        await comesBack(2_000, 3_000);
      });
    }

    for (const reason of ['superseded', 'completed', 'revoked', 'expired', 'logged-out']) {
      it(`never after ${reason}`, async () => {
        await start({ stopOn: ['logged-out'] });
        server.last.open();
        server.last.close(reason);
        await settled();
        expect(await stream.closed).to.deep.equal({ kind: 'closed', reason });
        await clock.tickAsync(60 * SECOND);
        expect(server.requests).to.have.length(1);
      });
    }

    for (const reason of ['revoked', 'expired']) {
      it(`after ${reason} with new credentials`, async () => {
        await start({ headers: () => ({ authorization: 'new' }) });
        server.last.open();
        server.last.close(reason);
        await settled();
        await comesBack(SECOND, 1.5 * SECOND);
      });
    }

    for (const status of [408, 425, 429, 500, 502, 503, 504]) {
      it(`after status ${status}`, async () => {
        await start();
        server.last.refuse(status);
        await settled();
        expect(stream.state).to.deep.include({ kind: 'waiting', reason: 'refused', status });
        await comesBack(SECOND, 1.5 * SECOND);
      });
    }

    for (const status of [200, 400, 401, 403, 404, 406, 409, 413, 422]) {
      it(`never after status ${status} without a stream`, async () => {
        await start();
        const iteration = stream[Symbol.asyncIterator]()
          .next()
          .catch((error: unknown) => error);
        await settled();
        server.last.refuse(status);
        await settled();
        expect(await stream.closed).to.include({ kind: 'closed', reason: 'refused', status });
        expect(await iteration).to.be.instanceOf(Error);
      });
    }

    it('never after 204, which says that the source has ended', async () => {
      await start();
      server.last.refuse(204);
      await settled();
      expect(await stream.closed).to.deep.equal({ kind: 'closed', reason: 'completed', status: 204 });
    });

    it('once after 401 when the headers can be renewed', async () => {
      await start({ headers: () => ({ authorization: 'token' }) });
      server.last.refuse(401);
      await settled();
      await comesBack(SECOND, 1.5 * SECOND);
      server.last.refuse(401);
      await settled();
      expect(await stream.closed).to.include({ reason: 'refused', status: 401 });
    });

    it('when the stream is silent for too long, from the request on', async () => {
      await start({ silence: 10_000 });
      await clock.tickAsync(10_000);
      expect(stream.state).to.deep.include({ kind: 'waiting', reason: 'silent' });
      expect(server.last.init.signal.aborted).to.equal(true);
      await comesBack(SECOND, 1.5 * SECOND);
      server.last.open();
      for (let beat = 0; beat < 5; beat += 1) {
        await clock.tickAsync(9_000);
        server.last.send(':\n\n');
      }
      await settled();
      expect(stream.state.kind).to.equal('open');
      await clock.tickAsync(10_000);
      expect(stream.state).to.deep.include({ kind: 'waiting', reason: 'silent' });
    });

    it('when the headers never come', async () => {
      await start({ silence: 10_000, headers: () => new Promise(() => undefined) });
      await clock.tickAsync(10_000);
      expect(stream.state).to.deep.include({ kind: 'waiting', reason: 'silent' });
    });

    it('not at once when the server asks for no pause', async () => {
      await start();
      server.last.open(undefined, 0);
      server.last.end();
      await settled();
      await comesBack(50, 100);
      server.last.fail('no network');
      await settled();
      await comesBack(100, 200);
    });

    it('at once when a listener asks for it, and never when it closes the stream', async () => {
      await start();
      stream.onState(({ kind }) => {
        if (kind !== 'waiting') return;
        if (server.requests.length < 3) stream.reconnect();
        else stream.close();
      });
      for (let request = 1; request <= 3; request += 1) {
        expect(server.requests).to.have.length(request);
        server.last.fail('no network');
        await settled();
      }
      expect(stream.state).to.deep.equal({ kind: 'closed', reason: 'client' });
      expect(clock.countTimers(), 'timers that keep the process alive').to.equal(0);
    });

    it('at once when the application asks for it', async () => {
      await start();
      server.last.open(id(1));
      await settled();
      stream.reconnect();
      await settled();
      expect(server.requests[0]?.init.signal.aborted).to.equal(true);
      expect(server.last.lastEventId).to.equal(id(1));
    });
  });

  describe('held wrong', () => {
    it('throws for a URL without a host where no page completes it', () => {
      expect(() => connect('/sse/me')).to.throw(TypeError);
    });

    it('ends at once, and says why, with options that its transport cannot use', async () => {
      await start({ transport: eventSourceTransport, headers: { authorization: 'token' } });
      expect(await stream.closed).to.include({ kind: 'closed', reason: 'unusable' });
      expect((await stream.closed).message).to.include('use fetchTransport');
      const error = await stream[Symbol.asyncIterator]()
        .next()
        .catch((reason: unknown) => reason);
      expect(error).to.be.instanceOf(Error);
      // What a program without types may pass.
      await start({ confirm: true as unknown as NonNullable<ConnectOptions['confirm']> });
      expect((await stream.closed).reason).to.equal('unusable');
    });

    it('posts a body, and goes on without a session storage', async () => {
      const errors: unknown[] = [];
      const forbidden = (): never => {
        throw new Error('the storage is forbidden');
      };
      const storage = Object.getOwnPropertyDescriptor(globalThis, 'sessionStorage');
      Object.defineProperty(globalThis, 'sessionStorage', { get: forbidden, configurable: true });
      try {
        await start({ body: '{}', resume: 'session', onError: error => errors.push(error) });
      } finally {
        Reflect.deleteProperty(globalThis, 'sessionStorage');
        if (storage !== undefined) Object.defineProperty(globalThis, 'sessionStorage', storage);
      }
      expect(server.last.init.method).to.equal('POST');
      server.last.open(id(1));
      await settled();
      expect(stream.state.kind).to.equal('open');
      expect(errors).to.have.length(1);
    });
  });

  describe('the end', () => {
    it('comes with close, which cuts the connection and starts no other', async () => {
      await start();
      server.last.open();
      await settled();
      stream.close();
      expect(await stream.closed).to.deep.equal({ kind: 'closed', reason: 'client' });
      expect(server.last.init.signal.aborted).to.equal(true);
      stream.reconnect();
      await clock.tickAsync(60 * SECOND);
      expect(server.requests).to.have.length(1);
    });

    it('comes with the signal, also one that was aborted before', async () => {
      const controller = new AbortController();
      await start({ signal: controller.signal });
      controller.abort();
      expect(await stream.closed).to.deep.equal({ kind: 'closed', reason: 'aborted' });
      expect(getEventListeners(controller.signal, 'abort')).to.deep.equal([]);
      await start({ signal: controller.signal });
      expect(stream.state).to.deep.equal({ kind: 'closed', reason: 'aborted' });
      expect(server.requests).to.have.length(1);
    });

    it('may come from a listener', async () => {
      await start();
      const got: unknown[] = [];
      stream.on('message', data => {
        got.push(data);
        stream.close();
      });
      server.last.open();
      server.last.send('data: 1\n\ndata: 2\n\n');
      await settled();
      expect(got).to.deep.equal([1]);
    });
  });
});
