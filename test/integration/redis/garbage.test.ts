import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import fc from 'fast-check';
import type { RedisCoordinator } from '../../../src/cluster/redis-coordinator.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const ROUNDS = 400;

describe('garbage on the channels of live nodes', () => {
  const server = withRedis();
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
        await a.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
        await a.listen(['news']);
      });

      afterEach(async () => {
        await nodes.dispose();
        process.off('unhandledRejection', onRejection);
      });

      const channels = async (): Promise<string[]> =>
        (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}*`)) as string[];
      const send = (messageId: string) =>
        b.send({
          connectionId: 'c1',
          messageId,
          frame: { bytes: Buffer.from(`data: ${messageId}\n\n`) },
          ack: 'owner',
          deadline: 2_000,
        });
      const publish = (text: string, retention: { maxEntries: number; ttl: number } | false) =>
        b.publish({ topic: 'news', body: Buffer.from(`data: ${text}\n\n`), retention });

      /** What the nodes say to each other, by channel. */
      const record = async (): Promise<[channel: string, frame: Buffer][]> => {
        const ear = server.redis.admin.duplicate();
        const heard: [string, Buffer][] = [];
        ear.on('pmessageBuffer', (_pattern: string, channel: Buffer, frame: Buffer) =>
          heard.push([channel.toString(), frame]),
        );
        await ear.psubscribe(`${nodes.prefix}*`);
        await send('recorded');
        await publish('kept', { maxEntries: 10, ttl: 60_000 });
        await publish('unkept', false);
        await b.presence('news');
        await b.subscribe('c1', 'sport');
        await until(() => heard.length >= 6, 'the frames');
        ear.disconnect();
        return heard;
      };

      it('harms nobody: a send and a publication still arrive', async () => {
        const heard = await record();
        const all = await channels();
        expect(all.length).to.be.greaterThan(4);
        const proto =
          '{"__proto__":{"polluted":true},"v":1,"t":"superseded","c":"c1","k":"t1","f":"9"}';
        const mutations: fc.Arbitrary<Buffer>[] = [
          fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)),
          fc
            .constantFrom(
              '',
              ' ',
              '- ',
              '-  ',
              't1 ',
              't1 m9',
              '- c9{"id":1}',
              '- c1{',
              '- c1{"__proto__":{}}',
              '- r1{"id":"x"}',
              '- a1',
              '{',
              '{}',
              '{"v":2}',
              'e1 1-1',
              'e1 1-1 0-0',
              'e1 x-1 0-0 \nx',
              '- \n',
            )
            .map(text => Buffer.from(text)),
          fc.string({ maxLength: 300, unit: 'binary' }).map(text => Buffer.from(`- ${text}`)),
          fc.string({ maxLength: 300 }).map(text => Buffer.from(`t1 m1${text}`)),
          fc.constant(Buffer.from(`- c1${proto}`)),
        ];
        const genuine = heard.map(([, frame]) => frame);
        const truncated = fc
          .tuple(fc.constantFrom(...genuine), fc.nat(400))
          .map(([frame, length]) => frame.subarray(0, Math.min(length, frame.length - 1)));
        const flipped = fc
          .tuple(fc.constantFrom(...genuine), fc.nat(), fc.integer({ min: 1, max: 255 }))
          .map(([frame, at, bits]) => {
            const copy = Buffer.from(frame);
            const index = at % copy.length;
            copy[index] = (copy[index] ?? 0) ^ bits;
            return copy;
          });
        const garbage = fc.oneof(
          truncated,
          ...mutations,
          ...(secret === undefined ? [] : [flipped]),
        );
        const pairs = fc.sample(fc.tuple(fc.constantFrom(...all), garbage), ROUNDS);
        for (const [channel, frame] of pairs) await server.redis.admin.publish(channel, frame);
        for (const channel of all) {
          await server.redis.admin.publish(channel, randomBytes(2 * 1024 * 1024));
        }

        expect(await send('after')).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
        await publish('after', { maxEntries: 10, ttl: 60_000 });
        await until(
          () => listener.publications.some(({ text }) => text.includes('data: after')),
          'the publication',
        );
        expect(await b.count()).to.equal(1);
        expect(a.status()).to.deep.equal({ reachable: true });
        expect(listener.closed).to.deep.equal([]);
        expect(listener.closedAll).to.deep.equal([]);
        expect(({} as { polluted?: true }).polluted).to.equal(undefined);
        expect(rejections).to.deep.equal([]);
      }).timeout(30_000);
    });
  }
});
