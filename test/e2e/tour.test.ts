import { expect } from 'chai';
import type { BrowserContext, Page } from 'playwright-core';
import { examinedContext, expectSound, LOOKS, type Looks } from '../support/accessibility.js';
import { describeInBrowser } from '../support/browser.js';
import { ChildProgram } from '../support/child-program.js';
import { DemoProcess } from '../support/demo-process.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { withRedis } from '../support/redis/with-redis.js';

describeInBrowser('the tour', chromium => {
  // Only where there is a redis-server: the program starts one of its own.
  withRedis();
  let cluster: ChildProgram;
  let tour = '';
  const contexts: BrowserContext[] = [];

  before(async () => {
    // A busy machine may need longer for a receipt.
    cluster = ChildProgram.start('examples/02-cluster/main.js', { PORT: '0', SSE_SEND_DEADLINE: '10000' });
    [, tour = ''] = await cluster.printed(/open the tour at (\S+),/);
  });
  afterEach(async () => {
    await Promise.all(contexts.splice(0).map(context => context.close()));
  });
  after(async () => {
    expect(await cluster.stop()).to.equal(0);
  });

  /** A page of its own: over HTTP/1.1 the streams of all scenarios would not fit into one. */
  const open = async (url: string, looks?: Looks): Promise<Page> => {
    const context = await examinedContext(chromium.browser, looks);
    contexts.push(context);
    const page = await context.newPage();
    page.on('pageerror', error => expect.fail(error.message));
    await page.goto(url);
    return page;
  };
  const run = async (scenario: string): Promise<Page> => {
    const page = await open(`${tour}/?pace=0#${scenario}`);
    await page.getByRole('button', { name: 'Run' }).click();
    await page.locator('#scenario[data-run=done], #scenario[data-run=failed]').waitFor();
    return page;
  };
  const results = async (page: Page): Promise<string[]> => page.locator('.result').allTextContents();
  const lane = async (page: Page, client: string): Promise<string[]> =>
    page.locator(`[data-client="${client}"] .track li`).allTextContents();
  const ran = async (scenario: string): Promise<Page> => {
    const page = await run(scenario);
    expect(await page.locator('#scenario').getAttribute('data-run'), (await results(page)).join('\n')).to.equal('done');
    expect(await page.locator('.step:not([data-state=done])').count()).to.equal(0);
    return page;
  };

  it('shows a takeover: the older tab ends, and the newer one gets the next note', async () => {
    const page = await ran('takeover');
    expect(await lane(page, 'Tab A')).to.deep.equal(['connected', 'note to the first tab', 'sse.closed superseded']);
    expect(await lane(page, 'Tab B')).to.deep.equal(['connected', 'note to the second tab']);
  });

  it('shows a stream that is cut and resumes without a gap', async () => {
    const page = await ran('resume');
    const entries = (await lane(page, 'Reader')).filter(text => text.startsWith('entry'));
    expect(entries).to.deep.equal([1, 2, 3, 4, 5, 6].map(n => `entry ${n}`));
  });

  it('shows the receipts of a slow client: delivered, buffered, rejected', async () => {
    const page = await ran('slow');
    const receipts = (await lane(page, 'Slow client')).slice(1);
    expect([...new Set(receipts)]).to.deep.equal(['delivered', 'buffered', receipts.at(-1)]);
    expect(await lane(page, 'Quick client')).to.deep.equal(['connected', 'note still quick']);
  });

  it('shows a gap, and the snapshot before what follows it', async () => {
    const page = await ran('gap');
    const [, , , reset, snapshot] = await results(page);
    expect(reset).to.equal('sse.reset: GAP');
    expect(snapshot).to.match(/^the snapshot says 253, and \d+ kept points follow$/);
    expect((await lane(page, 'Scoreboard')).at(-1)).to.equal('point 253');
  });

  it('shows a mailbox: not-connected, stored, and two letters in order', async () => {
    const page = await ran('mailbox');
    expect((await results(page)).slice(0, 2)).to.deep.equal([
      'receipt: not-connected. Certainly not sent.',
      'receipts: stored, stored',
    ]);
    expect(await lane(page, 'Recipient')).to.deep.equal(['connected', 'mail first letter', 'mail second letter']);
  });

  it('shows an answer that survives a reload of the page', async () => {
    const page = await ran('answer');
    const [before = '', , first, , last = ''] = await results(page);
    expect(Number(/^(\d+) words/.exec(before)?.[1]) + 1).to.equal(Number(/number (\d+)$/.exec(first ?? '')?.[1]));
    const [, own, other] = /^(\d+) words on the page, (\d+) at the second/.exec(last) ?? [];
    expect(own).to.equal(other);
  });

  it('has the console of one node behind the balancer, which shows and reaches all of them', async () => {
    const page = await open(`${tour}/console/`);
    await page.locator('.node[data-lease=held] .badge').getByText('ready', { exact: true }).nth(2).waitFor();
    const served = page.locator('#served-by');
    expect(await served.textContent()).to.equal('a');
    const client = await EventStreamClient.open(`${tour}/sse/connect/of-c?topics=console&node=c`);
    await client.event('connected');
    await page.getByRole('link', { name: 'Connections', exact: true }).click();
    await page.getByRole('button', { name: 'Close of-c' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Close the connection' }).click();
    await page.locator('#toast').getByText('1 stream closed').waitFor();
    expect((await client.event('sse.closed')).data).to.equal('{"reason":"closed"}');
    expect(await served.textContent()).to.equal('a');
  });

  it('shows a node that is killed, and Redis that goes away, and leaves all of them running', async () => {
    const killed = await ran('kill');
    const entries = (await lane(killed, 'Client of node b')).filter(text => text.startsWith('entry'));
    expect(entries).to.deep.equal([1, 2, 3, 4, 5, 6].map(n => `entry ${n}`));

    const page = await ran('redis');
    expect((await results(page)).slice(2, 4)).to.deep.equal([
      '202, degraded: true',
      '503 CLUSTER_UNREACHABLE: certainly not sent',
    ]);
    expect(await lane(page, 'Client of node a')).to.deep.equal(['connected', 'note local only', 'note to everyone']);
    expect(await lane(page, 'Client of node b')).to.deep.equal(['connected', 'note to everyone']);
    const { nodes, redis } = (await (await fetch(`${tour}/tour/cluster`)).json()) as {
      nodes: { running: boolean }[];
      redis: string;
    };
    expect([...nodes.map(node => node.running), redis]).to.deep.equal([true, true, true, 'running']);
  });

  it('ends and starts nothing for a page of another origin', async () => {
    const { status } = await fetch(`${tour}/tour/cluster/nodes/a/kill`, { method: 'POST' });
    expect(status).to.equal(403);
  });

  it('with one process it says what needs more, is accessible, and does not move', async () => {
    const demo = await DemoProcess.start();
    try {
      for (const looks of LOOKS) {
        const page = await open(`${demo.url}/?pace=0#takeover`, looks);
        await page.getByRole('button', { name: 'Run' }).click();
        await page.locator('#scenario[data-run=done]').waitFor();
        await expectSound(page, looks, 'the page');
        await page.getByRole('link', { name: 'A node is killed' }).click();
        await page.getByRole('status').getByText('npm run demo:cluster').waitFor();
        expect(await page.getByRole('button', { name: 'Run' }).isDisabled()).to.equal(true);
      }
    } finally {
      await demo.stop();
    }
  });

  it('the page of a streamed answer has all words after a reload, is accessible, and does not move', async () => {
    const example = ChildProgram.start('examples/06-resumable-answers/main.js', { PORT: '0' });
    const [, url = ''] = await example.printed(/^listening on (\S+)$/m);
    try {
      for (const looks of LOOKS) {
        const page = await open(`${url}/?q=${looks.colorScheme}&words=40&pause=20`, looks);
        await page
          .locator('#words')
          .getByText(/^([5-9]|\d\d)$/)
          .waitFor();
        await page.reload();
        await page.locator('#state').getByText('completed').waitFor();
        expect((await page.locator('#answer').textContent())?.trim().split(' ')).to.have.length(40);
        await expectSound(page, looks, 'the page');
      }
    } finally {
      await example.stop();
    }
  });
});

describe('the console of the demo', () => {
  const statusOf = async (url: string, headers: Readonly<Record<string, string>> = {}): Promise<number> => {
    const client = await EventStreamClient.open(`${url}/console/api/about`, { headers });
    client.leave();
    return client.status;
  };

  it('is for this machine, and not for a foreign name of it', async () => {
    const demo = await DemoProcess.start();
    expect(await statusOf(demo.url)).to.equal(200);
    expect(await statusOf(demo.url, { host: `attacker.example:${demo.port}` })).to.equal(403);
    await demo.stop();
  });

  it('is there for other machines with a token only', async () => {
    const [open, locked] = await Promise.all([
      DemoProcess.start({ HOST: '0.0.0.0' }),
      DemoProcess.start({ HOST: '0.0.0.0', CONSOLE_TOKEN: 'sésame' }),
    ]);
    const [bare, guarded] = [open, locked].map(({ port }) => `http://127.0.0.1:${port}`) as [string, string];
    const basic = (password: string): Readonly<Record<string, string>> => ({
      authorization: `Basic ${Buffer.from(`me:${password}`).toString('base64')}`,
    });
    expect(await statusOf(bare)).to.equal(404);
    expect(await statusOf(guarded)).to.equal(401);
    expect(await statusOf(guarded, basic('sesame'))).to.equal(401);
    expect(await statusOf(guarded, basic('sésame'))).to.equal(200);
    const refused = await fetch(`${guarded}/console/`);
    expect(refused.headers.get('www-authenticate')).to.match(/^Basic /);
    await Promise.all([open.stop(), locked.stop()]);
  });
});
