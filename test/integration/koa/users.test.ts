import { expect } from 'chai';
import type { Admission, SseGuard, SseRequest } from '../../../src/contracts/authorization.js';
import type { SseConnection } from '../../../src/contracts/connection.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

const signedOut = new Set<string>();
let admitted = 0;

/** Trusts a header, in place of a session. */
class Session implements SseGuard {
  canConnect({ headers, query }: SseRequest): Admission | boolean | number {
    const user = headers['x-user'];
    if (typeof user === 'string' && signedOut.has(user)) return 401;
    admitted += 1;
    if (typeof user !== 'string') return query['anonymous'] !== undefined;
    return { user, ...(query['only'] === undefined ? {} : { topics: [String(query['only'])] }) };
  }
}

/** A second guard, which may say something else. */
class Token implements SseGuard {
  canConnect({ query }: SseRequest): boolean | Admission {
    return query['token'] === undefined || { user: String(query['token']) };
  }
}

class Pages {
  @SseEndpoint('/sse/:clientId', {
    guards: [Session, Token],
    topics: ({ query }) => (query['topic'] === undefined ? [] : [String(query['topic'])]),
  })
  open(connection: SseConnection): void {
    connection.send('whoami', { user: connection.user ?? null, id: connection.id });
  }

  @SseEndpoint('/answers/:key', { guards: [Session], resumable: ({ params }) => params['key'] ?? '' })
  async *answer() {
    yield { event: 'word', data: 'secret' };
    await new Promise(() => undefined);
  }
}

describe('users, with attackers', () => {
  let app: KoaApp;
  let alice: EventStreamClient;
  before(async () => {
    app = await KoaApp.start({
      controllers: [Pages],
      options: { mailbox: { enabled: true } },
      bind: container => {
        for (const guard of [Session, Token]) container.bind<SseGuard>(guard).toSelf();
      },
    });
  });
  beforeEach(async () => {
    alice = await open('/sse/tab1', 'alice');
    await alice.event('connected');
  });
  afterEach(async () => {
    // The healthy client has noticed nothing.
    await app.service.sendMessageToConnection('alice/tab1', 'still', 'here');
    await alice.event('still');
    alice.leave();
  });
  after(() => app.close());

  const open = (path: string, user?: string, headers = {}): Promise<EventStreamClient> =>
    EventStreamClient.open(app.url + path, {
      headers: { ...(user === undefined ? {} : { 'X-User': user }), ...headers },
    });
  const lastIdOf = ({ events }: EventStreamClient): string => events.findLast(({ id }) => id !== undefined)?.id ?? '';
  const statusOf = async (path: string, user?: string): Promise<number> => {
    const client = await open(path, user);
    client.leave();
    return client.status;
  };

  it('the handler knows the user, and the client sees its own id', async () => {
    expect(JSON.parse((await alice.event('whoami')).data)).to.deep.equal({ user: 'alice', id: 'alice/tab1' });
  });

  it('who names the id of another user gets a connection of its own', async () => {
    const mallory = await open('/sse/tab1', 'mallory');
    expect(JSON.parse((await mallory.event('connected')).data)).to.have.property('connectionId', 'tab1');
    expect(app.service.hasLocal('mallory/tab1')).to.equal(true);
    mallory.leave();
  });

  it('who writes the whole id of another user is that user nowhere', async () => {
    expect(await statusOf('/sse/alice%2Ftab1?anonymous')).to.equal(400);
    const mallory = await open('/sse/alice%2Ftab1', 'mallory');
    await mallory.event('connected');
    expect(app.service.hasLocal('mallory/alice/tab1')).to.equal(true);
    mallory.leave();
    const torn = await open('/sse/tab1?token=alice', 'mallory');
    await torn.ended();
    expect(torn.text).to.not.include('connected');
  });

  it('a mailbox is read by its user alone', async () => {
    await app.service.sendMessageToConnection('alice/away', 'mail', 'secret', { durable: true });
    const mallory = await open('/sse/away', 'mallory', { 'Last-Event-ID': lastIdOf(alice) });
    await app.service.sendMessageToConnection('mallory/away', 'after', 'x');
    await mallory.event('after');
    expect(mallory.text).to.not.include('secret');
    mallory.leave();
    const away = await open('/sse/away', 'alice');
    expect((await away.event('mail')).data).to.equal('secret');
    away.leave();
  });

  it('topics and sources with another user in their names are refused', async () => {
    expect(await statusOf('/sse/x?topic=%3Dalice%2Forders', 'mallory')).to.equal(403);
    expect(await statusOf('/sse/x?topic=%3Dalice%2Forders&anonymous')).to.equal(403);
    expect(await statusOf('/answers/%3Dalice%2Fone', 'mallory')).to.equal(403);
    expect(await statusOf('/sse/x?topic=%3Dalice', 'alice')).to.equal(422);
  });

  it('a resumable source of another user is refused, also from the middle', async () => {
    const own = await open('/answers/two', 'alice');
    await own.event('word');
    expect(await statusOf('/answers/two', 'mallory')).to.equal(403);
    expect(await statusOf('/answers/two?anonymous')).to.equal(403);
    const mallory = await open('/answers/two', 'mallory', { 'Last-Event-ID': lastIdOf(own) });
    expect(mallory.status).to.equal(403);
    own.leave();
    await app.service.forgetSource('two');
  });

  it('who is signed out while connecting again and again gets no stream that lasts', async () => {
    const tabs = await Promise.all([1, 2, 3].map(n => open(`/sse/m${n}`, 'mallory')));
    await Promise.all(tabs.map(tab => tab.event('connected')));
    const attempts: Promise<EventStreamClient>[] = [];
    admitted = 0;
    for (let n = 0; n < 20; n += 1) attempts.push(open(`/sse/m${n}`, 'mallory'));
    await until(() => admitted >= 5, 'some to be admitted');
    signedOut.add('mallory');
    const revoked = app.service.revoke({ user: 'mallory' });
    for (let n = 0; n < 20; n += 1) attempts.push(open(`/sse/m${n}`, 'mallory'));
    await revoked;
    const clients = [...tabs, ...(await Promise.all(attempts))];
    await Promise.all(clients.map(client => client.ended()));
    expect(app.service.connections({ user: 'mallory' })).to.deep.equal([]);
    for (const { status } of clients.slice(-20)) expect(status).to.equal(401);
    signedOut.clear();
  });

  it('a guard can say which topics a user may follow', async () => {
    expect(await statusOf('/sse/x?topic=news&only=sport', 'bob')).to.equal(403);
    const bob = await open('/sse/x?topic=sport&only=sport', 'bob');
    await bob.event('connected');
    expect(await app.service.subscribe('bob/x', 'news')).to.deep.equal({ outcome: 'rejected', code: 'FORBIDDEN' });
    bob.leave();
  });
});
