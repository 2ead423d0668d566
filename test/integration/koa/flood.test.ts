import { EventEmitter, once } from 'node:events';
import * as http2 from 'node:http2';
import { expect } from 'chai';
import type { AuditRecord } from '../../../src/contracts/logger.js';
import type { SseGuard, SseRequest } from '../../../src/contracts/authorization.js';
import { SseEndpoint } from '../../../src/koa/endpoints.js';
import { TicketGuard } from '../../../src/node/tickets.js';
import { EventStreamClient } from '../../support/event-stream-client.js';
import { KoaApp, type KoaAppSettings } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

const STREAM = { Accept: 'text/event-stream' };

/** Ends the guards that hang: a time-out of one minute would keep the process alive after the tests. */
const slow = new EventEmitter();

/** Names the user of the header `X-User`; hangs for the user `slow`. */
class HeaderGuard implements SseGuard {
  canConnect({ headers }: SseRequest): ReturnType<SseGuard['canConnect']> {
    const user = headers['x-user'];
    if (user === 'slow') return once(slow, 'end').then(() => false);
    if (user === 'banned') return 401;
    return typeof user === 'string' ? { user } : true;
  }
}

class StreamController {
  @SseEndpoint('/sse/:clientId', { guards: [HeaderGuard], topics: ['news'] })
  stream(): void {
    // Only held open.
  }

  @SseEndpoint('/posted/:clientId', { guards: [HeaderGuard], methods: ['POST'] })
  posted(): void {
    // Only held open.
  }

  @SseEndpoint('/ticketed/:clientId', { guards: [TicketGuard] })
  ticketed(): void {
    // Only held open.
  }
}

describe('an attacker that floods a node', () => {
  let app: KoaApp;
  let healthy: EventStreamClient;
  const records: AuditRecord[] = [];

  const start = async (settings: KoaAppSettings, proxy = false): Promise<void> => {
    records.length = 0;
    app = await KoaApp.start({
      controllers: [StreamController],
      bind: container => container.bind(HeaderGuard).toSelf(),
      overrides: { onAudit: record => records.push(record) },
      ...settings,
    });
    app.app.proxy = proxy;
    const open = settings.protocol === 'h2c' ? EventStreamClient.open2 : EventStreamClient.open;
    healthy = await open(`${app.url}/sse/healthy`, {
      headers: { 'X-User': 'healthy', 'X-Forwarded-For': '198.51.100.1' },
    });
    await healthy.event('connected');
  };
  const open = (id: string, headers: Readonly<Record<string, string>> = {}): Promise<EventStreamClient> =>
    EventStreamClient.open(`${app.url}/sse/${id}`, { headers: { ...STREAM, ...headers } });

  const limitsInLog = () => app.logger.at('warn').flatMap(({ fields }) => fields?.['limit'] ?? []);

  afterEach(async () => {
    // The healthy client notices nothing.
    await app.service.publish('news', 'note', 'for everyone');
    expect((await healthy.event('note')).data).to.equal('for everyone');
    expect(healthy.events.map(({ event }) => event)).to.deep.equal(['connected', 'note']);
    await app.close();
  });

  it('over HTTP/1.1 gets the connections of its user and no more', async () => {
    await start({ options: { connection: { maxConnections: 10 }, limits: { maxConnectionsPerUser: 3 } } });
    const clients = await Promise.all(
      Array.from({ length: 15 }, (_, index) => `m${index}`).map(id => open(id, { 'X-User': 'mallory' })),
    );
    await until(() => clients.every(({ events }) => events.length > 0), 'an answer to each');
    const refused = clients.filter(({ events }) => events[0]?.event === 'sse.closed');
    expect(refused).to.have.length(12);
    expect(new Set(refused.map(({ events }) => events[0]?.data))).to.deep.equal(new Set(['{"reason":"full"}']));
    expect(limitsInLog()).to.deep.equal(['limits.maxConnectionsPerUser']);
    const other = await open('other', { 'X-User': 'other' });
    await other.event('connected');
    other.leave();
  });

  it('from one address gets the connections of its address, whatever it puts into X-Forwarded-For', async () => {
    await start({ options: { limits: { maxConnectionsPerAddress: 2 } } });
    for (const [index, id] of ['a', 'b', 'c'].entries()) {
      const client = await open(id, { 'X-Forwarded-For': `203.0.113.${index}` });
      if (id === 'a') await client.event('connected');
      else expect(await client.closeReason()).to.equal('full');
    }
    expect(app.logger.at('warn').map(({ message }) => message.slice(0, 35))).to.deep.equal([
      'a request has X-Forwarded-For, and ',
      'a stream was refused; others for th',
    ]);
  });

  it('behind a proxy counts by the address that the proxy names', async () => {
    await start({ options: { limits: { maxConnectionsPerAddress: 1 } } }, true);
    const mallory = { 'X-Forwarded-For': '203.0.113.9' };
    await (await open('a', mallory)).event('connected');
    expect(await (await open('b', mallory)).closeReason()).to.equal('full');
    await (await open('c', { 'X-Forwarded-For': '203.0.113.10' })).event('connected');
    expect(app.logger.at('warn').map(({ message }) => message.slice(0, 35))).to.deep.equal([
      'a stream was refused; others for th',
    ]);
  });

  it('by connects and reconnects is sent away for 30 s and more', async () => {
    await start({ options: { limits: { maxConnectsPerMinute: 5 } } });
    for (let round = 0; round < 5; round += 1) (await open('me', { 'X-User': 'mallory' })).leave();
    const client = await open('me', { 'X-User': 'mallory' });
    expect(await client.closeReason()).to.equal('rate-limited');
    expect(Number(/^retry: (\d+)$/m.exec(client.text)?.[1])).to.be.at.least(30_000);
  });

  it('by requests whose guards hang takes no more than guards.maxPending of them', async () => {
    await start({ options: { guards: { maxPending: 3, timeout: 60_000 } } });
    const hanging = ['a', 'b', 'c'].map(id => open(id, { 'X-User': 'slow' }).catch(() => undefined));
    await until(async () => (await (await open('d')).closeReason().catch(() => '')) === 'full', 'the limit');
    expect(records.at(-1)).to.deep.include({ kind: 'limit', limit: 'guards.maxPending', code: 'CONNECTION_LIMIT' });
    for (const socket of app.sockets) if (socket.bytesWritten === 0) socket.destroy();
    slow.emit('end');
    await Promise.all(hanging);
  });

  it('over one HTTP/2 connection gets the share of one, and another connection finds room', async () => {
    await start({
      protocol: 'h2c',
      options: { connection: { maxConnections: 50 }, limits: { maxConnectionsPerHttp2: 10 } },
    });
    const session = http2.connect(app.url);
    const streams = Array.from({ length: 40 }, (_, index) =>
      session.request({ ':path': `/sse/m${index}`, accept: 'application/json, */*' }),
    );
    const statuses = await Promise.all(
      streams.map(async stream => {
        const [headers] = (await once(stream, 'response').catch(() => [])) as [http2.IncomingHttpStatusHeader?];
        return headers?.[':status'];
      }),
    );
    expect(statuses.filter(status => status === 200)).to.have.length(10);
    // The session is closed for new streams at the first refusal.
    expect(statuses.filter(status => status === 503 || status === undefined)).to.have.length(30);
    const other = await EventStreamClient.open2(`${app.url}/sse/other`);
    await other.event('connected');
    other.leave();
    session.destroy();
    await until(() => app.store.size === 1, 'the end of the flood');
  });

  it('with the URL of another client gets 401: its ticket works once', async () => {
    await start({});
    const url = `${app.url}/ticketed/tab?ticket=${await app.service.tickets.issue({ user: 'ann' })}`;
    const ann = await EventStreamClient.open(url, { headers: STREAM });
    await ann.event('connected');
    expect(app.service.hasLocal('ann/tab')).to.equal(true);
    for (const recorded of [url, `${app.url}/ticketed/tab`, `${url}&ticket=x`]) {
      expect((await EventStreamClient.open(recorded, { headers: STREAM })).status).to.equal(401);
    }
    expect(ann.end).to.equal(undefined);
    ann.leave();
  });

  it('is in the audit records: one for each happening, without payloads', async () => {
    await start({ options: { limits: { maxConnectionsPerUser: 1 } } });
    const ann = { 'X-User': 'ann' };
    await (await open('tab', ann)).event('connected');
    await (await open('tab', ann)).event('connected');
    await (await open('second', ann)).closeReason();
    await (await open('x', { 'X-User': 'banned' })).ended();
    await (await open('y', { 'Sec-Fetch-Site': 'cross-site' })).ended();
    await (await open('%00')).ended();
    await until(() => records.length >= 8, 'the records');
    const address = '127.0.0.1';
    const seen = records.map(({ at, nodeId, ...record }) => {
      expect(at).to.be.closeTo(Date.now(), 60_000);
      expect(nodeId).to.equal(app.service.nodeId);
      return record;
    });
    const tab = { connectionId: 'ann/tab', user: 'ann' };
    expect(seen).to.deep.include.members([
      { kind: 'connect', ...tab, address, topics: ['news', '=ann'] },
      { kind: 'takeover', ...tab },
      {
        kind: 'limit',
        connectionId: 'ann/second',
        user: 'ann',
        address,
        code: 'CONNECTION_LIMIT',
        status: 503,
        limit: 'limits.maxConnectionsPerUser',
      },
      { kind: 'refuse', address, code: 'FORBIDDEN', status: 401 },
      { kind: 'refuse', address, code: 'FORBIDDEN', status: 403 },
    ]);
    expect(seen.map(({ kind }) => kind)).to.have.members([
      ...['connect', 'connect', 'connect', 'takeover', 'limit', 'refuse', 'refuse', 'refuse'],
    ]);
  });

  it('is in the audit records, though its request looks like a report where clients do not confirm', async () => {
    await start({});
    const headers = { Accept: 'application/vnd.distributed-sse.confirm' };
    const { status } = await fetch(`${app.url}/posted/x`, { method: 'POST', headers });
    expect(status).to.equal(406);
    const refusals = records.filter(({ kind }) => kind !== 'connect');
    expect(refusals).to.have.length(1);
    expect(refusals[0]).to.include({ kind: 'refuse', code: 'NOT_ACCEPTABLE', status: 406 });
  });
});
