import { expect } from 'chai';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { Nginx } from '../../support/nginx.js';
import { until } from '../../support/until.js';

class StreamController {
  @SseEndpoint('/sse/:clientId')
  stream(): void {
    // Only held open.
  }
}

describe('behind nginx (which must be on PATH)', () => {
  let app: KoaApp;
  let nginx: Nginx | undefined;

  before(async function () {
    if (!(await Nginx.isInstalled())) this.skip();
    app = await KoaApp.start({ controllers: [StreamController] });
    nginx = await Nginx.start(port => server(port, app.port));
  });
  after(async () => {
    if (nginx === undefined) return;
    await nginx.stop();
    await app.close();
  });

  for (const version of ['default', '1.0', '1.1']) {
    const open = (id: string): Promise<EventStreamClient> =>
      EventStreamClient.open(`http://127.0.0.1:${nginx?.port ?? 0}/${version}/sse/${id}`);

    it(`events arrive one by one, proxy_http_version ${version}`, async () => {
      const client = await open('a');
      await client.event('connected');
      for (let number = 1; number <= 5; number += 1) {
        app.service.sendMessage('a', 'note', number);
        await until(() => client.data('note').length === number, `event ${number}`);
      }
      client.leave();
      await until(() => app.store.size === 0, 'the end');
    });

    it(`a stream that the server ends ends cleanly, proxy_http_version ${version}`, async () => {
      const client = await open('b');
      await client.event('connected');
      await app.service.closeConnection('b', 'enough');
      expect(await client.closeReason()).to.equal('enough');
      expect(await client.ended()).to.equal('clean');
    });

    it(`a client that leaves is noticed, proxy_http_version ${version}`, async () => {
      const client = await open('c');
      await client.event('connected');
      client.leave();
      await until(() => app.store.size === 0, 'the end');
      expect(app.errors).to.deep.equal([]);
    });
  }
});

/** As distributions configure it: buffering on, nothing said about streams. */
function server(port: number, upstream: number): string {
  const location = (path: string, more: string): string => `
    location /${path}/ { ${more} proxy_pass http://127.0.0.1:${upstream}/; }`;
  return `
  server {
    listen 127.0.0.1:${port};
    location = /ready { return 204; }
    ${location('default', '')}
    ${location('1.0', 'proxy_http_version 1.0;')}
    ${location('1.1', 'proxy_http_version 1.1; proxy_set_header Connection "";')}
  }`;
}
