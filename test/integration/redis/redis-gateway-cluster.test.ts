import { expect } from 'chai';
import { countScript, leaseScript } from '../../../src/cluster/redis/scripts.js';
import { SseError } from '../../../src/errors.js';
import { withGateways } from '../../support/redis/with-gateways.js';
import { withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('RedisGateway in a Redis Cluster', () => {
  const { make, failure, count, publish } = withGateways();

  describe('on a Redis Cluster', () => {
    const cluster = withRedisCluster();

    it('spreads sixteen partitions over the masters, each in one slot', async () => {
      const gateway = make({ client: cluster.redis.admin });
      await gateway.open();
      const replies = await Promise.all(
        gateway.keys.partitions.map(partition =>
          gateway.run(leaseScript, {
            partition,
            inc: 'a~1',
            believed: undefined,
            leaseMs: 5_000,
            keyMs: 5_000,
            schema: gateway.keys.schema,
            newEpoch: 'e1',
          }),
        ),
      );
      expect(replies.map(({ status }) => status)).to.deep.equal(Array(16).fill('OPENED'));
      const sizes = await Promise.all(cluster.redis.servers.map(({ admin }) => admin.dbsize()));
      expect(sizes.every(size => size >= 5)).to.equal(true);
    });

    it('lets the log ask its own master for the run id', async () => {
      const gateway = make({ client: cluster.redis.admin });
      await gateway.open();
      expect((await publish(gateway)).status).to.equal('NEW');
      const runId = await cluster.redis.admin.hget(gateway.keys.logMeta, 'r');
      const infos = await Promise.all(cluster.redis.servers.map(({ admin }) => admin.info('server')));
      expect(infos.filter(info => info.includes(`run_id:${runId ?? 'none'}`))).to.have.length(1);
    });

    it('is UNAVAILABLE while a master does not answer, and serves the other masters', async function () {
      const gateway = make({ client: cluster.redis.admin });
      await gateway.open();
      const counts = () =>
        Promise.all(
          gateway.keys.partitions.map(partition =>
            gateway.run(countScript, { partition, graceMs: 0 }).then(
              () => 'OK',
              (error: unknown) => (SseError.is(error) ? error.code : 'other'),
            ),
          ),
        );
      expect(new Set(await counts())).to.deep.equal(new Set(['OK']));
      const [frozen] = cluster.redis.servers;
      frozen?.freeze();
      const codes = await counts();
      frozen?.thaw();
      expect(new Set(codes)).to.deep.equal(new Set(['OK', 'UNAVAILABLE']));
      await until(async () => new Set(await counts()).size === 1, 'recovery', 20_000);
    });

    it('calls a frozen master silent, and no other, until it answers again', async () => {
      const gateway = make({ client: cluster.redis.admin });
      await gateway.open();
      const { partitions } = gateway.keys;
      const call = () =>
        Promise.all(
          partitions.map(partition => gateway.run(countScript, { partition, graceMs: 0 }).catch(() => undefined)),
        );
      const silent = () => partitions.filter(({ leases }) => gateway.obstacle(leases) !== undefined);
      await call();
      const owners = await Promise.all(partitions.map(({ leases }) => cluster.redis.ownerOf(leases)));
      const [frozen] = cluster.redis.servers;
      frozen?.freeze();
      try {
        await until(async () => (await call(), silent().length > 0), 'the silence');
        expect(new Set(silent().map(({ number }) => owners[number]))).to.deep.equal(new Set([0]));
        expect(gateway.obstacle()).to.equal(undefined);
      } finally {
        frozen?.thaw();
      }
      await until(async () => (await call(), silent().length === 0), 'the answers', 20_000);
    });

    it('spreads the subscriptions of nodes over the masters', async () => {
      const gateway = make({ client: cluster.redis.admin });
      await gateway.open();
      const events = { onMessage: () => undefined };
      const subscribers = Array.from({ length: 12 }, (_, n) => gateway.subscriber('classic', `node-${n}:0`, events));
      try {
        for (const subscriber of subscribers) subscriber.open();
        await until(() => subscribers.every(({ up }) => up), 'the subscriptions');
        const counts = await Promise.all(
          cluster.redis.servers.map(async ({ admin }) => {
            const channels = (await admin.pubsub('CHANNELS', gateway.keys.probeChannel('*'))) as string[];
            return channels.length;
          }),
        );
        for (const count of counts) expect(count).to.be.greaterThan(0);
      } finally {
        for (const subscriber of subscribers) subscriber.close();
      }
    });

    it('rejects open while slots are not served, and connects when all are served again', async () => {
      const slot = 16_383;
      const { servers } = cluster.redis;
      const forAll = (command: string) => Promise.all(servers.map(({ admin }) => admin.call('CLUSTER', command, slot)));
      const down = async () => {
        const infos = await Promise.all(servers.map(({ admin }) => admin.cluster('INFO')));
        return infos.every(info => info.includes('cluster_state:fail'));
      };
      await forAll('DELSLOTS');
      await until(down, 'the cluster to notice');
      const gateway = make({ client: cluster.redis.admin });
      expect(await failure(gateway.open())).to.include({ code: 'UNAVAILABLE' });
      await servers[2]!.admin.call('CLUSTER', 'ADDSLOTS', slot);
      // A master that the client had not connected to yet may refuse the first call.
      const answered = (): Promise<boolean> =>
        count(gateway).then(
          () => true,
          () => false,
        );
      await until(answered, 'the connection');
      expect(gateway.reachable).to.equal(true);
    });
  });
});
