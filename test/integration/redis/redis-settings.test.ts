import { expect } from 'chai';
import { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { randomPrefix } from '../../support/redis/gateway-options.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('the settings of redis', () => {
  const server = withRedis();
  const started: RedisCoordinator[] = [];
  const listeners = new Map<RedisCoordinator, RecordingListener>();
  const commands: string[] = [];
  afterEach(async () => {
    await Promise.all(started.splice(0).map(node => node.close()));
  });

  const start = async (redis: SseOptions['redis'], listener = new RecordingListener()) => {
    const options = resolveOptions({
      node: { id: `n${started.length}`, heartbeat: 200, lease: 1_000 },
      redis: { url: server.redis.url, ...redis },
    });
    const telemetry = {
      ...new SilentTelemetry().maintenance,
      commanded: (command: string) => commands.push(command),
    };
    const node = new RedisCoordinator(options, new RecordingLogger(), telemetry);
    started.push(node);
    listeners.set(node, listener);
    await node.start(listener);
    return node;
  };
  const register = (node: RedisCoordinator, connectionId: string) => {
    const token = `t${connectionId}`;
    // Else a comparison removes the route.
    listeners.get(node)?.connections.set(connectionId, token);
    return node.routes.register({ connectionId, token, onDuplicate: 'takeover' });
  };

  it('prefix begins every key and channel, and nodes with another do not meet', async () => {
    const [mine, other] = [randomPrefix(), randomPrefix()];
    const a = await start({ prefix: mine, channel: `${mine}events` });
    const b = await start({ prefix: other, channel: `${other}events` });
    await register(a, 'c1');
    expect(await b.routes.count()).to.equal(0);
    const { admin } = server.redis;
    const names = [...(await admin.keys('*')), ...((await admin.pubsub('CHANNELS')) as string[])];
    expect(names.filter(name => !name.startsWith(mine) && !name.startsWith(other))).to.deep.equal([]);
  });

  it('a start asks about the permissions of the account once, on however many connections', async () => {
    commands.length = 0;
    await start({ prefix: randomPrefix() });
    expect(commands.filter(command => command === 'access')).to.have.length(1);
  });

  it('channel ends the name of the channel where broadcasts are published', async () => {
    const prefix = randomPrefix();
    const node = await start({ prefix, channel: 'news of all' });
    const ear = server.redis.admin.duplicate();
    const received: string[] = [];
    ear.on('message', (_channel, text) => received.push(text));
    await ear.subscribe(`${prefix}0:b:news of all`);
    const retention = { maxEntries: 10, ttl: 5_000 };
    await node.log.publish({ topic: undefined, body: Buffer.from('data: x\n\n'), retention });
    await until(() => received.length === 1, 'the broadcast').finally(() => ear.disconnect());
    expect(received[0]).to.match(/data: x\n\n$/);
  });

  it('connectionTtl is how long a route lives unless refreshed, which it is', async () => {
    const prefix = randomPrefix();
    const listener = new RecordingListener();
    const node = await start({ prefix, connectionTtl: 1 }, listener);
    const now = async (): Promise<number> => {
      const [seconds, micros] = await server.redis.admin.time();
      return Number(seconds) * 1_000 + Math.floor(Number(micros) / 1_000);
    };
    listener.connections.set('kept', 'tkept');
    const before = await now();
    await register(node, 'kept');
    const route = `${prefix}{18}:r`;
    const endOf = async (): Promise<number> => Number((await server.redis.admin.hget(route, 'kept'))?.split('|')[3]);
    const first = await endOf();
    expect(first).to.be.within(before + 1_000, (await now()) + 1_000);
    expect(await server.redis.admin.pttl(route)).to.be.within(50_000, 62_000);
    await until(async () => (await endOf()) > first + 1_500, 'a route renewed more than once');
    expect(await node.routes.locate('kept')).to.include({ nodeId: 'n0' });
  });

  it('connectionTtl may be a year: routes live so long, and are renewed no more often for it', async () => {
    const prefix = randomPrefix();
    const node = await start({ prefix, connectionTtl: 365 * 24 * 3_600 });
    await register(node, 'c1');
    await until(() => commands.includes('owned'), 'the first renewal');
    const count = (...names: string[]): number => commands.filter(command => names.includes(command)).length;
    // A break of the lease or of a subscription, on a busy machine, brings one more.
    await until(async () => {
      commands.length = 0;
      await until(() => count('lease') >= 3, 'three heartbeats');
      return count('owned', 'refresh', 'register') === 0;
    }, 'three heartbeats without a renewal');
    expect(await server.redis.admin.pttl(`${prefix}{18}:r`)).to.be.above(364 * 24 * 3_600_000);
  });

  it('partitions spreads routes over so many keys, and another number is refused', async () => {
    const prefix = randomPrefix();
    const node = await start({ prefix, partitions: 4 });
    for (let n = 0; n < 40; n += 1) await register(node, `c${n}`);
    expect((await server.redis.admin.keys(`${prefix}*:r`)).length).to.equal(4);
    const failure = await start({ prefix, partitions: 2 }).catch((error: unknown) => error);
    expect(failure).to.include({ code: 'INVALID_OPTION' });
  });
});
