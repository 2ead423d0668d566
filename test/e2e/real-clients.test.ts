import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { expect } from 'chai';
import { EventSource } from 'eventsource';
import type { Browser, Page } from 'playwright-core';
import { connect as connectClient } from '../../src/client/index.js';
import { launchBrowser } from '../support/browser.js';
import { DemoProcess } from '../support/demo-process.js';
import { StreamReader } from '../support/stream-reader.js';
import { until } from '../support/until.js';

const QUICK = { SSE_RECONNECT_RETRY: '200', SSE_RECONNECT_JITTER: '100' };
const TEXT = { 'Content-Type': 'text/plain' };

describe('real clients', () => {
  let demo: DemoProcess;

  before(async function () {
    this.timeout(60_000);
    demo = await DemoProcess.start(QUICK);
  });
  afterEach(async () => {
    const count = async (): Promise<number> => {
      const response = await fetch(`${demo.url}/sse/connections`);
      return ((await response.json()) as { local: number }).local;
    };
    await until(async () => (await count()) === 0, 'every client to be gone');
  });
  after(() => demo.stop('SIGKILL'));

  const send = (id: string, event: string, body: string): Promise<Response> =>
    fetch(`${demo.url}/sse/send/${id}?event=${event}`, { method: 'POST', headers: TEXT, body });
  const connected = async (id: string): Promise<boolean> => {
    const response = await fetch(`${demo.url}/sse/connections/${id}`).catch(() => undefined);
    return response?.status === 200;
  };
  const restart = async (signal: NodeJS.Signals): Promise<void> => {
    const { port } = demo;
    await demo.stop(signal);
    demo = await DemoProcess.start({ PORT: port, ...QUICK });
  };

  for (const signal of ['SIGTERM', 'SIGKILL'] as const) {
    it(`npm eventsource receives and comes back after a restart by ${signal}`, async () => {
      const source = new EventSource(`${demo.url}/sse/connect/es?topics=a`);
      const received: string[] = [];
      const resets: string[] = [];
      source.addEventListener('note', ({ data }) => received.push(data as string));
      source.addEventListener('sse.reset', ({ data }) => resets.push(data as string));
      try {
        await until(() => connected('es'), 'the connection');
        await send('es', 'note', 'before');
        await restart(signal);
        await until(() => connected('es'), 'the reconnection');
        await send('es', 'note', 'after');
        await until(() => received.length === 2, 'both events');
        expect(received).to.deep.equal(['before', 'after']);
        // Its last id is from before the restart, so it gets a reset.
        expect(resets.map(data => (JSON.parse(data) as { reason: string }).reason)).to.deep.equal(['EPOCH']);
      } finally {
        source.close();
      }
    });
  }

  it('the client of this package comes back after a restart, and reports the gap before what follows it', async () => {
    const stream = connectClient(`${demo.url}/sse/connect/own?topics=a`, { delay: 100 });
    const received: string[] = [];
    stream.on('note', data => received.push(String(data)));
    stream.onGap(({ reason }) => received.push(reason));
    try {
      await until(() => stream.state.kind === 'open', 'the connection');
      await send('own', 'note', 'before');
      await restart('SIGKILL');
      await until(() => stream.state.kind === 'open', 'the reconnection');
      await send('own', 'note', 'after');
      await until(() => received.length === 3, 'both events and the gap');
      // Its last id is from before the restart.
      expect(received).to.deep.equal(['before', 'EPOCH', 'after']);
    } finally {
      stream.close();
    }
  });

  it('npm eventsource gets every event published while it was disconnected', async () => {
    const source = new EventSource(`${demo.url}/sse/connect/es?topics=a`);
    const received: string[] = [];
    source.addEventListener('note', ({ data }) => received.push(data as string));
    try {
      await until(() => connected('es'), 'the connection');
      const sent: string[] = [];
      for (let number = 0; number < 60; number += 1) {
        if (number % 20 === 10) await fetch(`${demo.url}/sse/connections/es`, { method: 'DELETE' });
        sent.push(String(number));
        await fetch(`${demo.url}/sse/topics/a?event=note`, {
          method: 'POST',
          headers: TEXT,
          body: String(number),
        });
      }
      await until(() => received.length >= sent.length, 'all events');
      expect(received).to.deep.equal(sent);
    } finally {
      source.close();
    }
  });

  it('a fetch reader receives, sees the end of a drain, and connects again', async () => {
    const reader = await StreamReader.open(`${demo.url}/sse/connect/f`);
    await reader.event('connected');
    await send('f', 'note', 'a\nb');
    expect((await reader.event('note')).data).to.equal('a\nb');
    await restart('SIGTERM');
    await reader.end();
    expect(reader.events.at(-1)?.event).to.equal('sse.closed');
    const again = await StreamReader.open(`${demo.url}/sse/connect/f`);
    await again.event('connected');
    again.close();
  });

  it('curl receives, and its stream ends cleanly when the server closes it', async () => {
    const curl = spawn('curl', ['-sN', '--http1.1', `${demo.url}/sse/connect/curl`]);
    let output = '';
    curl.stdout.on('data', (chunk: Buffer) => (output += chunk.toString()));
    const exited = once(curl, 'exit') as Promise<[number]>;
    await until(() => connected('curl'), 'the connection');
    await send('curl', 'note', 'hello');
    await until(() => output.includes('event: note\ndata: hello\n\n'), 'the event');
    await fetch(`${demo.url}/sse/connections/curl`, { method: 'DELETE' });
    expect((await exited)[0]).to.equal(0);
    expect(output).to.match(/event: sse\.closed\ndata: \{"reason":"closed"\}\n\n$/);
  });

  describe('a browser on the page', () => {
    let browser: Browser | undefined;
    let page: Page;
    const problems: string[] = [];

    before(async function () {
      this.timeout(60_000);
      browser = await launchBrowser();
      if (browser === undefined) this.skip();
    });
    beforeEach(async () => {
      if (browser === undefined) return;
      problems.length = 0;
      page = await browser.newPage();
      page.on('pageerror', error => problems.push(error.message));
      await page.goto(demo.url);
    });
    afterEach(async () => {
      if (browser !== undefined) await page.close();
    });
    after(async () => {
      await browser?.close();
    });

    const connect = async (id: string, topics = ''): Promise<void> => {
      await page.fill('#client-id', id);
      await page.fill('#topics', topics);
      await page.click('#connect-form button');
      await page.waitForSelector(`.client[data-id="${id}"][data-state="open"]`);
    };
    const logged = (client: string, event: string): Promise<string | null> =>
      page
        .waitForSelector(`#log tbody tr[data-client="${client}"][data-event="${event}"] .data`)
        .then(cell => cell.textContent());

    it('connects several clients, sends, broadcasts, publishes and closes', async () => {
      await connect('one', 'news');
      await connect('two');
      await until(async () => (await page.textContent('#count-local'))?.trim() === '2', 'the count on the page');
      await page.fill('#send-to', 'one');
      await page.fill('#send-event', 'direct');
      await page.fill('#send-body', '<b>hi</b>\nthere');
      await page.click('#send-form button');
      await page.waitForSelector('#receipt[data-outcome="delivered"]');
      expect(await logged('one', 'direct')).to.equal('<b>hi</b>\nthere');

      await page.fill('#broadcast-event', 'all');
      await page.fill('#broadcast-body', 'everyone');
      await page.click('#broadcast-form button');
      expect(await logged('one', 'all')).to.equal('everyone');
      expect(await logged('two', 'all')).to.equal('everyone');

      await page.fill('#publish-topic', 'news');
      await page.fill('#publish-event', 'headline');
      await page.fill('#publish-body', 'read all about it');
      await page.click('#publish-form button');
      expect(await logged('one', 'headline')).to.equal('read all about it');
      expect(await page.$('#log tr[data-client="two"][data-event="headline"]')).to.equal(null);

      await page.click('.client[data-id="two"] .close');
      await until(async () => !(await connected('two')), 'the close');
      expect(problems).to.deep.equal([]);
    });

    it('shows that it reconnects, and is back after the server restarts', async () => {
      await connect('tab');
      const { port } = demo;
      await demo.stop('SIGKILL');
      await page.waitForSelector('.client[data-id="tab"][data-state="reconnecting"]');
      demo = await DemoProcess.start({ PORT: port, ...QUICK });
      await page.waitForSelector('.client[data-id="tab"][data-state="open"]');
      await until(() => connected('tab'), 'the reconnection');
      await send('tab', 'message', 'welcome back');
      expect(await logged('tab', 'message')).to.equal('welcome back');
      expect(problems).to.deep.equal([]);
    });
  });
});
