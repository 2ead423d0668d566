import { expect } from 'chai';
import { Container } from 'inversify';
import { PARTITION_TAGS } from '../../../src/cluster/redis/keys.js';
import { sseModule } from '../../../src/container.js';
import type { Inconsistency } from '../../../src/contracts/self-check.js';
import { SseService } from '../../../src/contracts/service.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const INTERVAL = 1_000;
/** An interval is a tenth longer at most, and a difference must last two seconds to be one. */
const WITHIN = INTERVAL * 1.1 + 2_000;
const ROOM = 1_500;
const FAR = '99999999999999';
// A lease is short, so that it is soon known who is dead; a busy machine must not lose it between two heartbeats.
const NODE = { heartbeat: 500, lease: 2_000 };

describe('a node that checks itself', () => {
  const server = withRedis();
  const others = new RedisNodes(() => ({ url: server.redis.url }), { node: NODE });
  let container: Container;
  let service: SseService;
  let found: Inconsistency[];
  const sinks: RecordingSink[] = [];

  const key = (name: string): string => `${others.prefix}{${PARTITION_TAGS[0]}}:${name}`;
  const route = async (id: string): Promise<string> => (await server.redis.admin.hget(key('r'), id)) ?? '';

  async function start(consistency: SseOptions['consistency'] = {}): Promise<void> {
    found = [];
    container = new Container();
    const { prefix } = others;
    const redis = { url: server.redis.url, prefix, channel: `${prefix}events` };
    const intervals = { statusCheckInterval: INTERVAL, routeValidationInterval: INTERVAL };
    container.load(
      sseModule(
        { node: { ...NODE, id: 'a' }, redis, consistency: { ...intervals, ...consistency } },
        {
          logger: new RecordingLogger(),
          onInconsistency: inconsistency => found.push(inconsistency),
        },
      ),
    );
    service = container.get(SseService);
    await service.start();
  }

  async function connect(id: string): Promise<RecordingSink> {
    const sink = new RecordingSink();
    sinks.push(sink);
    await service.createConnection(id, sink);
    return sink;
  }

  afterEach(async () => {
    for (const sink of sinks.splice(0)) sink.leave();
    await container.get(SseService).close();
    await others.dispose();
  });

  it('finds and repairs planted inconsistencies of every kind within one interval, and leaves valid routes alone', async () => {
    await start();
    const { admin } = server.redis;
    const other = await others.node('b');
    const listener = new RecordingListener();
    await other.start(listener);
    await other.routes.register({ connectionId: 'theirs', token: 't1', onDuplicate: 'takeover' });
    listener.connections.set('theirs', 't1').set('taken', 't2');
    const clients = new Map<string, RecordingSink>();
    for (const id of ['whole', 'missing', 'wrong', 'taken']) clients.set(id, await connect(id));
    // Every node had the time to renew its lease: only then is a node counted as dead.
    await until(
      async () => (await other.selfCheck.reconcile({ ...LOOK, scope: 'cluster' })).unknown === undefined,
      'the time to renew a lease',
    );
    const [mine = '', , fencingToken = ''] = (await route('whole')).split('|');
    const [theirs = ''] = (await route('theirs')).split('|');

    await admin
      .multi()
      .hdel(key('r'), 'missing')
      .hset(key('r'), 'wrong', `${mine}|t9|${fencingToken}|${FAR}`)
      // Newer than the connection here.
      .hset(key('r'), 'taken', `${theirs}|t2|${Number(fencingToken) + 60_000_000}|${FAR}`)
      .zadd(key('x'), theirs, 'taken')
      .hset(key('r'), 'ghost', `${mine}|t9|${fencingToken}|${FAR}`)
      .zadd(key('x'), mine, 'ghost', mine, 'indexed')
      .hset(key('r'), 'orphan', `424242|t9|5|${FAR}`)
      .hset(key('l'), 'i:z~1', '434343', 'g:434343', '1000|z~1')
      .hset(key('r'), 'dead', `434343|t9|5|${FAR}`)
      .exec();
    const began = performance.now();
    const wanted = ['whole', 'missing', 'wrong', 'taken', 'theirs'];
    await until(
      async () => {
        const [routes, index, leases] = await Promise.all([
          admin.hkeys(key('r')),
          admin.zrange(key('x'), '0', '-1'),
          admin.hkeys(key('l')),
        ]);
        return (
          same(routes, wanted) &&
          same(index, wanted) &&
          !leases.includes('g:434343') &&
          service.getConnectionCount() === 3
        );
      },
      'everything to be put right',
      WITHIN + ROOM,
    );
    expect(performance.now() - began).to.be.lessThan(WITHIN + ROOM);
    // A check reports when it is done. A heartbeat may come first and remove what a dead node left.
    const kinds = ['missing-route', 'wrong-token', 'foreign-route', 'ghost', 'index', 'orphan'];
    const isRepaired = (kind: string): boolean => found.some(each => each.kind === kind && each.repaired);
    await until(() => kinds.every(isRepaired), `a report of ${kinds.join()}`);
    expect(clients.get('taken')?.lastEvent?.data).to.equal('{"reason":"superseded"}');
    for (const id of ['whole', 'missing', 'wrong']) {
      const frame = { bytes: Buffer.from(`event: note\ndata: for ${id}\n\n`) };
      const message = { connectionId: id, messageId: `m-${id}`, frame, ack: 'owner' as const };
      const { outcome } = await other.messenger.send({ ...message, deadline: 1_000 });
      expect(outcome, id).to.equal('delivered');
      expect(clients.get(id)?.data('note')).to.deep.equal([`for ${id}`]);
    }
    expect((await other.selfCheck.reconcile(LOOK)).found).to.deep.equal({});
  });

  it('that fails fast accepts no connection from a finding to the next clean pass', async () => {
    await start({ inconsistencyHandlingStrategy: 'fail_fast' });
    await connect('mine');
    const [gen = '', , fencingToken = ''] = (await route('mine')).split('|');
    const { admin } = server.redis;
    await admin.multi().hset(key('r'), 'ghost', `${gen}|t9|${fencingToken}|${FAR}`).zadd(key('x'), gen, 'ghost').exec();
    const codes = (): string[] => service.health().reasons.map(({ code }) => code);
    await until(() => codes().includes('INCONSISTENT'), 'the finding', WITHIN + ROOM);
    expect(service.health()).to.include({ live: true, ready: false });
    expect(await codeOf(connect('late'))).to.equal('INCONSISTENT');
    expect(found).to.deep.include({ kind: 'ghost', connectionId: 'ghost', repaired: false });
    expect(await route('ghost')).to.not.equal('');
    await admin.multi().hdel(key('r'), 'ghost').zrem(key('x'), 'ghost').exec();
    await until(() => service.health().ready, 'a clean pass', WITHIN + ROOM);
    await connect('late');
  });
});

const LOOK = { scope: 'node', maxRepairs: 0, settle: 20, sample: 200, notify: false } as const;

function same(some: readonly string[], others: readonly string[]): boolean {
  return [...some].sort().join() === [...others].sort().join();
}
