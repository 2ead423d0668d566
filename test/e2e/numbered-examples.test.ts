import { expect } from 'chai';
import { describeInBrowser } from '../support/browser.js';
import { ChildProgram } from '../support/child-program.js';
import { EventStreamClient } from '../support/event-stream-client.js';
import { freePort } from '../support/redis/free-port.js';
import { reached, until } from '../support/until.js';

const STARTED = ['03-dashboard', '04-chat', '07-notifications', '08-react', '09-plain-koa'] as const;

/** The examples that are one program each; the others have tests of their own. */
describe('the numbered examples', () => {
  const programs = new Map<string, { readonly program: ChildProgram; readonly url: string }>();
  const clients: EventStreamClient[] = [];

  before(async () => {
    await Promise.all(
      STARTED.map(async name => {
        const env = { PORT: '0', SSE_HISTORY_MAX_ENTRIES: '2' };
        const program = ChildProgram.start(`examples/${name}/main.js`, env);
        const [, url = ''] = await program.printed(/^listening on (\S+)$/m);
        programs.set(name, { program, url });
      }),
    );
  });

  afterEach(() => {
    for (const client of clients.splice(0)) client.leave();
  });

  after(async () => {
    const codes = await Promise.all([...programs.values()].map(({ program }) => program.stop()));
    expect(codes).to.deep.equal(STARTED.map(() => 0));
  });

  const urlOf = (name: (typeof STARTED)[number]): string => programs.get(name)?.url ?? '';
  const open = async (url: string, lastEventId?: string): Promise<EventStreamClient> => {
    const headers: Record<string, string> = { accept: 'text/event-stream' };
    if (lastEventId !== undefined) headers['last-event-id'] = lastEventId;
    const client = await EventStreamClient.open(url, { headers });
    clients.push(client);
    return client;
  };
  const call = async (method: string, url: string): Promise<unknown> => (await fetch(url, { method })).json();

  it('dashboard: a client gets a snapshot, then changes; one that missed changes gets a snapshot before the next one', async () => {
    const url = urlOf('03-dashboard');
    await call('PUT', `${url}/figures/orders/1`);
    const client = await open(`${url}/dashboard`);
    expect(JSON.parse((await client.event('snapshot')).data)).to.deep.equal({ orders: 1 });
    await call('PUT', `${url}/figures/orders/2`);
    const { data, id = '' } = await client.event('change');
    expect(JSON.parse(data)).to.deep.equal({ name: 'orders', value: 2 });
    client.leave();
    for (const value of [3, 4, 5, 6]) await call('PUT', `${url}/figures/orders/${value}`);
    const again = await open(`${url}/dashboard`, id);
    await again.event('change');
    expect(again.events.map(({ event }) => event)).to.deep.equal([
      'connected',
      'sse.reset',
      'snapshot',
      'change',
      'change',
    ]);
    expect(JSON.parse((await again.event('snapshot')).data)).to.deep.equal({ orders: 6 });
  });

  it('chat: everyone in a room sees who is there and what is said, and who comes later the newest messages', async () => {
    const url = urlOf('04-chat');
    const alice = await open(`${url}/rooms/tea/alice`);
    const bob = await open(`${url}/rooms/tea/bob`);
    const people = (): string | undefined => alice.data('people').at(-1);
    await until(() => people() === '["alice","bob"]', 'two people');
    await call('POST', `${url}/rooms/tea/bob?text=hello`);
    expect(JSON.parse((await alice.event('message')).data)).to.deep.equal({ user: 'bob', text: 'hello' });
    bob.leave();
    await until(() => people() === '["alice"]', 'one person');
    const carol = await open(`${url}/rooms/tea/carol`);
    expect(JSON.parse((await carol.event('message')).data)).to.deep.equal({ user: 'bob', text: 'hello' });
  });

  it('notifications: a note waits for a client that is away, and comes once', async () => {
    const inbox = `${urlOf('07-notifications')}/notes/alice/phone`;
    expect(await call('POST', `${inbox}?text=one`)).to.include({ outcome: 'stored' });
    const client = await open(inbox);
    await client.event('note');
    expect(await call('POST', `${inbox}?text=two`)).to.include({ outcome: 'delivered' });
    await reached(() => client.data('note').length, 2, 'notes');
    expect(client.data('note').map(data => JSON.parse(data) as unknown)).to.deep.equal([
      { text: 'one' },
      { text: 'two' },
    ]);
  });

  it('plain Koa: a route connects, sends, and is reached by the connection id', async () => {
    const stream = `${urlOf('09-plain-koa')}/streams/me`;
    expect(await call('POST', `${stream}?text=hello`)).to.include({ outcome: 'not-connected' });
    const client = await open(stream);
    await client.event('welcome');
    expect(await call('POST', `${stream}?text=hello`)).to.include({ outcome: 'delivered' });
    expect(JSON.parse((await client.event('note')).data)).to.deep.equal({ text: 'hello' });
  });

  describeInBrowser('quick start', chromium => {
    it('its page goes on when its program was killed and started again', async () => {
      const PORT = String(await freePort());
      const start = (): ChildProgram => ChildProgram.start('examples/00-quick-start/main.js', { PORT });
      const url = `http://127.0.0.1:${PORT}`;
      let program = start();
      const answers = (): Promise<boolean> =>
        fetch(url).then(
          ({ ok }) => ok,
          () => false,
        );
      await until(answers, 'the program');
      const page = await chromium.browser.newPage();
      await page.goto(url);
      const shown = (): Promise<string | null> => page.locator('pre').textContent();
      await until(async () => (await shown()) !== '', 'a tick');
      await program.stop('SIGKILL');
      const last = await shown();
      program = start();
      await until(async () => (await shown()) !== last, 'another tick', 15_000);
      await page.close();
      await program.stop('SIGKILL');
    });
  });

  describeInBrowser('React', chromium => {
    it('two tabs show one count, and a vote reaches both', async () => {
      const context = await chromium.browser.newContext();
      const tabs = [await context.newPage(), await context.newPage()];
      for (const tab of tabs) await tab.goto(urlOf('08-react'));
      await tabs[0]?.getByRole('button', { name: 'tea 0' }).click();
      for (const tab of tabs) await tab.getByRole('button', { name: 'tea 1' }).waitFor();
      await context.close();
    });
  });
});
