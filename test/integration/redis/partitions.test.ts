import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { Keys } from '../../../src/cluster/redis/keys.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('trouble of one partition', () => {
  const cluster = withRedisCluster();
  const nodes = new RedisNodes(() => ({ client: cluster.redis.admin }), { node: { heartbeat: 200 } });
  let keys: Keys;
  let a: RedisCoordinator;
  let b: RedisCoordinator;
  let listener: RecordingListener;
  let log: number;

  /** A connection id of a partition on a master, or not on it. */
  async function idOn(isThere: (master: number) => boolean): Promise<string> {
    for (let n = 0; ; n += 1) {
      const { leases } = keys.partitionOf(`c${n}`);
      if (isThere(await cluster.redis.ownerOf(leases))) return `c${n}`;
    }
  }

  /** Whether Redis Cluster stops as a whole where a part of it does. */
  async function stopsWhole(value: 'yes' | 'no'): Promise<void> {
    for (const { admin } of cluster.redis.servers) await admin.config('SET', 'cluster-require-full-coverage', value);
  }

  beforeEach(async () => {
    await stopsWhole('no');
    const { prefix } = nodes;
    keys = new Keys({ prefix, channel: 'x', partitions: undefined, pubsub: 'classic', cluster: true, database: 0 });
    log = await cluster.redis.ownerOf(keys.logMeta);
    listener = new RecordingListener();
    [a, b] = await Promise.all([nodes.node('a'), nodes.node('b')]);
    await a.start(new RecordingListener());
    await b.start(listener);
    await until(() => a.status().reachable && b.status().reachable, 'the nodes');
  });

  afterEach(async () => {
    for (const server of cluster.redis.servers) server.thaw();
    await nodes.dispose();
    await stopsWhole('yes');
  });

  const register = (node: RedisCoordinator, connectionId: string) => {
    if (node === b) listener.connections.set(connectionId, 't1');
    return node.routes.register({ connectionId, token: 't1', onDuplicate: 'takeover' });
  };
  const send = (connectionId: string) =>
    a.messenger.send({
      connectionId,
      messageId: `m${Math.random()}`,
      frame: { bytes: Buffer.from('data: x\n\n') },
      ack: 'owner',
      deadline: 3_000,
    });
  const publish = () =>
    a.log.publish({ topic: 'news', body: Buffer.from('data: x\n\n'), retention: { maxEntries: 9, ttl: 60_000 } });

  it('on a master that does not answer concerns its connections alone', async () => {
    const frozen = (log + 1) % cluster.redis.servers.length;
    const here = await idOn(master => master !== frozen);
    const there = await idOn(master => master === frozen);
    await register(b, here);
    await register(b, there);
    cluster.redis.servers[frozen]?.freeze();
    await until(() => a.status(there).impaired !== undefined, 'the trouble');
    expect(a.status(there).impaired?.map(({ kind }) => kind)).to.include('partition');
    // A node that subscribed at that master subscribes at another one first.
    await until(async () => (await send(here)).outcome === 'delivered', 'a send to another partition', 20_000);
    await until(() => a.status().reachable && b.status().reachable, 'both nodes');
    expect(a.status(here)).to.deep.equal({ reachable: true });
    expect((await publish()).cursor).to.not.equal(undefined);
    // Neither a message nor its acknowledgement goes by the silent master.
    for (let n = 0; n < 9; n += 1) expect(await send(here)).to.include({ outcome: 'delivered' });
    expect(await register(b, here)).to.include({ outcome: 'registered' });
    expect(await send(there)).to.deep.include({ outcome: 'unavailable' });
    expect(await codeOf(register(a, there))).to.equal('UNAVAILABLE');
    cluster.redis.servers[frozen]?.thaw();
    await until(() => a.status().impaired === undefined && b.status().impaired === undefined, 'the recovery');
    expect(await send(there)).to.include({ outcome: 'delivered' });
  }).timeout(60_000);

  it('with a key of another type is named, and ends when the key is deleted', async () => {
    const poisoned = await idOn(() => true);
    const partition = keys.partitionOf(poisoned);
    const other = Array.from({ length: 99 }, (_, n) => `d${n}`).find(id => keys.partitionOf(id) !== partition) ?? '';
    await register(b, other);
    await cluster.redis.admin.del(partition.routes);
    await cluster.redis.admin.set(partition.routes, 'of another program');
    expect(await codeOf(register(a, poisoned))).to.equal('UNAVAILABLE');
    await until(() => a.status(poisoned).impaired !== undefined, 'the trouble');
    const [impairment] = a.status().impaired ?? [];
    expect(impairment?.kind).to.equal('key');
    expect(impairment?.detail).to.include(partition.routes);
    expect(a.status(other)).to.deep.equal({ reachable: true });
    expect(await send(other)).to.include({ outcome: 'delivered' });
    expect((await publish()).cursor).to.not.equal(undefined);
    await cluster.redis.admin.del(partition.routes);
    await until(() => a.status().impaired === undefined, 'the recovery');
    expect(await register(a, poisoned)).to.include({ outcome: 'registered' });
  });

  it('with fields that cannot be read stops nothing, and reconcile removes them', async () => {
    const [partition] = keys.partitions;
    if (partition === undefined) throw new Error('no partition');
    const id = 'c1';
    await register(b, id);
    await cluster.redis.admin.hset(partition.leases, 'g:1', 'nonsense', 'i:nobody', 'nonsense');
    await cluster.redis.admin.hset(partition.routes, 'broken', 'nonsense');
    expect(await send(id)).to.include({ outcome: 'delivered' });
    expect((await publish()).nodes).to.equal(2);
    expect(await a.routes.nodes()).to.have.length(2);
  });
});
