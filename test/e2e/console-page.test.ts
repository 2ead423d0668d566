import { expect } from 'chai';
import type Koa from 'koa';
import type { Browser, BrowserContext, Locator, Page } from 'playwright-core';
import { type About, sseConsole } from '../../src/console/index.js';
import type { ResumableSource, SseEvent, SseGuard, SseRequest } from '../../src/index.js';
import { SseEndpoint } from '../../src/index.js';
import { examinedContext, layoutShift, overflows, violationsOf } from '../support/accessibility.js';
import { launchBrowser } from '../support/browser.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { KoaApp } from '../support/koa-app.js';

const HOSTILE = '<img src=x onerror=alert(1)>';

class Users implements SseGuard {
  canConnect({ headers }: SseRequest): { readonly user: string } | true {
    const user = headers['x-user'];
    return typeof user === 'string' ? { user } : true;
  }
}

class Streams {
  @SseEndpoint('/sse/:clientId', { guards: [Users], topics: ({ query }) => [String(query['topic'] ?? 'news')] })
  connect(): void {
    // Events come from the page.
  }

  @SseEndpoint('/answers/:key', { resumable: ({ params }) => params['key'] ?? '' })
  async *answer({ signal }: ResumableSource): AsyncGenerator<SseEvent> {
    yield { event: 'word', data: 'first' };
    await new Promise(resolve => signal.addEventListener('abort', resolve));
  }
}

describe('the page of the console', () => {
  let browser: Browser | undefined;
  let context: BrowserContext;
  let app: KoaApp;
  let page: Page;
  const clients: EventStreamClient[] = [];
  const problems: string[] = [];

  before(async function () {
    this.timeout(60_000);
    browser = await launchBrowser();
    if (browser === undefined) this.skip();
    let shown: Koa.Middleware | undefined;
    app = await KoaApp.start({
      controllers: [Streams],
      bind: container => container.bind<SseGuard>(Users).toSelf(),
      before: [
        async (ctx, next) => {
          shown ??= sseConsole(app.container, { guard: false });
          await shown(ctx, next);
        },
      ],
      options: { node: { id: 'node-a' } },
    });
    context = await examinedContext(browser, { colorScheme: 'light', width: 1280 });
    page = await context.newPage();
    page.on('pageerror', error => problems.push(error.message));
    page.on('console', message => {
      if (message.type() === 'error') problems.push(message.text());
    });
    await page.goto(`${app.url}/console/`);
    await page.getByText('live', { exact: true }).waitFor();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });
  after(async () => {
    await browser?.close();
    if (browser !== undefined) await app.close();
  });

  const connect = async (id: string, user?: string, topic = 'news'): Promise<EventStreamClient> => {
    const url = `${app.url}/sse/${encodeURIComponent(id)}?topic=${encodeURIComponent(topic)}`;
    const client = await EventStreamClient.open(url, { headers: user === undefined ? {} : { 'X-User': user } });
    clients.push(client);
    await client.event('connected');
    return client;
  };
  const show = async (view: string): Promise<void> => page.getByRole('link', { name: view, exact: true }).click();
  const row = (text: string): Locator => page.getByRole('row').filter({ hasText: text });
  const reported = (text: string | RegExp): Promise<void> => page.locator('#toast').getByText(text).waitFor();
  const confirm = async (name: string): Promise<void> =>
    page.getByRole('dialog').getByRole('button', { name, exact: true }).click();

  it('shows the node with its connections, and what happens, as text', async () => {
    const client = await connect(HOSTILE);
    await page.locator('.node[data-node=node-a] .connections').getByText('1', { exact: true }).waitFor();
    await page.locator('.feed').getByText(`${HOSTILE} connected to node-a`).waitFor();
    client.leave();
    await page.locator('.feed').getByText(`${HOSTILE} on node-a ended`).waitFor();
    expect(await page.locator('.node .badge').allTextContents()).to.deep.equal(['ready', 'lease held']);
  });

  it('shows a takeover, and narrows what happens to a kind', async () => {
    await connect('twice');
    await connect('twice');
    const takeover = page.locator('.feed').getByText('a newer stream of twice ended the one on node-a');
    await takeover.waitFor();
    await page.getByLabel('Kind').selectOption('connect');
    expect(await takeover.isVisible()).to.equal(false);
    await page.getByLabel('Kind').selectOption('');
  });

  it('draws the rate of deliveries', async () => {
    await connect('reader');
    await app.service.publish('news', 'note', 1);
    const chart = page
      .locator('.chart')
      .filter({ has: page.getByRole('heading', { name: 'Deliveries', exact: true }) });
    await chart.locator('.no-data').waitFor({ state: 'hidden' });
    expect(await chart.locator('path.series-1').getAttribute('d')).to.match(/^M[\d.]+ [\d.]+L/);
  });

  it('finds connections by id, user and topic, and turns pages', async () => {
    await Promise.all(Array.from({ length: 55 }, (_, n) => connect(`c-${String(n).padStart(2, '0')}`)));
    await connect('tab', 'alice', 'weather');
    await show('Connections');
    const rows = page.locator('tbody tr');
    await page.getByText('1 to 50 of 56 that match, 56 in all').waitFor();
    expect(await rows.count()).to.equal(50);
    await page.getByRole('button', { name: 'Next' }).click();
    await page.getByText('51 to 56 of 56').waitFor();
    await page.getByLabel('Search').fill('alice');
    await page.getByText('1 to 1 of 1 that match').waitFor();
    expect(await rows.locator('td').allTextContents()).to.include.members(['alice/tab', 'alice', 'weather', 'open']);
    await page.getByLabel('Search').fill('');
    await page.getByLabel('Topic').fill('weather');
    await page.getByText('1 to 1 of 1 that match').waitFor();
    await page.getByLabel('Topic').fill('nothing');
    await page.getByText('No connection matches. Clear a filter to see more of them.').waitFor();
    await page.getByLabel('Topic').fill('');
  });

  it('sends to a connection, and closes one, after a question', async () => {
    const plain = await connect('plain');
    await show('Connections');
    await page.getByRole('button', { name: 'Send to plain' }).click();
    await page.getByLabel('Event').fill('note');
    await page.getByLabel('Data').fill('{"n":1}');
    await confirm('Send');
    await reported(/^Send: (delivered|buffered) in /);
    expect((await plain.event('note')).data).to.equal('{"n":1}');

    await page.getByRole('button', { name: 'Close plain' }).click();
    await page.keyboard.press('Escape');
    await page.getByRole('button', { name: 'Close plain' }).click();
    await page.getByLabel('Reason').fill('tired');
    await confirm('Close the connection');
    await reported('1 stream closed');
    expect((await plain.event('sse.closed')).data).to.equal('{"reason":"tired"}');
  });

  it('revokes a user where the visitor may, and says why an action is refused', async () => {
    await connect('tab', 'alice');
    const other = await context.newPage();
    const asked: unknown[] = [];
    await other.route('**/api/about', async route => {
      const answer = (await (await route.fetch()).json()) as About;
      await route.fulfill({ json: { ...answer, actions: ['revoke'] } });
    });
    await other.route('**/api/revoke', async route => {
      asked.push(route.request().postDataJSON());
      const error = { code: 'FORBIDDEN', message: 'the guard does not admit this visitor' };
      if (asked.length === 1) await route.fulfill({ status: 409, json: { error } });
      else await route.fulfill({ json: { closed: 2, missing: [], unavailable: null } });
    });
    await other.goto(`${app.url}/console/#connections`);
    await other.getByRole('button', { name: 'Revoke alice' }).click();
    expect(await other.getByRole('button', { name: 'Send to alice/tab' }).count()).to.equal(0);
    const dialog = other.getByRole('dialog');
    await dialog.getByRole('button', { name: 'Revoke the user' }).click();
    await dialog.getByRole('alert').getByText('the guard does not admit this visitor').waitFor();
    await dialog.getByRole('button', { name: 'Revoke the user' }).click();
    await other.locator('#toast').getByText('2 streams closed').waitFor();
    expect(asked).to.deep.equal([{ user: 'alice' }, { user: 'alice' }]);
    await other.close();
  });

  it('publishes to a topic, and shows what a client at an id would get', async () => {
    const client = await connect('reader', undefined, 'weather');
    await show('Topics and log');
    await page.getByRole('button', { name: 'Publish to weather' }).click();
    await page.getByLabel('Data').fill(HOSTILE);
    await confirm('Publish');
    await reported(/^Publish: stored as /);
    const { id = '' } = await client.event('message');
    await page.getByRole('button', { name: 'Log of weather' }).click();
    await page.locator('.verdict').getByText('The newest').waitFor();
    await row(id).getByText(HOSTILE).waitFor();
    await page.getByLabel('Last id of the client').fill(id);
    await page.getByRole('button', { name: 'Look' }).click();
    await page.locator('.verdict').getByText('The client misses nothing.').waitFor();
    await page.getByLabel('Last id of the client').fill('nonsense');
    await page.getByRole('button', { name: 'Look' }).click();
    await page.locator('.verdict').getByText('This is no id of the log.').waitFor();
  });

  it('shows a source that runs, and stops it', async () => {
    const follower = await EventStreamClient.open(`${app.url}/answers/42`);
    clients.push(follower);
    await follower.event('word');
    await show('Sources');
    await row('42').getByText('running').waitFor();
    await page.getByRole('button', { name: 'Stop 42' }).click();
    await confirm('Stop the source');
    await reported('Stop of 42: delivered');
    expect((await follower.event('sse.closed')).data).to.equal('{"reason":"completed"}');
    await row('42').getByText('completed').waitFor();
  });

  it('shows sends with their receipts', async () => {
    await connect('reader');
    await show('Sends');
    await app.service.sendMessageToConnection('reader', 'note', 1);
    await app.service.sendMessageToConnection('nobody', 'note', 1);
    await row('reader').getByText('delivered').first().waitFor();
    await row('nobody').getByText('not-connected').waitFor();
    await page.getByText(/in the last minute, \d+ of them without success/).waitFor();
    expect(await page.locator('.timeline rect').count()).to.be.at.least(2);
  });

  it('is accessible in every view, light and dark, wide and narrow, and moves nothing', async function () {
    this.timeout(60_000);
    await connect('tab', 'alice');
    for (const looks of [
      { colorScheme: 'light', width: 1280 },
      { colorScheme: 'dark', width: 390 },
    ] as const) {
      const looked = await examinedContext(browser as Browser, looks);
      for (const view of ['overview', 'connections', 'topics', 'sources', 'sends']) {
        const other = await looked.newPage();
        await other.goto(`${app.url}/console/#${view}`);
        await other
          .locator(view === 'overview' ? '.node' : 'tbody tr')
          .first()
          .waitFor();
        expect(await violationsOf(other), `${view} ${looks.colorScheme}`).to.deep.equal([]);
        expect(await overflows(other), `${view} is wider than ${looks.width}`).to.equal(false);
        expect(await layoutShift(other), `${view} moved`).to.be.below(0.05);
        await other.close();
      }
      await looked.close();
    }
    await show('Connections');
    await page.getByRole('button', { name: 'Send to alice/tab' }).click();
    expect(await violationsOf(page), 'a dialog').to.deep.equal([]);
    await page.keyboard.press('Escape');
  });

  it('drains the node, after a question, and reports nothing wrong in between', async () => {
    const client = await connect('last');
    expect(problems).to.deep.equal([]);
    await show('Overview');
    await page.getByRole('button', { name: 'Drain node-a' }).click();
    await confirm('Drain the node');
    await reported('node-a drains');
    expect((await client.event('sse.closed')).data).to.equal('{"reason":"draining"}');
  });
});
