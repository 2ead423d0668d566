import { expect } from 'chai';
import type Koa from 'koa';
import type { Locator, Page } from 'playwright-core';
import { type ConsolePurpose, sseConsole } from '../../src/console/index.js';
import type { ResumableSource, SseEvent, SseGuard, SseRequest } from '../../src/index.js';
import { SseEndpoint } from '../../src/index.js';
import { examinedContext, expectSound, LOOKS } from '../support/accessibility.js';
import { describeInBrowser } from '../support/browser.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { KoaApp } from '../support/koa-app.js';
import { RecordingSdk } from '../support/recording-sdk.js';
import { randomPrefix } from '../support/redis/gateway-options.js';
import { withRedis } from '../support/redis/with-redis.js';

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

/** The page comes from node a; the clients are on node b, unless the test says otherwise. */
describeInBrowser('the page of the console', chromium => {
  const server = withRedis();
  const prefix = randomPrefix();
  let sdk: RecordingSdk;
  let a: KoaApp;
  let b: KoaApp;
  let page: Page;
  let admits: (ctx: Koa.Context, purpose: ConsolePurpose) => boolean | number = () => true;
  const clients: EventStreamClient[] = [];
  const problems: string[] = [];

  before(async () => {
    sdk = RecordingSdk.start({ signals: ['traces'] });
    [a, b] = await Promise.all([start('node-a'), start('node-b')]);
    const context = await examinedContext(chromium.browser);
    page = await context.newPage();
    page.on('pageerror', error => problems.push(error.message));
    page.on('console', message => {
      if (message.type() === 'error') problems.push(message.text());
    });
    await page.goto(`${a.url}/console/`);
    await page.getByText('live', { exact: true }).waitFor();
  });
  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });
  after(async () => {
    await page.context().close();
    await Promise.all([a.close(), b.close()]);
    sdk.stop();
  });

  async function start(id: string): Promise<KoaApp> {
    const traceLink = 'https://traces.example/trace/{traceId}';
    const app = await KoaApp.start({
      controllers: [Streams],
      bind: container => container.bind<SseGuard>(Users).toSelf(),
      mounted: container => sseConsole(container, { guard: (ctx, purpose) => admits(ctx, purpose), traceLink }),
      options: { node: { id }, redis: { url: server.redis.url, prefix, channel: `${prefix}events` } },
    });
    await app.service.start();
    return app;
  }

  const connect = async (id: string, user?: string, topic = 'news', app = b): Promise<EventStreamClient> => {
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

  it('shows each node with its connections and its state, and what happens, as text', async () => {
    const client = await connect(HOSTILE);
    const node = page.locator('.node[data-node=node-b]');
    await node.locator('.connections').getByText('1', { exact: true }).waitFor();
    await page.locator('.feed').getByText(`${HOSTILE} connected to node-b`).waitFor();
    client.leave();
    await page.locator('.feed').getByText(`${HOSTILE} on node-b ended`).waitFor();
    await page.locator('.node').nth(1).waitFor();
    const state = ['ready', 'lease held'];
    expect(await page.locator('.node .badge').allTextContents()).to.deep.equal([...state, ...state]);
    const facts = Object.fromEntries(
      (await node.locator('dl div').allInnerTexts()).map(text => text.split('\n') as [string, string]),
    );
    expect(facts).to.include({ Circuits: 'all closed', Waiting: '0 B' });
    expect(facts).to.include.keys('Loop p99', 'Feed lag', 'Memory', 'CPU', 'Up for', 'Pending sends', 'Delivered');
    expect(facts['Memory']).to.match(/ MiB$/);
  });

  it('shows a takeover, and narrows what happens to a kind', async () => {
    await connect('twice');
    await connect('twice', undefined, 'news', a);
    const takeover = page.locator('.feed').getByText('a newer stream of twice ended the one on node-b');
    await takeover.waitFor();
    await page.getByLabel('Kind').selectOption('connect');
    expect(await takeover.isVisible()).to.equal(false);
    await page.getByLabel('Kind').selectOption('');
  });

  it('draws the rate of deliveries', async () => {
    await connect('reader');
    await a.service.publish('news', 'note', 1);
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

  it('revokes a user, shows only what the guard admits, and says why it refuses', async () => {
    const tabs = await Promise.all([connect('left', 'alice', 'news', a), connect('right', 'alice')]);
    const other = await connect('tab', 'bob');
    admits = (_, purpose) => purpose === 'view' || purpose === 'revoke';
    await page.goto(`${a.url}/console/#connections`);
    await page.reload();
    await page.getByRole('button', { name: 'Revoke alice' }).first().click();
    expect(await page.getByRole('button', { name: 'Send to alice/left' }).count()).to.equal(0);
    const dialog = page.getByRole('dialog');
    // Changed since the page was loaded.
    admits = (_, purpose) => purpose === 'view' || 409;
    await dialog.getByRole('button', { name: 'Revoke the user' }).click();
    await dialog.getByRole('alert').getByText('the guard does not admit this visitor').waitFor();
    problems.length = 0;
    admits = () => true;
    await dialog.getByRole('button', { name: 'Revoke the user' }).click();
    await reported('2 streams closed');
    for (const tab of tabs) expect((await tab.event('sse.closed')).data).to.equal('{"reason":"revoked"}');
    await row('alice/left').waitFor({ state: 'detached' });
    await row('bob/tab').waitFor();
    expect(other.data('sse.closed')).to.deep.equal([]);
    await page.reload();
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
    const follower = await EventStreamClient.open(`${b.url}/answers/42`);
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

  it('shows sends with their receipts, and where their traces are', async () => {
    await connect('reader');
    await show('Sends');
    await b.service.sendMessageToConnection('nobody', 'note', 1);
    await a.service.sendMessageToConnection('reader', 'note', 1);
    await row('reader').getByText('delivered').first().waitFor();
    await row('reader').getByText('node-a → node-b').first().waitFor();
    const link = await row('reader').getByRole('link').first().getAttribute('href');
    const traces = sdk.spans().map(span => `https://traces.example/trace/${span.spanContext().traceId}`);
    expect(traces).to.include(link);
    await row('nobody').getByText('not-connected').waitFor();
    await page.getByText(/in the last minute, \d+ of them without success/).waitFor();
    expect(await page.locator('.timeline rect').count()).to.be.at.least(2);
  });

  for (const looks of LOOKS) {
    it(`is accessible in every view, ${looks.colorScheme} and ${looks.width} px wide, and moves nothing`, async () => {
      await connect('tab', 'alice');
      const looked = await (await examinedContext(chromium.browser, looks)).newPage();
      await looked.goto(`${a.url}/console/`);
      for (const [view, row] of [
        ['Overview', '.node'],
        ['Connections', 'tbody tr'],
        ['Topics and log', 'tbody tr'],
        ['Sources', 'tbody tr'],
        ['Sends', 'tbody tr'],
      ] as const) {
        await looked.getByRole('link', { name: view, exact: true }).click();
        await looked.locator(row).first().waitFor();
        await expectSound(looked, looks, view);
      }
      await looked.getByRole('link', { name: 'Connections', exact: true }).click();
      await looked.getByRole('button', { name: 'Send to alice/tab' }).click();
      await expectSound(looked, looks, 'a dialog');
      await looked.context().close();
    });
  }

  it('drains a node, after a question, and reports nothing wrong in between', async () => {
    const client = await connect('last');
    expect(problems).to.deep.equal([]);
    await show('Overview');
    await page.getByRole('button', { name: 'Drain node-b' }).click();
    await confirm('Drain the node');
    await reported('node-b drains');
    expect((await client.event('sse.closed')).data).to.equal('{"reason":"draining"}');
    await page.locator('.feed').getByText('node-b drains: its clients go to other nodes').waitFor();
  });
});
