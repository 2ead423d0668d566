import { expect } from 'chai';
import { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { randomPrefix } from '../../support/redis/gateway-options.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';

type Atomicity = NonNullable<SseOptions['atomicOperation']>;

describe('atomicOperation', () => {
  const server = withRedis();
  let coordinator: RedisCoordinator | undefined;
  let listener = new RecordingListener();
  let ids = 0;

  afterEach(async () => {
    await coordinator?.close();
  });

  const start = async (atomicOperation: Atomicity, redis: SseOptions['redis'] = {}) => {
    const options = resolveOptions({
      atomicOperation,
      node: { id: 'a', heartbeat: 60_000, lease: 120_000 },
      redis: { url: server.redis.url, prefix: randomPrefix(), ...redis },
    });
    const telemetry = new SilentTelemetry().maintenance;
    coordinator = new RedisCoordinator(options, new RecordingLogger(), telemetry);
    listener = new RecordingListener();
    await coordinator.start(listener);
    return coordinator;
  };

  const scriptCalls = async (): Promise<number> => {
    const stats = await server.redis.admin.info('commandstats');
    const calls = [...stats.matchAll(/^cmdstat_eval(?:sha)?:calls=(\d+)/gm)];
    return calls.reduce((sum, [, number]) => sum + Number(number), 0);
  };

  /** Calls of scripts while something is done: the fewest of three times, since what a node does by itself may come between. */
  const scriptsOf = async (work: () => Promise<unknown>, before?: () => Promise<unknown>): Promise<number> => {
    const counts: number[] = [];
    for (let time = 0; time < 3; time += 1) {
      await before?.();
      const first = await scriptCalls();
      await work();
      counts.push((await scriptCalls()) - first);
    }
    return Math.min(...counts);
  };

  const register = (node: RedisCoordinator) => {
    ids += 1;
    const [connectionId, token] = [`c${ids}`, `t${ids}`];
    // A route whose connection is not here would be removed by the repair that follows every join.
    listener.connections.set(connectionId, token);
    return node.routes.register({ connectionId, token, onDuplicate: 'takeover' });
  };
  const registered = async (node: RedisCoordinator): Promise<void> => {
    for (let n = 0; n < 3; n += 1) await register(node);
  };
  const unregister = (node: RedisCoordinator) => node.routes.unregister(`c${ids}`, `t${ids}`);
  const scriptsOfRemoval = (node: RedisCoordinator) =>
    scriptsOf(
      () => unregister(node),
      () => register(node),
    );

  it('registers, unregisters and releases by one script each', async () => {
    const node = await start({});
    expect(await scriptsOf(() => register(node))).to.equal(1);
    expect(await scriptsOfRemoval(node)).to.equal(1);
  });

  it('connectionRegistrationAtomic false registers without a script', async () => {
    const node = await start({ connectionRegistrationAtomic: false });
    expect(await scriptsOf(() => register(node))).to.equal(0);
    expect(await scriptsOfRemoval(node)).to.equal(1);
    // Each registration that was counted is left.
    expect(await node.routes.count()).to.equal(3);
  });

  it('connectionUnregistrationAtomic false unregisters without a script', async () => {
    const node = await start({ connectionUnregistrationAtomic: false });
    expect(await scriptsOf(() => register(node))).to.equal(1);
    expect(await scriptsOfRemoval(node)).to.equal(0);
    // Each registration that was counted is left.
    expect(await node.routes.count()).to.equal(3);
  });

  it('expiredConnectionCleanupAtomic false removes the routes of a node without a script', async () => {
    const node = await start({ expiredConnectionCleanupAtomic: false });
    // The new lease is still one.
    expect(
      await scriptsOf(
        () => node.routes.releaseAll(),
        () => registered(node),
      ),
    ).to.equal(1);
    expect(await node.routes.count()).to.equal(0);
  });

  it('redisAtomicEnabled false overrules the other three', async () => {
    const node = await start({ redisAtomicEnabled: false, connectionRegistrationAtomic: true });
    expect(
      await scriptsOf(async () => {
        await register(node);
        await unregister(node);
      }),
    ).to.equal(0);
  });

  it('leaves nothing in Redis that never expires', async () => {
    const node = await start({ redisAtomicEnabled: false });
    await registered(node);
    const { admin } = server.redis;
    const ttls = await Promise.all((await admin.keys('*')).map(key => admin.pttl(key)));
    expect(ttls).to.have.length.greaterThan(2);
    expect(Math.min(...ttls)).to.be.greaterThan(0);
  });

  describe('on a Redis Cluster', () => {
    const cluster = withRedisCluster();

    it('plain commands reach the node that has the keys', async () => {
      const redis = { url: undefined, client: cluster.redis.admin };
      const node = await start({ redisAtomicEnabled: false }, redis);
      for (let n = 0; n < 20; n += 1) expect(await register(node)).to.include({ outcome: 'registered' });
      expect(await node.routes.count()).to.equal(20);
      await node.routes.releaseAll();
      expect(await node.routes.count()).to.equal(0);
    });
  });
});
