import { expect } from 'chai';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';

const WELCOME = [
  undefined,
  'text/event-stream',
  'TEXT/Event-Stream',
  'text/event-stream;charset=utf-8',
  'text/event-stream; charset="UTF-8"; q=0.9',
  'text/*;level=1',
  'text/*',
  '',
  '*/*',
  'text/html, text/event-stream;q=0.1',
  'application/json, */*;q=0.5',
];
const UNWELCOME = [
  'application/json',
  'text/html',
  'text/event-stream;q=0',
  '*/*;q=0',
  'text/event-stream;charset=utf-8;q=0',
  'text/event-stream;q=0, */*',
];

class StreamController {
  @SseEndpoint('/endpoint/:clientId')
  stream(): void {
    // Only held open.
  }
}

describe('Accept', () => {
  let app: KoaApp;

  before(async () => {
    app = await KoaApp.start({
      controllers: [StreamController],
      after: [
        async ctx => {
          await ctx.sse.connect('plain');
        },
      ],
    });
  });
  after(() => app.close());

  const open = (path: string, accept: string | undefined): Promise<EventStreamClient> =>
    EventStreamClient.open(app.url + path, {
      headers: accept === undefined ? {} : { Accept: accept },
    });

  for (const accept of WELCOME) {
    it(`gives a stream to ${accept ?? 'a request without the header'}`, async () => {
      const client = await open('/endpoint/a', accept);
      expect(client.status).to.equal(200);
      expect(client.headers['content-type']).to.equal('text/event-stream');
      client.leave();
    });
  }

  for (const accept of UNWELCOME) {
    it(`refuses ${accept}`, async () => {
      const client = await open('/endpoint/a', accept);
      expect(client.status).to.equal(406);
      expect(await client.errorCode()).to.equal('NOT_ACCEPTABLE');
    });
  }

  it('binds plain routes as well', async () => {
    const client = await open('/plain', 'application/json');
    expect(client.status).to.equal(406);
    expect(await client.errorCode()).to.equal('NOT_ACCEPTABLE');
  });
});
