import { PassThrough } from 'node:stream';
import { expect } from 'chai';
import { injectable } from 'inversify';
import type Koa from 'koa';
import type { BrowserContext } from 'playwright-core';
import { SseEndpoint } from '../../src/index.js';
import { describeInBrowser } from '../support/browser.js';
import { ClientPage, clientPages } from '../support/client-page.js';
import { amount } from '../support/extent.js';
import { KoaApp } from '../support/koa-app.js';
import { until } from '../support/until.js';

@injectable()
class Streams {
  @SseEndpoint('/sse/:clientId', { topics: ['news'], methods: ['GET', 'POST'] })
  connect(): void {
    // Events come from the test.
  }
}

/** How the server ends a stream, and what the client does then. */
interface End {
  readonly reason: string;
  readonly then: 'stops' | 'comes back';
  /** The server refuses with a stream, instead of ending one that is open. */
  readonly refusal?: true;
  /** Default true: the client has a function that gives it new credentials. */
  readonly renews?: false;
}

const ENDS: readonly End[] = [
  ...['superseded', 'completed', 'logged-out'].map(reason => ({ reason, then: 'stops' as const })),
  ...['revoked', 'expired'].map(reason => ({ reason, then: 'stops' as const, renews: false as const })),
  ...['revoked', 'expired', 'closed', 'mine', 'draining', 'shutdown', 'max-age', 'idle', 'slow', 'stale', 'failed'].map(
    reason => ({ reason, then: 'comes back' as const }),
  ),
  ...['draining', 'full', 'rate-limited', 'unavailable', 'inconsistent', 'error'].map(reason => ({
    ...{ reason, then: 'comes back' as const, refusal: true as const },
  })),
];
/** Streams of one page at a time: a browser opens six connections to one host. */
const AT_ONCE = 5;

/** Answers of a server that cannot serve, by path and in order. */
const REFUSALS = new Map<string, (ctx: Koa.Context) => void>();

function answerRefusal(ctx: Koa.Context, reason: string): void {
  ctx.type = 'text/event-stream';
  ctx.body = `retry: 100\nevent: sse.closed\ndata: {"reason":"${reason}"}\n\n`;
}

const refuse: Koa.Middleware = async (ctx, next) => {
  const answer = REFUSALS.get(ctx.path);
  REFUSALS.delete(ctx.path);
  if (answer === undefined) await next();
  else answer(ctx);
};

describeInBrowser('client in a browser', chromium => {
  let context: BrowserContext;
  let app: KoaApp;
  let streams = 0;
  let published = 0;

  before(async () => {
    app = await KoaApp.start({
      controllers: [Streams],
      before: [refuse],
      after: [clientPages],
      options: { reconnect: { retry: 100, jitter: 50 } },
    });
  });
  beforeEach(async () => {
    context = await chromium.browser.newContext();
    published = 0;
    streams += 1;
  });
  afterEach(async () => {
    await context.close();
    await until(() => app.service.getConnectionCount() === 0, 'every stream to be gone');
  });
  after(() => app.close());

  const url = (): string => `/sse/s${streams}`;
  const open = (path?: string): Promise<ClientPage> => ClientPage.open(context, app.url, path);
  const publish = async (count = 1): Promise<void> => {
    for (let number = 0; number < count; number += 1) await app.service.publish('news', 'note', (published += 1));
  };
  const all = (): number[] => Array.from({ length: published }, (_, index) => index + 1);

  it('receives and comes back after a status and after a refusal that is a stream', async () => {
    REFUSALS.set(url(), ctx => (ctx.status = 503));
    const page = await open();
    await page.connect(url(), { delay: 50 });
    await page.state('open');
    await publish();
    await page.received(1);
    REFUSALS.set(url(), ctx => answerRefusal(ctx, 'full'));
    await app.service.closeConnection(`s${streams}`, 'closed');
    await page.page.waitForFunction("window.states.some(state => state.reason === 'full')");
    await publish();
    await page.received(2);
    expect(await page.got()).to.deep.equal(all());
    const reasons = (await page.states()).flatMap(({ kind, reason }) => (kind === 'waiting' ? [reason] : []));
    expect(reasons).to.deep.equal(['refused', 'closed', 'full']);
  });

  it('stops when a newer stream of its id takes over', async () => {
    const [older, newer] = [await open(), await open()];
    await older.connect(url());
    await older.state('open');
    await newer.connect(url());
    await older.state('closed', 'superseded');
    await newer.state('open');
  });

  it('says why each stream ended, and stops or comes back as the reason asks', async () => {
    const { page } = await open();
    await page.evaluate('window.ends = []');
    const ends = ENDS.map((end, n) => ({ ...end, n, id: `s${streams}-${n}` }));
    for (let first = 0; first < ends.length; first += AT_ONCE) {
      const batch = ends.slice(first, first + AT_ONCE);
      for (const { id, reason, refusal } of batch) {
        if (refusal) REFUSALS.set(`/sse/${id}`, ctx => answerRefusal(ctx, reason));
      }
      await page.evaluate(`for (const { id, n, renews } of ${JSON.stringify(batch)}) {
        const renewed = renews === false ? {} : { headers: () => ({}) };
        const stream = window.sse.connect('/sse/' + id, { delay: 50, stopOn: ['logged-out'], ...renewed });
        const states = [];
        stream.onState(({ kind, reason = '' }) => states.push(kind + ' ' + reason));
        window.ends[n] = { stream, states };
      }`);
      await until(() => batch.every(({ id }) => app.service.hasLocal(id)), 'the streams of this batch');
      for (const { id, reason, refusal } of batch) if (!refusal) await app.service.closeConnection(id, reason);
      for (const { n, reason, then, refusal } of batch) {
        const before = refusal ? ['connecting '] : ['connecting ', 'open '];
        const expected = then === 'stops' ? [`closed ${reason}`] : [`waiting ${reason}`, 'connecting ', 'open '];
        await page.waitForFunction(`window.ends[${n}].states.length >= ${before.length + expected.length}`);
        expect(await page.evaluate(`window.ends[${n}].states`), reason).to.deep.equal([...before, ...expected]);
      }
      await page.evaluate('window.ends.forEach(({ stream }) => stream.close())');
      await until(() => app.service.getConnectionCount() === 0, 'the streams of this batch to be gone');
    }
  });

  it('reads a POST stream, and one of EventSource', async () => {
    const page = await open();
    await page.connect(url(), { method: 'POST', body: '{}', headers: { 'content-type': 'application/json' } });
    await page.state('open');
    await page.run('window.stream.close()');
    await page.run(`
      window.stream = window.sse.connect('${url()}', { transport: window.sse.eventSourceTransport, delay: 50 });
      window.stream.on('note', data => window.got.push(data));`);
    await page.state('open');
    await publish();
    await page.received(1);
    await app.service.closeConnection(`s${streams}`, 'max-age');
    await publish();
    await page.received(2);
    expect(await page.got()).to.deep.equal(all());
  });

  it('resumes when the network is back', async () => {
    const page = await open();
    await page.connect(url(), { delay: 100 });
    await page.state('open');
    await publish();
    await page.received(1);
    await context.setOffline(true);
    for (const socket of app.sockets) socket.destroy();
    await page.state('waiting');
    await publish(2);
    await context.setOffline(false);
    await page.received(3);
    expect(await page.got()).to.deep.equal(all());
  });

  it('connects anew when the network may be another one', async () => {
    const page = await open();
    await page.connect(url(), { delay: 60_000 });
    await page.state('open');
    await publish();
    await page.received(1);
    await context.setOffline(true);
    await context.setOffline(false);
    await page.page.waitForFunction("window.states.filter(({ kind }) => kind === 'open').length === 2");
    await publish();
    await page.received(2);
    expect(await page.got()).to.deep.equal(all());
  });

  it('ends a connection that is silent, and resumes', async () => {
    const page = await open();
    REFUSALS.set(url(), ctx => {
      ctx.type = 'text/event-stream';
      ctx.body = new PassThrough();
      (ctx.body as PassThrough).write('event: connected\ndata: {"connectionId":"x","nodeId":"y"}\n\n');
    });
    await page.connect(url(), { silence: 500, delay: 50 });
    await page.page.waitForFunction("window.states.some(({ reason }) => reason === 'silent')");
    await page.state('open');
    await publish();
    await page.received(1);
  });

  it('stops at 204, and at the end of a source', async () => {
    const page = await open();
    REFUSALS.set(url(), ctx => (ctx.status = 204));
    await page.connect(url());
    await page.state('closed', 'completed');
    await page.connect(url());
    await page.state('open');
    await app.service.closeConnection(`s${streams}`, 'completed');
    await page.state('closed', 'completed');
  });

  it('resumes after the back/forward cache, and after a reload', async () => {
    const page = await open();
    // A lock or a channel of a shared stream would keep the page out of the cache as well.
    await page.connect(url(), { resume: 'session', share: true });
    await page.state('open');
    await publish();
    await page.received(1);
    await page.run("addEventListener('pageshow', event => (window.persisted = event.persisted))");
    await page.page.goto(`${app.url}/page/other`);
    await until(() => app.service.getConnectionCount() === 0, 'the page to end its connection');
    await publish(2);
    await page.page.goBack({ waitUntil: 'commit' });
    await page.received(3);
    expect(await page.page.evaluate('window.persisted'), 'the page was in the cache').to.equal(true);
    expect(await page.got()).to.deep.equal(all());

    await page.page.reload();
    await until(() => app.service.getConnectionCount() === 0, 'the page to end its connection');
    await publish(2);
    await page.page.waitForFunction('window.states');
    await page.connect(url(), { resume: 'session' });
    await page.received(2);
    expect(await page.got()).to.deep.equal(all().slice(-2));
  });

  it('gives up the connection of a page in the background, and resumes with the page', async () => {
    const page = await ClientPage.open(chromium.window, app.url);
    await page.connect(url(), { pauseHidden: 50, delay: 50 });
    await page.state('open');
    await publish();
    await page.received(1);
    const other = await chromium.window.newPage();
    await other.bringToFront();
    await page.state('paused', 'hidden');
    await until(() => app.service.getConnectionCount() === 0, 'the page to end its connection');
    await publish(2);
    await page.page.bringToFront();
    await page.received(3);
    expect(await page.got()).to.deep.equal(all());
    await Promise.all([page.page.close(), other.close()]);
  });

  it('comes back at once with a page that was in the background', async () => {
    const page = await ClientPage.open(chromium.window, app.url);
    await page.connect(url(), { delay: 60_000 });
    await page.state('open');
    const other = await chromium.window.newPage();
    await other.bringToFront();
    await page.page.waitForFunction("document.visibilityState === 'hidden'");
    REFUSALS.set(url(), ctx => (ctx.status = 502));
    for (const socket of app.sockets) socket.destroy();
    await page.state('waiting');
    await page.page.bringToFront();
    await page.page.waitForFunction("window.states.filter(({ kind }) => kind === 'open').length === 2");
    await Promise.all([page.page.close(), other.close()]);
  });

  it('is a React hook, whose stream lives as long as its component', async () => {
    const { page } = await open();
    await page.addScriptTag({ url: '/react.js', type: 'module' });
    await page.waitForFunction('window.show');
    await page.evaluate(`window.show('${url()}')`);
    await page.waitForSelector('p[data-state=open]', { state: 'attached' });
    await publish(2);
    await page.waitForFunction("document.querySelector('p').textContent === '1 2'");
    expect(app.service.getConnectionCount()).to.equal(1);
    await page.evaluate('window.show(null)');
    await page.waitForSelector('p[data-state=closed]', { state: 'attached' });
    await until(() => app.service.getConnectionCount() === 0, 'the end of the stream');
  });

  describe('that shares', () => {
    it('has one connection for ten tabs, and loses nothing when the leader closes', async function () {
      this.timeout(120_000);
      const rounds = amount(3, 20);
      const tabs: ClientPage[] = [];
      const join = async (page: ClientPage): Promise<void> => {
        await page.connect(url(), { share: true, delay: 50 });
        tabs.push(page);
        // Tabs lead in the order in which they joined.
        await page.state('open');
      };
      for (const page of await Promise.all(Array.from({ length: 10 }, () => open()))) await join(page);
      expect(app.service.getConnectionCount()).to.equal(1);
      // What a tab has received by the time it joins, so that the rest is what it must receive.
      const joined = new Map(tabs.map(tab => [tab, 0]));
      for (let round = 0; round < rounds; round += 1) {
        await publish(2);
        const leader = tabs.shift();
        const closing = round % 2 === 0 ? leader?.page.close() : leader?.run('window.stream.close()');
        await publish(2);
        await closing;
        await publish(2);
        for (const tab of tabs) await tab.received(published - (joined.get(tab) ?? 0));
        await join(await open());
        const newest = tabs.at(-1);
        if (newest !== undefined) joined.set(newest, published);
      }
      for (const tab of tabs) expect(await tab.got()).to.deep.equal(all().slice(joined.get(tab)));
      for (const tab of tabs) expect(await tab.gaps()).to.deep.equal([]);
      expect(app.service.getConnectionCount()).to.equal(1);
    });
  });
});
