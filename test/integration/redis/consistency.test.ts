import { expect } from 'chai';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { PARTITION_TAGS } from '../../../src/cluster/redis/keys.js';
import type { ReconcileReport, ReconcileRequest } from '../../../src/contracts/self-check.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { connectTo, inBatches } from '../../support/redis/redis-costs.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const NODE: ReconcileRequest = {
  scope: 'node',
  maxRepairs: 1_000,
  settle: 20,
  sample: 200,
  notify: false,
};
const CLUSTER: ReconcileRequest = { ...NODE, scope: 'cluster' };
const FAR = '99999999999999';
const LEASE = 100_000;

describe('a node that is compared with Redis', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }), {
    // No heartbeat comes during a test: it would repair what a check is to find.
    node: { heartbeat: 60_000, lease: LEASE },
    connection: { takeoverLimit: 1_000 },
  });
  let coordinator: RedisCoordinator;
  let listener: RecordingListener;
  // The clock by which a node knows for how long it has had its lease.
  let clock: SinonFakeTimers;

  const key = (name: string): string => `${nodes.prefix}{${PARTITION_TAGS[0]}}:${name}`;
  const admin = () => server.redis.admin;
  const check = (request = NODE): Promise<ReconcileReport> => coordinator.selfCheck.reconcile(request);

  async function connect(id: string, token: string): Promise<string> {
    await connectTo(coordinator, listener, id, token);
    return (await admin().hget(key('r'), id)) ?? '';
  }

  /** Before that time every other node might only be late with its lease. */
  const othersHadTime = async (): Promise<void> => {
    clock.tick(LEASE - 1);
    expect((await check(CLUSTER)).unknown).to.be.a('string');
    clock.tick(1);
  };

  beforeEach(async () => {
    clock = useFakeTimers({ toFake: ['performance'] });
    coordinator = await nodes.node('a');
    listener = new RecordingListener();
    await coordinator.start(listener);
  });

  afterEach(async () => {
    await nodes.dispose();
    clock.restore();
  });

  it('a route that was deleted is restored, with its index', async () => {
    await connect('c1', 't1');
    await admin().hdel(key('r'), 'c1');
    await admin().zrem(key('x'), 'c1');
    expect((await check()).repairs).to.deep.equal({ 'missing-route': 1 });
    expect(await coordinator.routes.locate('c1')).to.include({ nodeId: 'a' });
    expect(await coordinator.routes.count()).to.equal(1);
  });

  it('a route with a wrong token is written anew', async () => {
    const route = await connect('c1', 't1');
    await admin().hset(key('r'), 'c1', route.replace('|t1|', '|t9|'));
    expect((await check()).repairs).to.deep.equal({ 'wrong-token': 1 });
    expect(await coordinator.routes.unregister('c1', 't1')).to.equal(true);
    expect(listener.superseded).to.deep.equal([]);
  });

  it('a route of an expired lease returns to its live connection', async () => {
    const route = await connect('c1', 't1');
    await admin().hset(key('r'), 'c1', route.replace(/^\d+/, '424242'));
    expect((await check()).found).to.deep.equal({ 'foreign-route': 1 });
    expect(await coordinator.routes.locate('c1')).to.include({ nodeId: 'a' });
    expect(listener.superseded).to.deep.equal([]);
  });

  it('a ghost is removed, and an entry that only the index has', async () => {
    const route = await connect('c1', 't1');
    const gen = route.split('|')[0] ?? '';
    await admin().hset(key('r'), 'c2', route.replace('|t1|', '|t9|'));
    await admin().zadd(key('x'), gen, 'c2', gen, 'c3');
    expect((await check()).repairs).to.deep.equal({ ghost: 1, index: 1 });
    expect(await admin().hkeys(key('r'))).to.deep.equal(['c1']);
    expect(await admin().zrange(key('x'), '0', '-1')).to.deep.equal(['c1']);
  });

  it('an orphan is removed, whichever node had it', async () => {
    await connect('c1', 't1');
    await othersHadTime();
    await admin().hset(key('r'), 'c2', `424242|t9|5|${FAR}`);
    await admin().zadd(key('x'), '424242', 'c2');
    const { findings } = await check(CLUSTER);
    expect(findings).to.deep.equal([{ kind: 'orphan', connectionId: 'c2', repaired: true }]);
    expect(await admin().hkeys(key('r'))).to.deep.equal(['c1']);
    expect(await coordinator.routes.count()).to.equal(1);
  });

  it('so is one among thousands, when the index names it', async () => {
    await inBatches(3_000, n => connect(`c${n}`, `t${n}`));
    await othersHadTime();
    await admin().hset(key('r'), 'left', `424242|t9|5|${FAR}`);
    await admin().zadd(key('x'), '424242', 'left');
    const { findings } = await check(CLUSTER);
    expect(findings).to.deep.equal([{ kind: 'orphan', connectionId: 'left', repaired: true }]);
  });

  it('the lease of a dead node is removed with its routes', async () => {
    await connect('c1', 't1');
    await othersHadTime();
    await admin()
      .multi()
      .hset(key('l'), 'i:z~1', '424242', 'g:424242', '1000|z~1')
      .hset(key('r'), 'c2', `424242|t9|5|${FAR}`)
      .zadd(key('x'), '424242', 'c2')
      .exec();
    const { findings } = await check(CLUSTER);
    expect(findings).to.deep.equal([{ kind: 'dead-lease', nodeId: 'z', repaired: true }]);
    expect(await admin().hexists(key('l'), 'g:424242')).to.equal(0);
    expect(await admin().hkeys(key('r'))).to.deep.equal(['c1']);
  });

  it('a lease that was lost makes the check unknown, and nothing is found', async () => {
    await connect('c1', 't1');
    await admin().flushall();
    const report = await check();
    expect(report.unknown).to.be.a('string');
    expect(report.found).to.deep.equal({});
  });

  it('so does a lease that was lost and opened again between the two looks', async () => {
    await connect('c1', 't1');
    listener.connections.delete('c1');
    let looks = 0;
    listener.holds = () => {
      looks += 1;
      return false;
    };
    clock.restore();
    clock = useFakeTimers({ toFake: ['performance', 'setTimeout', 'clearTimeout'], shouldClearNativeTimers: true });
    const checked = check();
    await until(() => looks > 0, 'the first look');
    await admin().flushall();
    await connect('c2', 't2');
    await clock.tickAsync(NODE.settle);
    expect((await checked).unknown).to.be.a('string');
    expect(looks).to.be.greaterThan(1);
  });

  it('a Redis that fails makes the check unknown', async () => {
    await connect('c1', 't1');
    await admin().del(key('r'));
    await admin().set(key('r'), 'not a hash');
    expect((await check()).unknown).to.be.a('string');
    await admin().del(key('r'));
    expect((await check()).repairs).to.deep.equal({ 'missing-route': 1 });
  });
});
