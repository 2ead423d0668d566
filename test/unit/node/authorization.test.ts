import { expect } from 'chai';
import sinon from 'sinon';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import type { AuditRecord } from '../../../src/contracts/logger.js';
import type { AuthorizedClient, Authorizer, Grant } from '../../../src/contracts/authorization.js';
import type { ClusterListener } from '../../../src/contracts/listener.js';
import { codeOf } from '../../support/code-of.js';
import { type TestClient, TestNode } from '../../support/test-node.js';
import { until } from '../../support/until.js';

/** Grants what a test says. */
class Grants implements Authorizer {
  readonly asked: string[] = [];
  readonly since = new Map<string, Date>();
  readonly refused = new Set<string>();
  leaves: ReadonlySet<string> = new Set();

  grant({ connectionId }: AuthorizedClient, topics: readonly string[]): Grant[] {
    this.asked.push(`${connectionId}: ${topics.join()}`);
    return topics
      .filter(topic => !this.refused.has(topic))
      .map(topic => {
        const since = this.since.get(topic);
        return since === undefined ? { topic } : { topic, since };
      });
  }

  stillAllowed({ connectionId }: AuthorizedClient): boolean {
    if (connectionId.startsWith('broken')) throw new Error('the directory is away');
    return !this.leaves.has(connectionId);
  }
}

describe('authorization', () => {
  let authorizer: Grants;
  let node: TestNode;
  let records: AuditRecord[];
  const clock = () => sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'Date', 'performance'] });

  beforeEach(() => {
    authorizer = new Grants();
    records = [];
    node = new TestNode('a', new MemoryBus(), {
      authorizer,
      options: { guards: { recheck: 60_000 } },
      onAudit: record => records.push(record),
    });
  });
  afterEach(() => node.service.close());

  const data = ({ sink }: Awaited<ReturnType<TestNode['connect']>>): string[] => sink.data('message');

  it('a topic without a grant is refused when connecting and when subscribing', async () => {
    authorizer.refused.add('secret');
    expect(await codeOf(node.connect('c1', { topics: ['news', 'secret'] }))).to.equal('FORBIDDEN');
    const { connection } = await node.connect('c1', { topics: ['news'] });
    expect(await node.service.subscribe('c1', 'secret')).to.deep.equal({ outcome: 'rejected', code: 'FORBIDDEN' });
    expect(await node.service.subscribe('c1', 'sport')).to.deep.equal({ outcome: 'delivered' });
    expect([...connection.topics]).to.deep.equal(['news', 'sport']);
    expect(authorizer.asked.at(-1)).to.equal('c1: sport');
  });

  it('what was added before is followed again only with a grant', async () => {
    const first = await node.connect('c1', { topics: ['news'] });
    await node.service.subscribe('c1', 'board');
    await node.service.publish('board', 'message', 'one');
    await until(() => data(first).length === 1, 'the event');
    const lastEventId = first.sink.lastId ?? '';
    first.sink.leave();
    await node.service.publish('board', 'message', 'two');
    authorizer.refused.add('board');
    const back = await node.connect('c1', { topics: ['news'], lastEventId });
    await node.service.publish('news', 'message', 'three');
    await until(() => data(back).length > 0, 'the event');
    expect(data(back)).to.deep.equal(['three']);
  });

  for (const [how, options] of [
    ['a made-up cursor of the log', (id: string) => ({ lastEventId: id.replace(/\.[^-]+-/, '.1-') })],
    ['a made-up cursor of another log', () => ({ lastEventId: 'zzzz.1-1' })],
    ['a backlog', () => ({ backlog: 10 })],
    ['the latest of each topic', () => ({ backlog: 'latest' as const })],
  ] as const) {
    it(`no client gets an entry from before its grant, by ${how}`, async () => {
      await node.service.publish('news', 'message', 'before');
      const position = await node.service.position();
      await until(() => Date.now() > parseInt(position.split('.')[1] ?? '', 36), 'another millisecond');
      authorizer.since.set('news', new Date());
      await until(() => Date.now() > Number(authorizer.since.get('news')), 'another millisecond');
      if (how !== 'the latest of each topic') await node.service.publish('news', 'message', 'after');
      const client = await node.connect('c1', { topics: ['news'], ...options(position) });
      await node.service.publish('news', 'message', 'live');
      await until(() => data(client).includes('live'), 'the live event');
      expect(data(client)).to.deep.equal(how === 'the latest of each topic' ? ['live'] : ['after', 'live']);
    });
  }

  it('no client gets an entry from before its grant by subscribe, while the feed of its node is behind', async () => {
    let feed: ClusterListener | undefined;
    const behind = new TestNode('b', new MemoryBus(), {
      authorizer,
      wrap: inner => ({
        ...inner,
        kind: inner.kind,
        log: { ...inner.log, position: () => undefined },
        status: id => inner.status(id),
        close: () => inner.close(),
        start: listener => inner.start((feed = listener)),
      }),
    });
    const publish = (ms: number, text: string): void => {
      const bytes = Buffer.from(`data: ${text}\n\n`);
      feed?.onPublication('news', { bytes, position: { epoch: behind.bus.log.epoch, ms, sequence: 0 } });
    };
    const follower = await behind.connect('follower', { topics: ['news'] });
    const granted = await behind.connect('granted');
    const connected = Date.now();
    await until(() => Date.now() > connected + 2, 'a time at which two entries came after the connects');
    const since = Date.now();
    authorizer.since.set('news', new Date(since));
    expect(await behind.service.subscribe('granted', 'news')).to.deep.equal({ outcome: 'delivered' });
    publish(since - 2, 'before');
    publish(since - 1, 'just before');
    publish(since, 'after');
    publish(since + 1, 'later');
    await until(() => data(granted).length >= 2 && data(follower).length >= 4, 'the events');
    expect(data(granted)).to.deep.equal(['after', 'later']);
    expect(data(follower)).to.deep.equal(['before', 'just before', 'after', 'later']);
    await behind.service.close();
  });

  it('a grant that has not begun grants nothing', async () => {
    authorizer.since.set('news', new Date(Date.now() + 60_000));
    expect(await codeOf(node.connect('c1', { topics: ['news'] }))).to.equal('FORBIDDEN');
  });

  it('streams end when the credentials run out, spread over a few seconds, without a timer for each', async () => {
    const fake = clock();
    try {
      const expiresAt = new Date(Date.now() + 30_000);
      const clients: TestClient[] = [];
      const timersOf = async (count: number): Promise<number> => {
        while (clients.length < count) clients.push(await node.connect(`c${clients.length}`, { expiresAt }));
        await fake.tickAsync(10_000);
        return fake.countTimers();
      };
      const few = await timersOf(10);
      // Jobs that other tests left behind plan their next runs by this clock as well: tens, and no timer for each client.
      expect((await timersOf(500)) - few).to.be.below(245);
      await fake.tickAsync(9_999);
      expect(clients.every(({ connection }) => connection.state.kind === 'open')).to.equal(true);
      await fake.tickAsync(1_500);
      const ended = clients.filter(({ connection }) => connection.state.kind !== 'open').length;
      expect(ended).to.be.within(1, clients.length - 1);
      await fake.tickAsync(3_500);
      for (const { sink } of clients) expect(sink.data('sse.closed').join()).to.include('"reason":"expired"');
      const expired = records.filter(({ kind }) => kind === 'expire').map(({ connectionId }) => connectionId);
      expect(expired).to.have.members(clients.map(({ connection }) => connection.id));
    } finally {
      fake.restore();
    }
  });

  it('a revocation that names neither a user nor a connection is refused, with what to name', async () => {
    for (const selector of ['ann', {}, { users: 'ann' }]) {
      // As a JavaScript caller may write it.
      const failure = await node.service.revoke(selector as never).catch((error: unknown) => error);
      expect(failure).to.include({ code: 'INVALID_OPTION' });
      expect(String(failure)).to.include('revoke must be called with { user } or { connectionId }');
    }
  });

  it('each revocation has one audit record, on the node that was called', async () => {
    await node.connect('tab1', { user: 'ann', topics: ['news'] });
    await node.service.revoke({ user: 'ann', topics: ['news'] });
    await node.service.revoke({ connectionId: 'ann/tab1' }, { reason: 'signed-out', cut: true });
    const revoked = records.filter(({ kind }) => kind === 'revoke').map(record => ({ ...record, at: undefined }));
    const both = { kind: 'revoke', at: undefined, nodeId: 'a', closed: 1, missing: [] };
    expect(revoked).to.deep.equal([
      { ...both, connectionId: undefined, user: 'ann', topics: ['news'], reason: 'revoked', cut: false },
      { ...both, connectionId: 'ann/tab1', user: undefined, topics: undefined, reason: 'signed-out', cut: true },
    ]);
  });

  it('credentials that have run out open nothing', async () => {
    expect(await codeOf(node.connect('c1', { expiresAt: new Date(Date.now() - 1) }))).to.equal('FORBIDDEN');
    expect(node.store.size + node.store.opening).to.equal(0);
  });

  it('clients are asked about again, and those that may not stay are sent away', async () => {
    const fake = clock();
    try {
      const [leaves, stays, broken] = [
        await node.connect('c1'),
        await node.connect('c2'),
        await node.connect('broken'),
      ];
      authorizer.leaves = new Set(['c1']);
      await fake.tickAsync(95_000);
      expect(leaves.connection.state).to.deep.include({ reason: 'revoked' });
      expect(stays.connection.state.kind).to.equal('open');
      expect(broken.connection.state.kind).to.equal('open');
    } finally {
      fake.restore();
    }
  });
});
