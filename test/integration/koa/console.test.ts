import { expect } from 'chai';
import { Container } from 'inversify';
import type { Middleware } from 'koa';
import mount from 'koa-mount';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import type { AuditRecord } from '../../../src/contracts/logger.js';
import { sseConsole, type SseConsoleOptions } from '../../../src/console/index.js';
import type {
  About,
  ActivityAnswer,
  ConnectionsAnswer,
  HappeningsEvent,
  LogAnswer,
  NodesAnswer,
  SendAnswer,
  SendsEvent,
  SourcesAnswer,
  TopicsAnswer,
} from '../../../src/console/index.js';
import { SseError } from '../../../src/errors.js';
import { EventStreamClient, type StreamInit } from '../../support/event-stream-client.js';
import { KoaApp } from '../../support/koa-app.js';
import { until } from '../../support/until.js';

const TAKEOVERS = { takeoverLimit: 5, takeoverWindow: 30_000 };
const SAME_ORIGIN = { 'sec-fetch-site': 'same-origin', 'content-type': 'application/json' };

/** The nodes a and b on one bus, with a console that admits every visitor but those with the header `x-stranger`. */
describe('sseConsole', () => {
  const bus = new MemoryBus();
  const clients: EventStreamClient[] = [];
  const records: AuditRecord[] = [];
  let a: KoaApp;
  let b: KoaApp;

  before(async () => {
    const guard: SseConsoleOptions['guard'] = (ctx, purpose) => ctx.get('x-stranger') === '' && purpose !== 'close';
    a = await start('a', { guard, traceLink: 'https://jaeger.example/trace/{traceId}' }, each => each);
    b = await start('b', { guard }, each => mount('/ops/live', each));
    for (const [app, id] of [
      [a, 'ann'],
      [b, 'bob'],
      [b, 'bea'],
    ] as const) {
      const client = await open(app, `/sse/${id}`);
      await client.event('connected');
    }
  });

  after(async () => {
    for (const client of clients) client.leave();
    await Promise.all([a.close(), b.close()]);
  });

  async function start(
    id: string,
    options: SseConsoleOptions,
    place: (own: Middleware) => Middleware,
  ): Promise<KoaApp> {
    return KoaApp.start({
      options: { node: { id } },
      overrides: {
        clusterCoordinator: new LocalCoordinator(id, TAKEOVERS, bus),
        onAudit: record => records.push(record),
      },
      mounted: container => place(sseConsole(container, options)),
      after: [
        async (ctx, next) => {
          if (!ctx.path.startsWith('/sse/')) {
            await next();
            return;
          }
          const { user } = ctx.query;
          const options = typeof user === 'string' ? { user, topics: ['news'] } : { topics: ['news'] };
          await ctx.sse.connect(ctx.path.slice('/sse/'.length), options);
        },
      ],
    });
  }

  async function open(app: KoaApp, path: string, init: StreamInit = {}): Promise<EventStreamClient> {
    const headers = { accept: 'text/event-stream', ...init.headers };
    const client = await EventStreamClient.open(app.url + path, { ...init, headers });
    clients.push(client);
    return client;
  }

  /** A plain request, as a script makes it. */
  function ask(path: string, init: StreamInit = {}): Promise<EventStreamClient> {
    return EventStreamClient.open(`${a.url}/console/${path}`, init);
  }

  async function read<T>(path: string): Promise<T> {
    const answer = await ask(`api/${path}`);
    expect(answer.status).to.equal(200);
    return (await answer.json()) as T;
  }

  function act(action: string, body: object, headers: Readonly<Record<string, string>> = SAME_ORIGIN) {
    return ask(`api/${action}`, { method: 'POST', headers, body: JSON.stringify(body) });
  }

  /** The data of the latest event of that name. */
  async function latest<T>(stream: EventStreamClient, name: string, matches: (data: T) => boolean): Promise<T> {
    const found = (): T | undefined =>
      stream
        .data(name)
        .map(text => JSON.parse(text) as T)
        .findLast(matches);
    await until(() => found() !== undefined, `an event ${name}`);
    return found() as T;
  }

  it('starts only with a guard, or when the settings admit every visitor', async () => {
    const { container } = a;
    // What a program without types may pass.
    const refused = [undefined, {}, { guard: undefined }, { guard: true }].map(
      options => options as unknown as SseConsoleOptions,
    );
    for (const options of refused) {
      expect(() => sseConsole(container, options))
        .to.throw(SseError)
        .with.property('code', 'INVALID_OPTION');
    }
    expect(sseConsole(container, { guard: false })).to.be.a('function');
    expect(() => sseConsole(new Container(), { guard: false })).to.throw(SseError, 'the container that has sseModule');
  });

  it('takes trace links that begin with http or https', () => {
    for (const traceLink of ['javascript:alert(1)//{traceId}', 'ftp://x/{traceId}', '/trace/{traceId}', 'https://x/']) {
      expect(() => sseConsole(a.container, { guard: false, traceLink }))
        .to.throw(SseError)
        .with.property('code', 'INVALID_OPTION');
    }
  });

  it('has its page below any path, with a policy that lets only its own files run', async () => {
    for (const [app, path] of [
      [a, '/console'],
      [b, '/ops/live'],
    ] as const) {
      const bare = await EventStreamClient.open(app.url + path);
      expect(bare.status).to.equal(302);
      const target = new URL(String(bare.headers['location']), app.url + path).pathname;
      expect(target).to.equal(`${path}/`);
      const page = await EventStreamClient.open(app.url + target);
      expect(page.status).to.equal(200);
      expect(page.headers['content-type']).to.match(/^text\/html/);
      const policy = String(page.headers['content-security-policy']);
      expect(policy).to.include("default-src 'none'").and.include("frame-ancestors 'none'");
      expect(policy).to.not.include('unsafe-inline');
      const [own] = String(page.headers['etag']).split(',');
      const again = await EventStreamClient.open(app.url + target, { headers: { 'if-none-match': own ?? '' } });
      expect(again.status).to.equal(304);
    }
    expect((await ask('nothing-like-that')).status).to.equal(404);
  });

  it('asks its guard for each file, resource, stream and action', async () => {
    const headers = { ...SAME_ORIGIN, 'x-stranger': '1' };
    for (const path of ['', 'api/about', 'api/nodes', 'api/live', 'api/log?topics=news']) {
      expect((await ask(path, { headers })).status).to.equal(403);
    }
    expect((await act('send', { connectionId: 'ann', data: 1 }, headers)).status).to.equal(403);
    const about = await read<About>('about');
    expect(about.actions)
      .to.include.members(['send', 'publish', 'revoke', 'drain', 'stop-source'])
      .and.not.include('close');
    expect((await act('close', { connectionId: 'ann' })).status).to.equal(403);
  });

  it('shows the nodes, connections and topics of the whole cluster from any node', async () => {
    const { nodes, missing, cutOff } = await read<NodesAnswer>('nodes');
    expect({ missing, cutOff }).to.deep.equal({ missing: [], cutOff: false });
    expect(nodes.map(({ nodeId, kind, connections }) => [nodeId, kind, connections])).to.deep.equal([
      ['a', 'reading', 1],
      ['b', 'reading', 2],
    ]);
    const { rows, total } = await read<ConnectionsAnswer>('connections');
    expect(total).to.equal(3);
    expect(rows.map(({ connectionId, nodeId, topics }) => [connectionId, nodeId, topics])).to.deep.equal([
      ['ann', 'a', ['news']],
      ['bea', 'b', ['news']],
      ['bob', 'b', ['news']],
    ]);
    const topics = await read<TopicsAnswer>('topics');
    expect(topics.rows).to.deep.equal([{ topic: 'news', subscribers: 3, nodes: 2, rate: null, kept: 0 }]);
    expect((await read<SourcesAnswer>('sources')).rows).to.deep.equal([]);
  });

  it('searches connections, and pages through them without a gap or a repetition', async () => {
    const found = await read<ConnectionsAnswer>('connections?search=be');
    expect([found.matching, found.rows.map(({ connectionId }) => connectionId)]).to.deep.equal([1, ['bea']]);
    for (const sort of ['id', 'age', 'newest', 'waiting']) {
      const seen: string[] = [];
      for (let after: string | null = ''; after !== null;) {
        const page: ConnectionsAnswer = await read(`connections?limit=1&sort=${sort}&after=${after}`);
        seen.push(...page.rows.map(({ connectionId }) => connectionId));
        after = page.next;
      }
      expect(seen.toSorted()).to.deep.equal(['ann', 'bea', 'bob']);
    }
    for (const wrong of ['limit=0', 'limit=x', 'state=odd', 'after=odd']) {
      expect((await ask(`api/connections?${wrong}`)).status).to.equal(400);
    }
  });

  it('shows what a client at an id would get', async () => {
    const first = await a.service.publish('news', 'headline', { n: 1 });
    await b.service.publish('news', 'headline', 'two\nlines');
    const newest = await read<LogAnswer>('log?topics=news&limit=1');
    expect([newest.verdict, newest.entries.map(({ data }) => data)]).to.deep.equal(['newest', ['two\nlines']]);
    const behind = await read<LogAnswer>(`log?topics=news&after=${first.id ?? ''}`);
    expect(behind.verdict).to.equal('resumes');
    expect(behind.entries.map(({ event, data }) => [event, data])).to.deep.equal([['headline', 'two\nlines']]);
    const foreign = await read<LogAnswer>('log?topics=news&after=abc.1-1');
    expect([foreign.verdict, foreign.reset?.reason]).to.deep.equal(['reset', 'EPOCH']);
    expect((await read<LogAnswer>('log?topics=news&after=nothing')).verdict).to.equal('not-an-id');
    expect((await ask('api/log?topics=$sse.console')).status).to.equal(422);
  });

  it('streams what happens on every node while somebody looks', async () => {
    const stream = await open(a, '/console/api/live');
    expect(stream.status).to.equal(200);
    await stream.event('tick');
    const client = await open(b, '/sse/late');
    await client.event('connected');
    await b.service.sendMessageToConnection('ann', 'note', 'hello');
    client.leave();
    await latest<HappeningsEvent>(stream, 'happenings', ({ happenings }) =>
      happenings.some(each => each.kind === 'close' && each.connectionId === 'late'),
    );
    const happenings = stream.data('happenings').flatMap(text => (JSON.parse(text) as HappeningsEvent).happenings);
    const own = happenings.filter(each => 'connectionId' in each && each.connectionId === 'late');
    expect(own.map(({ kind, nodeId }) => [kind, nodeId])).to.deep.equal([
      ['connect', 'b'],
      ['close', 'b'],
    ]);
    const { sends } = await latest<SendsEvent>(stream, 'sends', event => event.sends.length > 0);
    expect(
      sends.map(({ kind, to, nodeId, ownerNodeId, outcome }) => [kind, to, nodeId, ownerNodeId, outcome]),
    ).to.deep.equal([['send', 'ann', 'b', 'a', 'delivered']]);
    const tick = await latest<NodesAnswer>(stream, 'tick', ({ nodes }) =>
      nodes.every(({ kind }) => kind === 'reading'),
    );
    expect(tick.nodes.map(({ nodeId }) => nodeId)).to.deep.equal(['a', 'b']);
    expect(tick.traffic).to.be.an('object');
    const activity = await read<ActivityAnswer>('activity');
    expect(activity.recording).to.equal(true);
    expect(activity.sends.map(({ to }) => to)).to.deep.equal(['ann']);
    stream.leave();
  });

  it('keeps its viewers out of counts, broadcasts and closeAllConnections', async () => {
    const viewer = await open(a, '/console/api/connections?every=500');
    await viewer.event('connections');
    const [before] = a.service.health().reasons;
    expect([a.service.getConnectionCount(), await a.service.getClusterConnectionCount(), before]).to.deep.equal([
      1,
      3,
      undefined,
    ]);
    expect((await a.service.broadcastToCluster('hello', 1)).outcome).to.equal('stored');
    expect((await a.service.closeAllConnections('test', { cluster: true })).closed).to.equal(3);
    await latest<ConnectionsAnswer>(viewer, 'connections', ({ total }) => total === 0);
    expect(viewer.data('hello')).to.deep.equal([]);
    viewer.leave();
  });

  it('refuses actions that its page did not ask for', async () => {
    const body = { connectionId: 'nobody', data: 1 };
    const json = { 'content-type': 'application/json' };
    const about = await ask('api/about');
    const { token } = (await about.json()) as About;
    const [cookie = ''] = String(about.headers['set-cookie']).split(';');
    expect(String(about.headers['set-cookie']))
      .to.match(/samesite=strict/i)
      .and.match(/httponly/i);
    const refused = [
      json,
      { ...json, 'sec-fetch-site': 'same-site' },
      { ...json, 'sec-fetch-site': 'cross-site', cookie, 'x-console-token': token },
      { ...json, cookie },
      { ...json, 'x-console-token': token },
      { ...json, cookie, 'x-console-token': `${token.slice(1)}x` },
    ];
    for (const headers of refused) expect((await act('send', body, headers)).status).to.equal(403);
    const admitted = await act('send', body, { ...json, cookie, 'x-console-token': token });
    expect(((await admitted.json()) as SendAnswer).outcome).to.equal('not-connected');
    for (const site of ['cross-site', 'same-site']) {
      expect((await ask('api/nodes', { headers: { 'sec-fetch-site': site } })).status).to.equal(403);
    }
    expect((await act('send', { data: 1 })).status).to.equal(400);
    expect((await ask('api/send')).status).to.equal(405);
  });

  it('sends, publishes, revokes, and drains a node; each action is in the log and the audit, without its data', async () => {
    const client = await open(b, '/sse/eve');
    await client.event('connected');
    const sent = await act('send', { connectionId: 'eve', event: 'note', data: { secret: 'x' } });
    expect(await sent.json()).to.include({ outcome: 'delivered', nodeId: 'b' });
    expect((await client.event('note')).data).to.equal('{"secret":"x"}');
    expect(await (await act('publish', { topic: 'news', event: 'page', data: 1 })).json()).to.include({
      outcome: 'stored',
    });
    await client.event('page');
    const tab = await open(b, '/sse/tab?user=dora');
    await tab.event('connected');
    expect(await (await act('revoke', { user: 'dora' })).json()).to.deep.include({ closed: 1, missing: [] });
    expect(await tab.closeReason()).to.equal('revoked');
    expect(await (await act('stop-source', { key: 'none' })).json()).to.include({ outcome: 'not-connected' });
    expect(await (await act('drain', { nodeId: 'no-such-node' })).json()).to.deep.equal({ outcome: 'not-connected' });
    expect(await (await act('drain', { nodeId: 'b' })).json()).to.deep.equal({ outcome: 'delivered' });
    expect(await client.closeReason()).to.equal('draining');
    const lines = a.logger.lines.filter(({ message }) => message === 'an action of the console');
    expect(lines.map(({ fields }) => fields?.['action'])).to.include.members(['send', 'publish', 'drain']);
    expect(JSON.stringify([lines, records])).to.not.include('secret');
    const audited = records.flatMap(record => (record.kind === 'action' ? [record] : []));
    expect(audited.map(({ action }) => action)).to.include.members([
      'send',
      'publish',
      'revoke',
      'stop-source',
      'drain',
    ]);
    const sending = audited.find(({ target }) => target === 'eve');
    expect(sending).to.include({ nodeId: 'a', action: 'send', outcome: 'delivered', address: '127.0.0.1' });
  });
});
