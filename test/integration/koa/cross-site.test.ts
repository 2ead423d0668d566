import { expect } from 'chai';
import type { SseConnection } from '../../../src/contracts/connection.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';

let guarded = 0;

class StreamController {
  @SseEndpoint('/sse/:clientId')
  stream(connection: SseConnection): void {
    guarded += 1;
    connection.send('answered', 'open');
  }
}

type Headers = Readonly<Record<string, string>>;

const FOREIGN = 'https://evil.example';
const COOKIE = { Cookie: 'session=1' };

describe('a request of a page of another site', () => {
  let app: KoaApp;

  const start = async (options: SseOptions = {}, proxy = false): Promise<void> => {
    app = await KoaApp.start({
      options,
      controllers: [StreamController],
      after: [ctx => (ctx.path.startsWith('/plain') ? ctx.sse.connect('plain').then(() => undefined) : undefined)],
    });
    app.app.proxy = proxy;
  };
  const statusOf = async (headers: Headers, path = '/sse/me'): Promise<number> => {
    const client = await EventStreamClient.open(app.url + path, { headers });
    client.leave();
    return client.status;
  };

  describe('by default', () => {
    before(() => start());
    after(() => app.close());

    const cases: readonly (readonly [what: string, headers: Headers, status: number])[] = [
      ['a program that sends neither header', COOKIE, 200],
      ['a page of the same origin', { 'Sec-Fetch-Site': 'same-origin' }, 200],
      ['a page of the same site', { 'Sec-Fetch-Site': 'same-site', Origin: 'https://other.example', ...COOKIE }, 200],
      ['an address that the user entered', { 'Sec-Fetch-Site': 'none', ...COOKIE }, 200],
      ['an EventSource of another site', { 'Sec-Fetch-Site': 'cross-site', Origin: FOREIGN }, 403],
      ['an image of another site', { 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Dest': 'image', ...COOKIE }, 403],
      ['another site with an origin like ours', { 'Sec-Fetch-Site': 'cross-site', Origin: 'http://HOST' }, 403],
      ['Sec-Fetch-Site before a foreign Origin', { 'Sec-Fetch-Site': 'same-origin', Origin: FOREIGN, ...COOKIE }, 200],
      ['a foreign Origin beside a cookie', { Origin: FOREIGN, ...COOKIE }, 403],
      ['a foreign Origin beside a cookie and nonsense', { 'Sec-Fetch-Site': 'yes', Origin: FOREIGN, ...COOKIE }, 403],
      ['an Origin that hides, beside a cookie', { Origin: 'null', ...COOKIE }, 403],
      ['an Origin that is none, beside a cookie', { Origin: 'evil', ...COOKIE }, 403],
      ['an Origin that begins like ours', { Origin: 'http://HOST.evil.example', ...COOKIE }, 403],
      ['an Origin of ours beside a cookie', { Origin: 'http://HOST', ...COOKIE }, 200],
      ['an Origin of ours with TLS in front', { Origin: 'https://HOST', ...COOKIE }, 200],
      ['a foreign Origin without a cookie', { Origin: FOREIGN }, 200],
    ];
    for (const [what, headers, status] of cases) {
      it(`gets ${status}: ${what}`, async () => {
        const host = `127.0.0.1:${app.port}`;
        const own = Object.entries(headers).map(([name, value]) => [name, value.replace('HOST', host)]);
        expect(await statusOf(Object.fromEntries(own) as Headers)).to.equal(status);
      });
    }

    it('takes no connection from its owner, and reaches no handler', async () => {
      const owner = await EventStreamClient.open(`${app.url}/sse/owner`);
      await owner.event('connected');
      const before = guarded;
      for (const path of ['/sse/owner', '/plain']) {
        const client = await EventStreamClient.open(app.url + path, {
          headers: { 'Sec-Fetch-Site': 'cross-site', Accept: 'text/event-stream' },
        });
        expect(client.status).to.equal(403);
        expect(await client.errorCode()).to.equal('FORBIDDEN');
      }
      expect(guarded).to.equal(before);
      expect(app.service.sendMessage('owner', 'note', 'still mine').outcome).to.equal('delivered');
      expect((await owner.event('note')).data).to.equal('still mine');
      owner.leave();
    });
  });

  it('is admitted when its origin is listed', async () => {
    await start({ limits: { crossSite: ['https://app.example'] } });
    const listed = { Origin: 'https://app.example', ...COOKIE };
    expect(await statusOf(listed)).to.equal(200);
    expect(await statusOf({ 'Sec-Fetch-Site': 'cross-site', ...listed })).to.equal(200);
    expect(await statusOf({ 'Sec-Fetch-Site': 'cross-site', Origin: FOREIGN })).to.equal(403);
    expect(await statusOf({ 'Sec-Fetch-Site': 'cross-site' })).to.equal(403);
    expect(await statusOf({ Origin: FOREIGN, ...COOKIE })).to.equal(403);
    await app.close();
  });

  it('is admitted with `allow`', async () => {
    await start({ limits: { crossSite: 'allow' } });
    expect(await statusOf({ 'Sec-Fetch-Site': 'cross-site', Origin: FOREIGN, ...COOKIE })).to.equal(200);
    await app.close();
  });

  it('is compared with the host that the proxy names, where the application trusts the proxy', async () => {
    const headers = { Origin: 'https://news.example', 'X-Forwarded-Host': 'news.example:443', ...COOKIE };
    await start();
    expect(await statusOf(headers)).to.equal(403);
    await app.close();
    await start({}, true);
    expect(await statusOf(headers)).to.equal(200);
    await app.close();
  });
});
