import { expect } from 'chai';
import type { SseRequest } from '../../../src/contracts/authorization.js';
import type { Reset, ResetClient, SseConnection } from '../../../src/contracts/connection.js';
import { SseController, SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient, type StreamInit } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { RawClient } from '../../support/raw-client.js';
import { until } from '../../support/until.js';

const UUID = /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/;

class IdController {
  @SseEndpoint('/by-connection/:connectionId')
  byConnection(): void {
    // Only held open.
  }

  @SseEndpoint('/by-client/:clientId')
  byClient(): void {
    // Only held open.
  }

  @SseEndpoint('/by-option/:clientId/:tab', { connectionId: 'tab' })
  byOption(): void {
    // Only held open.
  }

  @SseEndpoint('/by-function/:clientId', {
    connectionId: ({ params, headers }) => `${params['clientId'] ?? ''}-${String(headers['x-device'])}`,
  })
  byFunction(): void {
    // Only held open.
  }

  @SseEndpoint('/random')
  random(): void {
    // Only held open.
  }

  @SseEndpoint('/optional{/:clientId}')
  optional(): void {
    // Only held open.
  }

  @SseEndpoint('/files/*path', { connectionId: ({ params }) => params['path']?.replaceAll('/', '|') ?? '' })
  files(): void {
    // Only held open.
  }
}

class TopicController {
  @SseEndpoint('/static/:clientId', { topics: ['news', 'weather'] })
  fixed(): void {
    // Only held open.
  }

  @SseEndpoint('/dynamic/:clientId', { topics: ({ query }) => [query['topic'] ?? []].flat() })
  dynamic(): void {
    // Only held open.
  }

  @SseEndpoint('/backlog/:clientId', { topics: ['prices', 'orders'], backlog: 2 })
  backlog(connection: SseConnection): void {
    connection.send('answered', 'open');
  }

  @SseEndpoint('/latest/:clientId', { topics: ['prices', 'orders'], backlog: 'latest' })
  latest(connection: SseConnection): void {
    connection.send('answered', 'open');
  }

  @SseEndpoint('/none/:clientId')
  none(): void {
    // Only held open.
  }
}

class ResetController {
  readonly greeting = 'all there is';

  @SseEndpoint('/reset/:clientId', { topics: ['news'], onReset: 'snapshot' })
  open(): void {
    // Only held open.
  }

  snapshot(client: ResetClient, { reason }: Reset): void {
    client.send('snapshot', `${this.greeting} for ${client.id} after ${reason}`);
  }
}

class MethodController {
  @SseEndpoint('/both', { methods: ['GET', 'POST'] })
  both(connection: SseConnection, { method }: SseRequest): void {
    connection.send('answered', `both ${method}`);
  }

  @SseEndpoint('/shared', { methods: ['GET'] })
  read(connection: SseConnection): void {
    connection.send('answered', 'read');
  }

  @SseEndpoint('/shared', { methods: ['POST'] })
  write(connection: SseConnection): void {
    connection.send('answered', 'write');
  }

  @SseEndpoint('/get-only')
  getOnly(connection: SseConnection): void {
    connection.send('answered', 'get-only');
  }
}

@SseController('/v1')
class PrefixedController {
  @SseEndpoint('/feed/:clientId')
  feed(connection: SseConnection): void {
    connection.send('answered', 'feed');
  }
}

class ParentController {
  @SseEndpoint('/inherited')
  inherited(connection: SseConnection): void {
    connection.send('answered', this.name());
  }

  @SseEndpoint('/replaced', { methods: ['GET'] })
  replaced(connection: SseConnection): void {
    connection.send('answered', 'parent');
  }

  protected name(): string {
    return 'parent';
  }
}

@SseController('/child')
class ChildController extends ParentController {
  @SseEndpoint('/replaced', { methods: ['POST'] })
  override replaced(connection: SseConnection): void {
    connection.send('answered', 'child');
  }

  protected override name(): string {
    return 'child';
  }
}

describe('@SseEndpoint', () => {
  let app: KoaApp;

  before(async () => {
    app = await KoaApp.start({
      controllers: [
        IdController,
        TopicController,
        MethodController,
        PrefixedController,
        ParentController,
        ChildController,
      ],
      after: [
        ctx => {
          if (!('unanswered' in ctx.query)) ctx.body = `passed ${ctx.method} ${ctx.path}`;
        },
      ],
    });
  });
  after(() => app.close());

  const open = (path: string, init?: StreamInit): Promise<EventStreamClient> =>
    EventStreamClient.open(app.url + path, init);
  const connectedAs = async (path: string, init?: StreamInit): Promise<string> => {
    const client = await open(path, init);
    const { data } = await client.event('connected');
    client.leave();
    return (JSON.parse(data) as { connectionId: string }).connectionId;
  };
  const topicsOf = async (path: string, id: string): Promise<string[]> => {
    const client = await open(path);
    await client.event('connected');
    const topics = [...(app.store.get(id)?.topics ?? [])];
    client.leave();
    return topics;
  };
  const answerOf = async (path: string, init?: StreamInit): Promise<string> => {
    const client = await open(path, init);
    const { data } = await client.event('answered');
    client.leave();
    return data;
  };

  it('takes the id from :connectionId', async () => {
    expect(await connectedAs('/by-connection/c1')).to.equal('c1');
  });

  it('takes the id from :clientId', async () => {
    expect(await connectedAs('/by-client/c2')).to.equal('c2');
  });

  it('takes the id from the parameter that the endpoint names', async () => {
    expect(await connectedAs('/by-option/ann/tab-1')).to.equal('tab-1');
  });

  it('takes the id from a function of the request before anything else', async () => {
    const headers = { 'X-Device': 'phone' };
    expect(await connectedAs('/by-function/ann', { headers })).to.equal('ann-phone');
  });

  it('generates a random id when nothing names one', async () => {
    const [first, second] = [await connectedAs('/random'), await connectedAs('/random')];
    expect(first).to.match(UUID);
    expect(second).to.match(UUID).and.not.equal(first);
  });

  it('generates a random id when an optional parameter is absent', async () => {
    expect(await connectedAs('/optional')).to.match(UUID);
    expect(await connectedAs('/optional/here')).to.equal('here');
  });

  it('decodes path parameters', async () => {
    expect(await connectedAs('/by-client/a%20b%2Bc%F0%9F%98%80')).to.equal('a b+c😀');
  });

  it('joins the segments of a wildcard', async () => {
    expect(await connectedAs('/files/a/b%20c/d')).to.equal('a|b c|d');
  });

  it('refuses an id with a slash, which ends the user in the ids of users', async () => {
    const client = await open('/by-client/alice%2Ftab1');
    expect(client.status).to.equal(400);
  });

  it('subscribes to fixed topics', async () => {
    expect(await topicsOf('/static/t1', 't1')).to.have.members(['news', 'weather']);
  });

  it('subscribes to the topics that a function of the request names', async () => {
    expect(await topicsOf('/dynamic/t2?topic=a&topic=b', 't2')).to.have.members(['a', 'b']);
  });

  it('subscribes to nothing by itself', async () => {
    expect(await topicsOf('/none/t3', 't3')).to.deep.equal([]);
  });

  it('gives a client without a last id the newest entries of its topics after `connected`, then what is live', async () => {
    const publish = (topic: string, data: number) => app.service.publish(topic, 'item', data);
    await publish('orders', 1);
    for (const n of [2, 3, 4]) await publish('prices', n);
    const items = async (path: string, count: number, init?: StreamInit): Promise<EventStreamClient> => {
      const client = await open(path, init);
      await client.event('connected');
      await until(() => client.events.filter(({ event }) => event === 'item').length >= count, 'the items');
      return client;
    };
    const seen = (client: EventStreamClient): unknown[] =>
      client.events.map(({ event, data }) => (event === 'item' ? data : event));
    const newest = await items('/backlog/b1', 2);
    const latest = await items('/latest/b2', 2);
    const [connected] = newest.events;
    await publish('orders', 5);
    await until(() => [newest, latest].every(client => seen(client).includes('5')), 'the live event');
    expect(seen(newest)).to.deep.equal(['connected', '3', '4', 'sse.position', 'answered', '5']);
    expect(seen(latest)).to.deep.equal(['connected', '1', '4', 'sse.position', 'answered', '5']);
    const again = await items('/latest/b3', 3, { headers: { 'Last-Event-ID': connected?.id ?? '' } });
    expect(seen(again)).to.deep.equal(['connected', '3', '4', '5', 'answered']);
    for (const client of [newest, latest, again]) client.leave();
  });

  it('answers GET and POST where it says so', async () => {
    expect(await answerOf('/both')).to.equal('both GET');
    expect(await answerOf('/both', { method: 'POST' })).to.equal('both POST');
  });

  it('chooses between endpoints of one path by method', async () => {
    expect(await answerOf('/shared')).to.equal('read');
    expect(await answerOf('/shared', { method: 'POST' })).to.equal('write');
  });

  it('passes other methods on, and lists all that the path answers when nothing answers them', async () => {
    for (const method of ['DELETE', 'OPTIONS']) {
      const passed = await open('/shared', { method });
      await passed.ended();
      expect(passed.text).to.equal(`passed ${method} /shared`);
      const client = await open('/shared?unanswered', { method });
      expect(client.status).to.equal(405);
      expect(client.headers).to.include({ allow: 'GET, HEAD, POST', 'cache-control': 'no-store' });
      expect(await client.errorCode()).to.equal('METHOD_NOT_ALLOWED');
    }
  });

  it('answers GET alone by default', async () => {
    const client = await open('/get-only?unanswered', { method: 'POST' });
    expect(client.status).to.equal(405);
    expect(client.headers['allow']).to.equal('GET, HEAD');
  });

  it('lets other paths pass', async () => {
    const client = await open('/elsewhere');
    await client.ended();
    expect(client.text).to.equal('passed GET /elsewhere');
  });

  it('puts the prefix of the controller before its paths', async () => {
    expect(await answerOf('/v1/feed/x')).to.equal('feed');
    const client = await open('/feed/x');
    await client.ended();
    expect(client.text).to.equal('passed GET /feed/x');
  });

  it('serves inherited endpoints on the subclass, below its own prefix', async () => {
    expect(await answerOf('/child/inherited')).to.equal('child');
    expect(await answerOf('/inherited')).to.equal('parent');
  });

  it('serves a method that a subclass decorates again as the subclass says', async () => {
    expect(await answerOf('/child/replaced', { method: 'POST' })).to.equal('child');
    const client = await open('/child/replaced?unanswered');
    expect(client.status).to.equal(405);
    expect(client.headers['allow']).to.equal('POST');
  });

  it('gives the handler the request', async () => {
    expect(await answerOf('/both?x=1')).to.equal('both GET');
  });
});

describe('@SseEndpoint with a request body', () => {
  const methods: string[] = [];
  let app: KoaApp;

  class BodyController {
    @SseEndpoint('/unread/:clientId', { methods: ['POST'] })
    unread(connection: SseConnection): void {
      connection.send('answered', 'open');
    }

    @SseEndpoint('/parsed/:clientId', { methods: ['POST'] })
    parsed(connection: SseConnection, { state }: SseRequest): void {
      connection.send('answered', state['body']);
    }
  }

  before(async () => {
    app = await KoaApp.start({
      controllers: [BodyController],
      before: [
        async (ctx, next) => {
          if (ctx.path.startsWith('/parsed')) {
            const chunks: Buffer[] = [];
            for await (const chunk of ctx.req) chunks.push(chunk as Buffer);
            ctx.state['body'] = Buffer.concat(chunks).toString();
          }
          methods.push(ctx.method);
          await next();
        },
      ],
    });
  });
  after(() => app.close());

  it('streams although the body was not read', async () => {
    const client = await EventStreamClient.open(`${app.url}/unread/a`, {
      method: 'POST',
      body: 'x'.repeat(1_000_000),
    });
    expect((await client.event('answered')).data).to.equal('open');
    await app.service.closeConnection('a');
    expect(await client.closeReason()).to.equal('closed');
    expect(await client.ended()).to.equal('clean');
  });

  it('notices that the client leaves although the body was not read', async () => {
    const client = await RawClient.connect(app.port);
    const head = 'POST /unread/c HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000000\r\n\r\n';
    client.send(head + 'x'.repeat(999_999));
    await client.receives('data: open');
    client.end();
    await until(() => !app.service.hasLocal('c'), 'the end');
  });

  it('streams after a body parser, which leaves the body to the handler', async () => {
    const client = await EventStreamClient.open(`${app.url}/parsed/b`, {
      method: 'POST',
      body: '{"topic":"news"}',
    });
    expect((await client.event('answered')).data).to.equal('{"topic":"news"}');
    client.leave();
  });
});

describe('an endpoint with onReset', () => {
  let app: KoaApp;

  before(async () => {
    app = await KoaApp.start({ controllers: [ResetController] });
  });

  after(() => app.close());

  it('lets its controller send a snapshot to a client that resumes from another log', async () => {
    const client = await EventStreamClient.open(`${app.url}/reset/me`, {
      headers: { 'Last-Event-ID': 'otherlog.abc-1' },
    });
    expect((await client.event('snapshot')).data).to.equal('all there is for me after EPOCH');
    client.leave();
  });
});
