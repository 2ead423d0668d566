import { expect } from 'chai';
import { Redis } from 'ioredis';
import { prepare, subscriberOptions } from '../../../src/cluster/redis/client.js';
import { RedisConnections } from '../../../src/cluster/redis/connections.js';
import { RedisGateway } from '../../../src/cluster/redis/gateway.js';
import { RedisSubscriber } from '../../../src/cluster/redis/subscriber.js';
import { pause } from '../../../src/time.js';
import { gatewayOptions } from '../../support/redis/gateway-options.js';
import { RedisServer } from '../../support/redis/redis-server.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

interface Observed {
  readonly messages: string[];
  readonly life: string[];
  readonly errors: string[];
}

describe('RedisSubscriber', () => {
  const closing: { close(): void | Promise<void> }[] = [];
  afterEach(async () => {
    for (const resource of closing.splice(0).reverse()) await resource.close();
  });

  const observe = () => {
    const observed: Observed = { messages: [], life: [], errors: [] };
    const events = {
      onMessage: (channel: string, payload: Buffer) =>
        observed.messages.push(`${channel}=${payload.toString('latin1')}`),
      onUp: () => observed.life.push('up'),
      onDown: () => observed.life.push('down'),
      onError: ({ code }: { code: string }) => observed.errors.push(code),
    };
    return { observed, events };
  };
  const open = async (redis: Parameters<typeof gatewayOptions>[0]) => {
    const gateway = new RedisGateway(gatewayOptions(redis));
    closing.push(gateway);
    await gateway.open();
    return gateway;
  };

  describe('on a single Redis', () => {
    const server = withRedis();
    const start = async () => {
      const gateway = await open({ url: server.redis.url });
      const { observed, events } = observe();
      const subscriber = gateway.subscriber('classic', 'me', events);
      closing.push(subscriber);
      subscriber.open();
      await until(() => subscriber.up, 'the subscriber');
      return { gateway, subscriber, observed };
    };

    it('keeps a quiet connection on which Redis refused a command, as an older one refuses CLIENT SETINFO', async () => {
      const connection = new Redis(server.redis.port, subscriberOptions());
      closing.push({ close: () => connection.disconnect() });
      prepare(connection, work => work());
      await connection.connect();
      const { stream } = connection;
      await connection.call('NO-SUCH-COMMAND').catch(() => undefined);
      // A socket without an answer is closed after five seconds.
      await pause(5_500);
      expect(connection.stream).to.equal(stream);
      expect(stream.destroyed).to.equal(false);
    });

    it('gives every message after the acknowledgement, in order, any bytes', async () => {
      const { gateway, subscriber, observed } = await start();
      await subscriber.subscribe(['c1', 'c2']);
      const bytes = Buffer.from([0, 255, 10]);
      await Promise.all([
        gateway.publish('c1', bytes, 'classic'),
        gateway.publish('c2', 'two', 'classic'),
        gateway.publish('other', 'x', 'classic'),
        gateway.publish('c1', 'three', 'classic'),
      ]);
      await until(() => observed.messages.length === 3, 'the messages');
      const first = `c1=${bytes.toString('latin1')}`;
      expect(observed.messages).to.deep.equal([first, 'c2=two', 'c1=three']);
    });

    it('ends single subscriptions', async () => {
      const { gateway, subscriber, observed } = await start();
      await subscriber.subscribe(['c1', 'c2']);
      subscriber.unsubscribe('c1');
      await until(async () => (await gateway.publish('c1', 'x', 'classic')) === 0, 'the end');
      await gateway.publish('c2', 'y', 'classic');
      await until(() => observed.messages.includes('c2=y'), 'the other');
      expect(observed.life).to.deep.equal(['up']);
    });

    it('subscribes again to everything, 1,000 channels a call, after its connection was killed', async () => {
      const { gateway, subscriber, observed } = await start();
      const channels = Array.from({ length: 1_200 }, (_, n) => `c${n}`);
      await subscriber.subscribe(channels);
      await server.redis.admin.config('RESETSTAT');
      for (let kills = 1; kills <= 3; kills += 1) {
        await server.redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await until(() => observed.life.length === 1 + 2 * kills, 'the next life');
      }
      expect(observed.life).to.deep.equal(['up', 'down', 'up', 'down', 'up', 'down', 'up']);
      const stats = await server.redis.admin.info('commandstats');
      expect(Number(/cmdstat_subscribe:calls=(\d+)/.exec(stats)?.[1])).to.equal(3 * 2);
      for (const channel of ['c0', 'c599', 'c1199']) {
        expect(await gateway.publish(channel, 'x', 'classic'), channel).to.equal(1);
      }
    });

    it('rejects a subscription without a connection, and subscribes with the next', async () => {
      const { gateway, subscriber, observed } = await start();
      await server.redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await until(() => observed.life.includes('down'), 'the break');
      const failure: unknown = await subscriber.subscribe(['late']).catch((e: unknown) => e);
      expect(failure).to.include({ code: 'UNAVAILABLE' });
      await until(() => subscriber.up, 'the next life');
      expect(await gateway.publish('late', 'x', 'classic')).to.equal(1);
    });

    it('reports nothing after close', async () => {
      const { gateway, subscriber, observed } = await start();
      await subscriber.subscribe(['c1']);
      subscriber.close();
      subscriber.close();
      await until(async () => (await gateway.publish('c1', 'x', 'classic')) === 0, 'the end');
      expect(observed).to.deep.equal({ messages: [], life: ['up'], errors: [] });
      const failure: unknown = await subscriber.subscribe(['c2']).catch((e: unknown) => e);
      expect(failure).to.include({ code: 'CLOSED' });
    });

    it('goes on trying while SUBSCRIBE is refused, without an unhandled rejection', async () => {
      const { admin } = server.redis;
      await admin.acl('SETUSER', 'bob', 'on', '>secret', '~*', '&*', '+@all');
      const gateway = await open({ url: server.redis.url, username: 'bob', password: 'secret' });
      await admin.acl('SETUSER', 'bob', '-subscribe');
      const { observed, events } = observe();
      const subscriber = gateway.subscriber('classic', 'me', events);
      closing.push(subscriber);
      subscriber.open();
      await until(() => observed.errors.length >= 2, 'two refusals');
      expect(subscriber.up).to.equal(false);
      await admin.acl('SETUSER', 'bob', '+subscribe');
      await until(() => subscriber.up, 'the subscriber');
      expect(observed.life).to.deep.equal(['up']);
    });

    it('replaces a connection on which nothing arrives, when publishing works', async () => {
      const gateway = await open({ url: server.redis.url });
      const silent = await RedisServer.start();
      closing.push({ close: () => silent.stop() });
      const [elsewhere, here] = [silent, server.redis].map(address) as [RedisConnections, RedisConnections];
      const { observed, events } = observe();
      // Its first connection goes to a Redis without publications: it looks healthy but delivers nothing.
      const subscriber = new RedisSubscriber(
        {
          connect: attempt => (attempt === 0 ? elsewhere : here).subscriber(attempt, 'me'),
          publish: (channel, payload) => gateway.publish(channel, payload, 'classic'),
          probeChannel: gateway.keys.probeChannel('me'),
          mode: 'classic',
          probeMs: 50,
        },
        events,
      );
      closing.push(subscriber);
      subscriber.open();
      await until(() => observed.life.length >= 3, 'the next life');
      expect(observed.life).to.deep.equal(['up', 'down', 'up']);
      await subscriber.subscribe(['c1']);
      await gateway.publish('c1', 'x', 'classic');
      await until(() => observed.messages.length > 0, 'the message');
    });
  });

  describe('on a Redis Cluster', () => {
    const cluster = withRedisCluster();

    it('gets messages of sharded channels from the master of their slot', async () => {
      const gateway = await open({ client: cluster.redis.admin, pubsub: 'sharded' });
      const { observed, events } = observe();
      const channel = gateway.keys.topicChannel('a');
      const subscriber = gateway.subscriber('sharded', 'me', events, channel);
      closing.push(subscriber);
      subscriber.open();
      await until(() => subscriber.up, 'the subscriber');
      await subscriber.subscribe([channel, gateway.keys.topicChannel('b')]);
      await gateway.publish(channel, 'x', 'sharded');
      await until(() => observed.messages.length > 0, 'the message');
      expect(observed.messages).to.deep.equal([`${channel}=x`]);
    });

    it('gets messages of classic channels from another master after each loss', async () => {
      const gateway = await open({ client: cluster.redis.admin });
      const { observed, events } = observe();
      const subscriber = gateway.subscriber('classic', 'me', events);
      closing.push(subscriber);
      subscriber.open();
      await until(() => subscriber.up, 'the subscriber');
      await subscriber.subscribe(['c1']);
      for (const { admin } of cluster.redis.servers) await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
      await until(() => observed.life.length === 3, 'the next life');
      await gateway.publish('c1', 'x', 'classic');
      await until(() => observed.messages.length > 0, 'the message');
    });

    it('starts anew when the slot of its channels moves', async () => {
      const gateway = await open({ client: cluster.redis.admin, pubsub: 'sharded' });
      const { observed, events } = observe();
      const channel = gateway.keys.topicChannel('a');
      const subscriber = gateway.subscriber('sharded', 'me', events, channel);
      closing.push(subscriber);
      subscriber.open();
      await until(() => subscriber.up, 'the subscriber');
      await subscriber.subscribe([channel]);
      const slot = await cluster.redis.admin.cluster('KEYSLOT', channel);
      const owners = await Promise.all(
        cluster.redis.servers.map(async ({ admin }) => String(await admin.call('CLUSTER', 'MYID'))),
      );
      const from = Math.floor((slot * 3) / 16_384);
      const to = (from + 1) % 3;
      for (const node of [to, from, (from + 2) % 3]) {
        await cluster.redis.servers[node]?.admin.call('CLUSTER', 'SETSLOT', slot, 'NODE', owners[to]!);
      }
      await until(() => observed.life.length >= 3, 'the next life');
      await until(
        async () => {
          await gateway.publish(channel, 'x', 'sharded').catch(() => undefined);
          return observed.messages.length > 0;
        },
        'a message',
        15_000,
      );
    });
  });
});

function address({ url }: RedisServer): RedisConnections {
  const account = { username: undefined, password: undefined, credentials: undefined };
  const ignore = (): void => undefined;
  return new RedisConnections(
    { url, client: undefined, class: Redis, ...account },
    { onOpen: ignore, onClose: ignore, onError: ignore },
  );
}
