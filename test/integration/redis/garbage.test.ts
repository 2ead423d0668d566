import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { encodeRequest } from '../../../src/cluster/redis/command-frames.js';
import { amount } from '../../support/extent.js';
import { garbageFrames } from '../../support/garbage-frames.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const ROUNDS = amount(150, 400);

describe('garbage on the channels of live nodes', () => {
  const server = withRedis();
  const cluster = withRedisCluster();
  for (const secret of [undefined, 'a secret of at least sixteen']) {
    describe(secret === undefined ? 'unsigned' : 'signed', () => {
      const nodes = new RedisNodes(() => ({ url: server.redis.url }), { control: { secret } });
      let a: RedisCoordinator;
      let b: RedisCoordinator;
      let listener: RecordingListener;
      const rejections: unknown[] = [];
      const onRejection = (reason: unknown): void => {
        rejections.push(reason);
      };

      beforeEach(async () => {
        process.on('unhandledRejection', onRejection);
        listener = new RecordingListener();
        [a, b] = await Promise.all([nodes.node('a'), nodes.node('b')]);
        await a.start(listener);
        await b.start(new RecordingListener());
        listener.connections.set('c1', 't1');
        await a.routes.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
        await a.log.subscribe(['news']);
      });

      afterEach(async () => {
        await nodes.dispose();
        process.off('unhandledRejection', onRejection);
      });

      const channels = async (): Promise<string[]> =>
        (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}*`)) as string[];
      const send = (messageId: string) =>
        b.messenger.send({
          connectionId: 'c1',
          messageId,
          frame: { bytes: Buffer.from(`data: ${messageId}\n\n`) },
          ack: 'owner',
          deadline: 2_000,
        });
      const publish = (text: string, retention: { maxEntries: number; ttl: number } | false) =>
        b.log.publish({ topic: 'news', body: Buffer.from(`data: ${text}\n\n`), retention });

      /** What the nodes say to each other, by channel. */
      const record = async (): Promise<[channel: string, frame: Buffer][]> => {
        const ear = server.redis.admin.duplicate();
        const frames: [string, Buffer][] = [];
        ear.on('pmessageBuffer', (_pattern: string, channel: Buffer, frame: Buffer) =>
          frames.push([channel.toString(), frame]),
        );
        await ear.psubscribe(`${nodes.prefix}*`);
        await send('recorded');
        await publish('kept', { maxEntries: 10, ttl: 60_000 });
        await publish('unkept', false);
        await b.messenger.presence('news');
        await b.messenger.subscribe('c1', 'sport');
        await until(() => frames.length >= 6, 'the frames');
        ear.disconnect();
        return frames;
      };

      it('has no effect: a send and a publication still arrive', async () => {
        const frames = await record();
        const all = await channels();
        expect(all.length).to.be.greaterThan(4);
        const garbage = garbageFrames(
          frames.map(([, frame]) => frame),
          secret !== undefined,
        );
        const pairs = fc.sample(fc.tuple(fc.constantFrom(...all), garbage), ROUNDS);
        for (const [channel, frame] of pairs) await server.redis.admin.publish(channel, frame);
        for (const channel of all) {
          await server.redis.admin.publish(channel, randomBytes(2 * 1024 * 1024));
        }

        expect(await send('after')).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
        await publish('after', { maxEntries: 10, ttl: 60_000 });
        await until(() => listener.publications.some(({ text }) => text.includes('data: after')), 'the publication');
        expect(await b.routes.count()).to.equal(1);
        expect(a.status()).to.deep.equal({ reachable: true });
        expect(listener.closed).to.deep.equal([]);
        expect(listener.closedAll).to.deep.equal([]);
        expect(({} as { polluted?: true }).polluted).to.equal(undefined);
        expect(rejections).to.deep.equal([]);
      });
    });
  }

  it('has no effect on the sharded channels of a Redis Cluster', async () => {
    const nodes = new RedisNodes(() => ({ client: cluster.redis.admin, pubsub: 'sharded' }));
    const listener = new RecordingListener();
    try {
      const [a, b] = await Promise.all([nodes.node('a'), nodes.node('b')]);
      await a.start(listener);
      await b.start(new RecordingListener());
      listener.connections.set('c1', 't1');
      await a.routes.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
      await a.log.subscribe(['news']);
      const lists = await Promise.all(cluster.redis.servers.map(({ admin }) => admin.call('PUBSUB', 'SHARDCHANNELS')));
      const channels = (lists as string[][]).flat();
      const id = '0'.repeat(24);
      const command = { t: 'closeAll', reason: 'kicked' } as const;
      const request = { id, from: `z~${id.slice(4)}`, at: Date.now(), deadline: 1_500, command };
      const genuine = Buffer.concat([Buffer.from('- '), encodeRequest(request)]);
      // A channel for each node in each partition, the log's, and the probes of each.
      expect(channels.length).to.be.greaterThan(2 * 16 * 2);
      const pairs = fc.sample(fc.tuple(fc.constantFrom(...channels), garbageFrames([genuine], false)), ROUNDS);
      const { admin } = cluster.redis;
      for (const [channel, frame] of pairs) await admin.spublish(channel, frame);
      for (const channel of channels) await admin.spublish(channel, randomBytes(300_000));
      const frame = { bytes: Buffer.from('data: x\n\n') };
      const message = { connectionId: 'c1', messageId: 'm1', frame, ack: 'owner' } as const;
      const sent = await b.messenger.send({ ...message, deadline: 3_000 });
      expect(sent).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
      const retention = { maxEntries: 10, ttl: 60_000 };
      await b.log.publish({ topic: 'news', body: Buffer.from('data: after\n\n'), retention });
      await until(() => listener.publications.some(({ text }) => text.includes('data: after')), 'the publication');
      expect(listener.closed).to.deep.equal([]);
      expect(listener.closedAll).to.deep.equal([]);
    } finally {
      await nodes.dispose();
    }
  });
});
