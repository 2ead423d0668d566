import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import type { RegistrationLimits } from '../../../src/contracts/authorization.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { CuttableRedisNodes, RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

/** Heartbeats, which also call scripts, are far apart. */
const SELDOM = { heartbeat: 20_000, lease: 60_000 };
const QUICK = { node: { heartbeat: 200, lease: 1_500 } };
const ONE_EACH: RegistrationLimits = {
  limits: [
    { name: 'ann/', most: 1, perMinute: 100 },
    { name: '@192.0.2.1', most: 1 },
  ],
  maxConnections: 10,
};

const listeners = new WeakMap<RedisCoordinator, RecordingListener>();

async function started(node: RedisCoordinator, listener = new RecordingListener()): Promise<RedisCoordinator> {
  listeners.set(node, listener);
  await node.start(listener);
  await until(() => node.status().reachable, 'the node');
  return node;
}

async function enter(node: RedisCoordinator, connectionId: string, limits = ONE_EACH): Promise<string> {
  const registration = { connectionId, token: connectionId, onDuplicate: 'takeover', ...limits } as const;
  const { outcome } = await node.routes.register(registration);
  // Else a comparison removes the route, and the connection counts no more.
  if (outcome === 'registered') listeners.get(node)?.connections.set(connectionId, connectionId);
  return outcome;
}

/** How many scripts a Redis ran so far. */
async function scriptsOf(admin: { info(section: string): Promise<string> }): Promise<number> {
  const stats = await admin.info('commandstats');
  const calls = [...stats.matchAll(/cmdstat_eval(?:sha)?:calls=(\d+)/g)];
  return calls.reduce((sum, [, count]) => sum + Number(count), 0);
}

describe('limits of the cluster, on a single Redis', () => {
  const server = withRedis();
  const nodes = new CuttableRedisNodes(() => server.redis.port, QUICK);
  const slow = new RedisNodes(() => ({ url: server.redis.url }), { node: SELDOM });

  afterEach(async () => {
    await nodes.dispose();
    await slow.dispose();
  });

  it('need no further call of Redis for a connect, however many there are', async () => {
    const node = await started(await slow.node('a'));
    await enter(node, 'warm', {});
    await slow.quiet();
    const before = await scriptsOf(server.redis.admin);
    expect(await enter(node, 'ann/1')).to.equal('registered');
    expect(await enter(node, 'ann/2')).to.equal('full');
    // The refused connection is taken out of counters that another partition might have.
    expect((await scriptsOf(server.redis.admin)) - before).to.be.at.most(3);
    const calls = await scriptsOf(server.redis.admin);
    await enter(node, 'ann/1');
    expect((await scriptsOf(server.redis.admin)) - calls).to.equal(1);
  });

  it('whose counter another program wrote concern the connects of that user alone', async () => {
    const node = await started(await slow.node('a'));
    const { admin } = server.redis;
    await enter(node, 'ann/1', { limits: [{ name: 'ann/', most: 9 }] });
    const [counter = ''] = await admin.keys(`${slow.prefix}*c:ann/`);
    await admin.del(counter);
    await admin.set(counter, 'of another program');
    const entering = ['ann', 'bob'].map(user => enter(node, `${user}/2`, { limits: [{ name: `${user}/`, most: 9 }] }));
    const [ann, bob] = await Promise.allSettled(entering);
    expect(ann).to.have.property('reason').that.includes({ code: 'UNAVAILABLE', noEffect: 'KEY_UNREADABLE' });
    expect(bob).to.have.property('value', 'registered');
  });

  it('do not count the connections of a killed node once its lease is over', async () => {
    const [a, b] = [await started(await nodes.node('a')), await started(await nodes.node('b'))];
    await enter(a, 'ann/1');
    nodes.cut('a');
    expect(await enter(b, 'ann/2')).to.equal('full');
    await until(async () => (await enter(b, 'ann/2')) === 'registered', 'the end of the lease');
  });

  it('count again what a Redis that lost its data no longer knows', async () => {
    const listener = new RecordingListener();
    const a = await started(await nodes.node('a'), listener);
    const b = await started(await nodes.node('b'));
    listener.connections.set('ann/1', 'ann/1');
    await enter(a, 'ann/1');
    await server.redis.admin.flushall();
    await until(async () => {
      const outcome = await enter(b, 'ann/2');
      if (outcome === 'registered') await b.routes.unregister('ann/2', 'ann/2');
      return outcome === 'full';
    }, 'the counters');
  });
});

describe('limits of the cluster, on a Redis Cluster', () => {
  const cluster = withRedisCluster();
  // A master that does not know a script yet would be asked twice.
  const nodes = new RedisNodes(() => ({ client: cluster.redis.admin }), {
    script: { scriptCacheEnabled: false },
    node: SELDOM,
  });
  afterEach(() => nodes.dispose());

  it('need one further call, for an address, and none for a user', async () => {
    const node = await started(await nodes.node('a'));
    await enter(node, 'warm', {});
    await nodes.quiet();
    const calls = async () => {
      const each = await Promise.all(cluster.redis.servers.map(({ admin }) => scriptsOf(admin)));
      return each.reduce((sum, count) => sum + count, 0);
    };
    let before = await calls();
    await enter(node, 'ann/1');
    expect((await calls()) - before).to.equal(2);
    before = await calls();
    await enter(node, 'bob/1', { limits: [{ name: 'bob/', most: 1 }] });
    expect((await calls()) - before).to.equal(1);
  });
});
