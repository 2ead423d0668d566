import { expect } from 'chai';
import { leaseScript } from '../../../src/cluster/redis/scripts.js';
import { freePort } from '../../support/redis/free-port.js';
import { RedisServer } from '../../support/redis/redis-server.js';
import { withGateways } from '../../support/redis/with-gateways.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('RedisGateway in an outage', () => {
  const { make, failure, count, publish } = withGateways();

  describe('when Redis fails', () => {
    const servers: RedisServer[] = [];
    const start = async (port = 0) => {
      const server = await RedisServer.start({ port });
      servers.push(server);
      return server;
    };
    const redis = withRedis();
    afterEach(async () => {
      await Promise.all(servers.splice(0).map(server => server.stop()));
    });

    it('rejects open while the port is closed, and connects as soon as it is open', async () => {
      expect(redis.redis.port).to.be.greaterThan(0);
      const port = await freePort();
      const reported: boolean[] = [];
      const events = { onReachable: (reachable: boolean) => reported.push(reachable) };
      const gateway = make({ url: `redis://127.0.0.1:${port}` }, { events });
      expect(await failure(gateway.open())).to.include({ code: 'UNAVAILABLE', retryable: true });
      expect(await failure(gateway.open())).to.include({ code: 'UNAVAILABLE' });
      await start(port);
      await until(() => gateway.reachable, 'the connection');
      expect((await count(gateway)).status).to.equal('OK');
      expect(reported).to.deep.equal([true]);
    });

    it('is UNAVAILABLE at once when the connection breaks, queues nothing, and comes back', async () => {
      const server = await start();
      const reported: boolean[] = [];
      const events = { onReachable: (reachable: boolean) => reported.push(reachable) };
      const gateway = make({ url: server.url }, { events });
      await gateway.open();
      await server.stop();
      const calls = Array.from({ length: 50 }, () => failure(publish(gateway)));
      const codes = (await Promise.all(calls)).map(({ code }) => code);
      expect(new Set(codes)).to.deep.equal(new Set(['UNAVAILABLE']));
      const again = await start(server.port);
      await until(() => gateway.reachable, 'the connection');
      expect(await again.admin.exists(gateway.keys.logMeta)).to.equal(0);
      expect((await count(gateway)).status).to.equal('OK');
      expect(reported).to.deep.equal([true, false, true]);
    });

    it('is UNAVAILABLE within its timeout when Redis is silent', async () => {
      const server = await start();
      const gateway = make({ url: server.url });
      await gateway.open();
      server.freeze();
      const begin = Date.now();
      expect(await failure(count(gateway))).to.include({ code: 'UNAVAILABLE' });
      expect(Date.now() - begin).to.be.within(900, 5_000);
      server.thaw();
    });

    it('is silent while nothing arrives, and not while only this node is late', async () => {
      const server = await start();
      const gateway = make({ url: server.url });
      await gateway.open();
      const { leases } = gateway.keys.partitions[0]!;
      const late = count(gateway);
      const until3s = performance.now() + 3_000;
      while (performance.now() < until3s);
      expect((await late).status).to.equal('OK');
      expect(gateway.obstacle(leases)).to.equal(undefined);
      server.freeze();
      await until(async () => {
        await failure(count(gateway));
        return gateway.obstacle(leases) !== undefined;
      }, 'the silence');
      server.thaw();
      await until(() => gateway.obstacle(leases) === undefined, 'the answers');
    });

    it('says that an unanswered call may be repeated, but not a publication without a key', async () => {
      const server = await start();
      const gateway = make({ url: server.url });
      await gateway.open();
      await publish(gateway);
      server.freeze();
      const [counted, published] = [failure(count(gateway)), failure(publish(gateway))];
      expect(await counted).to.include({ code: 'UNAVAILABLE', retryable: true });
      expect(await published).to.include({ code: 'UNAVAILABLE', retryable: false });
      server.thaw();
    });

    it('says that a publication which was never sent may be repeated', async () => {
      const server = await start();
      const gateway = make({ url: server.url });
      await gateway.open();
      await server.stop();
      await until(() => !gateway.reachable, 'the break');
      expect(await failure(publish(gateway))).to.include({ code: 'UNAVAILABLE', retryable: true });
    });

    it('reconnects when its master has become a replica', async () => {
      const [server, master] = [await start(), await start()];
      const gateway = make({ url: server.url });
      await gateway.open();
      await server.admin.replicaof('127.0.0.1', master.port);
      const request = {
        partition: gateway.keys.partitions[0]!,
        inc: 'a',
        believed: undefined,
        leaseMs: 1_000,
        keyMs: 5_000,
        schema: gateway.keys.schema,
        newEpoch: 'e1',
      };
      expect(await failure(gateway.run(leaseScript, request))).to.include({ code: 'UNAVAILABLE' });
      await server.admin.replicaof('NO', 'ONE');
      const opened = (): Promise<boolean> =>
        gateway.run(leaseScript, request).then(
          ({ status }) => status === 'OPENED',
          () => false,
        );
      await until(opened, 'the connection');
    });

    it('asks a new connection for the run id', async () => {
      const server = await start();
      const gateway = make({ url: server.url });
      await gateway.open();
      await publish(gateway);
      await server.stop();
      await until(() => !gateway.reachable, 'the break');
      const again = await start(server.port);
      await until(() => gateway.reachable, 'the connection');
      await publish(gateway);
      const runId = await again.admin.hget(gateway.keys.logMeta, 'r');
      expect(await again.admin.info('server')).to.include(`run_id:${runId ?? 'none'}`);
    });
  });
});
