import { expect } from 'chai';
import fc from 'fast-check';
import sinon from 'sinon';
import { connect, type ConnectOptions, type FetchInit, type SseStream } from '../../../src/client/index.js';
import { amount } from '../../support/extent.js';
import { FakeTabs } from '../../support/fake-tabs.js';
import { ScriptedRequest } from '../../support/scripted-fetch.js';

const idOf = (entry: number): string => `e.${(1_000).toString(36)}-${entry.toString(36)}`;
const entryOf = (id: string): number => parseInt(id.slice(id.indexOf('-') + 1), 36);

/** A server with a log that is kept whole. */
class Server {
  head = 5;
  readonly requests: ScriptedRequest[] = [];
  /** Milliseconds until it notices that a client is gone; until then the next one takes the connection id over. */
  noticesWithin = 0;
  refusing = false;
  #takeovers = 0;
  #owned = false;

  readonly fetch = (url: string, init: FetchInit): Promise<Response> => {
    const request = new ScriptedRequest(url, init);
    setTimeout(() => this.#answer(request), 30);
    return request.response;
  };

  get open(): ScriptedRequest[] {
    return this.requests.filter(({ init }) => !init.signal.aborted);
  }

  publish(): void {
    this.head += 1;
    for (const request of this.open) this.#send(request, this.head);
  }

  /** Ends the present connection. */
  cut(): void {
    for (const request of this.open) request.fail('cut');
  }

  #answer(request: ScriptedRequest): void {
    if (request.init.signal.aborted) return;
    if (this.refusing || (this.#owned && (this.#takeovers += 1) > 5)) {
      request.refuse(204);
      return;
    }
    this.#owned = true;
    request.init.signal.addEventListener('abort', () => {
      setTimeout(() => (this.#owned = this.open.length > 0), this.noticesWithin);
    });
    this.requests.push(request);
    const from = request.lastEventId === undefined ? this.head : entryOf(request.lastEventId);
    request.open(idOf(from), 100);
    for (let entry = from + 1; entry <= this.head; entry += 1) this.#send(request, entry);
  }

  #send(request: ScriptedRequest, entry: number): void {
    request.send(`id: ${idOf(entry)}\ndata: ${entry}\n\n`);
  }
}

interface Tab {
  readonly stream: SseStream;
  readonly got: (number | 'gap')[];
}

describe('client: a shared stream', () => {
  let clock: sinon.SinonFakeTimers;
  let tabs: FakeTabs;
  let server: Server;
  let all: Tab[];
  let delay: (from: number, to: number) => number;

  const setUp = (): void => {
    clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });
    delay = (): number => 1;
    tabs = new FakeTabs((from, to) => delay(from, to));
    tabs.install();
    server = new Server();
    all = [];
  };
  const tearDown = (): void => {
    for (const { stream } of all) stream.close();
    tabs.uninstall();
    clock.restore();
  };
  const join = (options: ConnectOptions = {}): Tab => {
    const stream = connect('http://server.test/', { share: true, fetch: server.fetch, ...options });
    const tab: Tab = { stream, got: [] };
    stream.on('message', data => tab.got.push(Number(data)));
    stream.onGap(() => tab.got.push('gap'));
    all.push(tab);
    return tab;
  };

  describe('among tabs', () => {
    beforeEach(setUp);
    afterEach(tearDown);

    it('has one connection, whose events and states reach every tab', async () => {
      const three = [join(), join(), join()];
      await clock.tickAsync(100);
      server.publish();
      await clock.tickAsync(100);
      expect(three.map(({ got }) => got)).to.deep.equal([[6], [6], [6]]);
      expect(three.map(({ stream }) => stream.state.kind)).to.deep.equal(['open', 'open', 'open']);
      server.cut();
      await clock.tickAsync(10);
      expect(three.map(({ stream }) => stream.state.kind)).to.deep.equal(['waiting', 'waiting', 'waiting']);
      three[2]?.stream.reconnect();
      await clock.tickAsync(80);
      expect(three.map(({ stream }) => stream.state.kind)).to.deep.equal(['open', 'open', 'open']);
      expect(server.requests).to.have.length(2);
    });

    it('goes on in a tab that has got no event yet', async () => {
      const first = join();
      await clock.tickAsync(100);
      const second = join();
      await clock.tickAsync(100);
      first.stream.close();
      server.publish();
      await clock.tickAsync(1_000);
      expect(second.got).to.deep.equal([6]);
    });

    it('goes back for a tab that begins at an older position, and repeats nothing to the others', async () => {
      const first = join();
      await clock.tickAsync(100);
      server.publish();
      server.publish();
      await clock.tickAsync(100);
      const second = join({ lastEventId: idOf(3) });
      await clock.tickAsync(200);
      server.publish();
      await clock.tickAsync(100);
      expect(first.got).to.deep.equal([6, 7, 8]);
      expect(second.got).to.deep.equal([4, 5, 6, 7, 8]);
    });

    it('ends in every tab when the server ends it for good', async () => {
      const two = [join(), join()];
      await clock.tickAsync(100);
      server.requests[0]?.close('superseded');
      await clock.tickAsync(100);
      expect(two.map(({ stream }) => stream.state)).to.deep.equal(
        [1, 2].map(() => ({ kind: 'closed', reason: 'superseded' })),
      );
    });

    it('survives the closing of twenty leaders whose end the server notices late', async () => {
      server.noticesWithin = 400;
      for (let tab = 0; tab < 10; tab += 1) join();
      await clock.tickAsync(200);
      for (let round = 0; round < 20; round += 1) {
        server.publish();
        await clock.tickAsync(50);
        all.shift()?.stream.close();
        server.publish();
        await clock.tickAsync(500);
        join();
      }
      await clock.tickAsync(5_000);
      server.publish();
      await clock.tickAsync(100);
      expect(all.map(({ stream }) => stream.state.kind)).to.deep.equal(Array(10).fill('open'));
      for (const { got } of all) {
        expect(got).to.deep.equal(
          Array.from({ length: got.length }, (_, index) => server.head - got.length + 1 + index),
        );
      }
    });

    it('ends when the server says again and again that it has ended', async () => {
      const [first, second] = [join(), join()];
      await clock.tickAsync(100);
      server.refusing = true;
      first.stream.close();
      await clock.tickAsync(10_000);
      expect(second.stream.state).to.include({ kind: 'closed', reason: 'completed' });
    });

    it('goes back for a tab that the messages of the former leader reach later than those of the next one', async () => {
      const [first, , third] = [join(), join(), join()];
      await clock.tickAsync(100);
      delay = (from, to): number => (`${from}${to}` === '02' || `${from}${to}` === '21' ? 500 : 1);
      server.publish();
      await clock.tickAsync(10);
      first.stream.close();
      await clock.tickAsync(100);
      server.publish();
      await clock.tickAsync(2_000);
      expect(third.got).to.deep.equal([6, 7]);
    });

    it('is led by another tab when the leader falls silent, and the former leader follows', async () => {
      const [first, second] = [join({ silence: 10_000 }), join({ silence: 10_000 })];
      await clock.tickAsync(100);
      // A frozen tab: nothing that it sends arrives.
      delay = (from): number => (from === 0 ? 1e9 : 1);
      await clock.tickAsync(15_000);
      expect(server.open).to.have.length(1);
      server.publish();
      await clock.tickAsync(100);
      expect([first.got, second.got]).to.deep.equal([[6], [6]]);
    });
  });

  it('brings each tab every entry once, whenever tabs join and close and however long messages take', async () => {
    const act = fc.oneof(
      { weight: 4, arbitrary: fc.constant('publish' as const) },
      { weight: 3, arbitrary: fc.record({ wait: fc.nat(120) }) },
      fc.constantFrom('join' as const, 'close-first' as const, 'close-last' as const, 'cut' as const),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(act, { maxLength: 40 }),
        fc.array(fc.nat(80), { minLength: 1 }),
        async (acts, delays) => {
          setUp();
          try {
            let sent = 0;
            delay = (): number => delays[(sent += 1) % delays.length] ?? 0;
            for (let tab = 0; tab < 3; tab += 1) join();
            await clock.tickAsync(500);
            for (const next of acts) {
              if (next === 'publish') server.publish();
              else if (next === 'join') join();
              else if (next === 'cut') server.cut();
              else if (next === 'close-first') all.shift()?.stream.close();
              else if (next === 'close-last') all.pop()?.stream.close();
              else await clock.tickAsync(next.wait);
            }
            await clock.tickAsync(5_000);
            server.publish();
            await clock.tickAsync(5_000);
            expect(server.open.length).to.equal(all.length > 0 ? 1 : 0);
            for (const { got } of all) {
              const expected = Array.from({ length: got.length }, (_, index) => server.head - got.length + 1 + index);
              expect(got).to.deep.equal(expected);
              expect(got.length).to.be.greaterThan(0);
            }
          } finally {
            tearDown();
          }
        },
      ),
      { numRuns: amount(60, 2_000) },
    );
  });
});
