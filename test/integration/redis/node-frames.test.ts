import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { Redis } from 'ioredis';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import {
  ANSWER_KIND,
  type CommandAnswer,
  parseAnswer,
  REQUEST_KIND,
} from '../../../src/cluster/redis/command-frames.js';
import { RedisClock } from '../../../src/cluster/redis/signing.js';
import { encodeAcks, encodeMessage, encodeUnkept, MAX_ACKS, parseAcks } from '../../../src/cluster/redis/frames.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { joined } from '../../support/redis/joined.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { signerOf } from '../../support/redis/signer-of.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const ME = 'z~0123456789abcdef0123';
const LATE_MS = 200;

/** The frames of another node, byte by byte, and their effect on a node. */
for (const secret of [undefined, 'a secret of at least sixteen']) {
  describe(`frames between nodes, ${secret === undefined ? 'unsigned' : 'signed'}`, () => {
    const server = withRedis();
    const time = new RedisClock();
    const signer = signerOf(secret, time, ME);
    const nodes = new RedisNodes(() => ({ url: server.redis.url }), {
      control: { secret },
      limits: { maxEventBytes: 1_000 },
    });
    let node: RedisCoordinator;
    let listener: RecordingListener;
    let ear: Redis;
    let inc = '';
    const received: Buffer[] = [];

    beforeEach(async () => {
      const sentAt = performance.now();
      time.observe(await clock(), sentAt);
      listener = new RecordingListener();
      listener.connections.set('c1', 't1');
      node = await nodes.node('a');
      await node.start(listener);
      await node.routes.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
      const names = (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}0:n:a~*`)) as string[];
      inc = (names[0] ?? '').slice(`${nodes.prefix}0:n:`.length);
      ear = server.redis.admin.duplicate();
      ear.on('messageBuffer', (_channel: Buffer, frame: Buffer) => received.push(frame));
      await ear.subscribe(`${nodes.prefix}0:n:${ME}`);
    });
    afterEach(async () => {
      ear.disconnect();
      received.length = 0;
      nodes.logger.lines.length = 0;
      await nodes.dispose();
    });

    const publish = (frame: Buffer, channel = `0:n:${inc}`) =>
      server.redis.admin.publish(nodes.prefix + channel, frame);
    const signed = (frame: Buffer, by = signer): Buffer => by.sign({ kind: 'node', inc }, frame, '- ');
    const say = (frame: Buffer) => publish(signed(frame));
    const sayToAll = (frame: Buffer) => publish(signer.sign({ kind: 'all-nodes' }, frame, '- '), '0:a:nodes');
    const clock = async (): Promise<number> => {
      const [seconds, micros] = await server.redis.admin.time();
      return Math.floor(Number(seconds) * 1_000 + Number(micros) / 1_000);
    };
    /** The body of an answer. */
    const bodyOf = (frame: Buffer): Buffer =>
      signer.authentic({ kind: 'node', inc: ME }, frame.subarray(2))?.body ?? Buffer.alloc(0);
    /** A request as it is on the wire, before it is signed. */
    const request = async (command: object, more: object = {}, kind = REQUEST_KIND) => {
      const id = randomBytes(12).toString('hex');
      const head = { id, from: ME, at: await clock(), deadline: 1_500 };
      return { id, frame: Buffer.from(kind + JSON.stringify({ ...head, command, ...more })) };
    };
    const answerTo = async (id: string): Promise<CommandAnswer> => {
      const answers = () => received.map(frame => parseAnswer(bodyOf(frame)));
      await until(() => answers().some(answer => answer?.id === id), 'the answer');
      return answers().find(answer => answer?.id === id)!;
    };
    const ask = async (command: object, more: object = {}): Promise<CommandAnswer> => {
      const { id, frame } = await request(command, more);
      await say(frame);
      return answerTo(id);
    };
    /** Resolves when all frames that were sent before are received. */
    const settled = () => ask({ t: 'ping' });
    const drops = (): unknown[] => nodes.logger.at('warn').flatMap(({ fields }) => fields?.['dropped'] ?? []);

    it('a ping is answered, and a count with the connections of the node', async () => {
      expect(await ask({ t: 'ping' })).to.include({ from: inc, ok: true, data: true });
      expect(await ask({ t: 'count' })).to.include({ from: inc, ok: true, data: 1 });
    });

    it('a command of a newer version is answered as unsupported, counted and dropped', async () => {
      expect(await ask({ t: 'juggle', balls: 3 })).to.include({ ok: false, data: 'unsupported' });
      expect(drops()).to.deep.equal([1]);
    });

    it('a frame of another version or kind is counted and dropped', async () => {
      const { frame } = await request({ t: 'close', connectionId: 'c1', reason: 'kicked' }, {}, 'c2');
      await say(frame);
      await settled();
      expect(listener.closed).to.deep.equal([]);
      expect(drops()).to.deep.equal([1]);
    });

    it('a command for another node has no effect', async () => {
      const other = `b~${'0'.repeat(20)}`;
      const { frame } = await request({ t: 'closeAll', reason: 'kicked' }, { to: other });
      await sayToAll(frame);
      await settled();
      expect(listener.closedAll).to.deep.equal([]);
      expect(drops()).to.deep.equal([]);
    });

    it('a command that arrives again is carried out once', async () => {
      const { id, frame } = await request({ t: 'closeAll', reason: 'kicked' });
      const once = signed(frame);
      await publish(once);
      await answerTo(id);
      await publish(once);
      await publish(once, '0:a:nodes');
      await say(frame);
      await sayToAll(frame);
      await settled();
      expect(listener.closedAll).to.have.length(1);
    });

    it('a command after its deadline is not carried out, and neither is one of the future', async () => {
      for (const late of [-60_000, 60_000]) {
        const at = (await clock()) + late;
        const { frame } = await request({ t: 'closeAll', reason: 'kicked' }, { at });
        await say(frame);
      }
      await settled();
      expect(listener.closedAll).to.deep.equal([]);
    });

    it('a command that is truncated, too long, or has other keys is dropped', async () => {
      const close = { t: 'close', connectionId: 'c1', reason: 'kicked' };
      const { frame } = await request(close);
      for (let length = 0; length < frame.length; length += 7) {
        await say(frame.subarray(0, length));
      }
      await say(Buffer.concat([frame, Buffer.alloc(300_000, ' ')]));
      await say((await request(close, { extra: 1 })).frame);
      const polluting = frame.toString().replace('{', '{"__proto__":{"polluted":1},');
      await say(Buffer.from(polluting));
      await settled();
      expect(listener.closed).to.deep.equal([]);
      expect(({} as { polluted?: number }).polluted).to.equal(undefined);
    });

    it('an answer counts only from a node that was asked', async () => {
      const asking = node.messenger.presence('news');
      const forged = { id: '0'.repeat(24), from: ME, ok: true, data: ['ghost'] };
      await say(Buffer.from(ANSWER_KIND + JSON.stringify(forged)));
      expect(await asking).to.deep.equal({ connections: [], missing: [] });
    });

    it('an event larger than the node allows is rejected', async () => {
      const message = { from: ME, ack: true, connectionId: 'c1', trace: undefined };
      const sizes = [7_000, 9_000];
      for (const [at, size] of sizes.entries()) {
        const bytes = Buffer.from(`data: ${'x'.repeat(size)}\n\n`);
        const frame = encodeMessage({ ...message, attempt: `1.${at}`, messageId: `m${at}`, bytes });
        await publish(signer.sign({ kind: 'message', partition: 0 }, frame, 't1 '));
      }
      const acks = () => received.flatMap(frame => parseAcks(bodyOf(frame))?.acks ?? []);
      await until(() => acks().length === sizes.length, 'the acknowledgements');
      expect(acks()).to.deep.equal([
        { attempt: '1.0', result: { outcome: 'delivered' } },
        { attempt: '1.1', result: { outcome: 'rejected', code: 'EVENT_TOO_LARGE' } },
      ]);
      expect(listener.messages).to.have.length(1);
    });

    it('messages that arrive together are delivered before what follows them, each answered for itself', async () => {
      await node.log.subscribe(['news']);
      const seen: unknown[] = [];
      listener.answer = (_, messageId) => {
        seen.push([messageId, listener.publications.length, listener.closedAll.length]);
        return messageId === 'm2' ? { outcome: 'rejected', code: 'SEND_BUFFER_FULL' } : { outcome: 'delivered' };
      };
      const message = { from: ME, ack: true, connectionId: 'c1', trace: undefined };
      const messageFrame = (messageId: string, size = 1): Buffer => {
        const bytes = Buffer.from(`data: ${'x'.repeat(size)}\n\n`);
        const frame = encodeMessage({ ...message, attempt: `1.${messageId.slice(1)}`, messageId, bytes });
        return signer.sign({ kind: 'message', partition: 0 }, frame, 't1 ');
      };
      const close = await request({ t: 'closeAll', reason: 'kicked' });
      const event = encodeUnkept(signer, 'news', { body: Buffer.from('data: y\n\n') });
      const frames: [string, Buffer][] = [
        [`0:n:${inc}`, messageFrame('m1')],
        [`0:n:${inc}`, messageFrame('m2')],
        [`0:n:${inc}`, messageFrame('m3', 9_000)],
        [`0:n:${inc}`, messageFrame('m4')],
        ['0:t:{log}:news', event],
        [`0:n:${inc}`, messageFrame('m5')],
        [`0:n:${inc}`, messageFrame('m6')],
        [`0:n:${inc}`, signed(close.frame)],
        [`0:n:${inc}`, messageFrame('m7')],
      ];
      // In one packet, as the messages of a batch come.
      const pipeline = server.redis.admin.pipeline();
      for (const [channel, frame] of frames) pipeline.publish(nodes.prefix + channel, frame);
      await pipeline.exec();
      await answerTo(close.id);
      const acks = () => received.flatMap(frame => parseAcks(bodyOf(frame))?.acks ?? []);
      await until(() => acks().length === 7, 'the acknowledgements');
      expect(seen).to.deep.equal([
        ['m1', 0, 0],
        ['m2', 0, 0],
        ['m4', 0, 0],
        ['m5', 1, 0],
        ['m6', 1, 0],
        ['m7', 1, 1],
      ]);
      expect(
        acks().map(({ attempt, result }) => [attempt, 'code' in result ? result.code : result.outcome]),
      ).to.deep.equal([
        ['1.1', 'delivered'],
        ['1.2', 'SEND_BUFFER_FULL'],
        ['1.3', 'EVENT_TOO_LARGE'],
        ['1.4', 'delivered'],
        ['1.5', 'delivered'],
        ['1.6', 'delivered'],
        ['1.7', 'delivered'],
      ]);
    });

    it('messages that were joined are verified, delivered and answered each, in their order', async () => {
      const message = { from: ME, ack: true, connectionId: 'c1', trace: undefined, bytes: Buffer.from('data: x\n\n') };
      const messageFrame = (number: number, by = signer): Buffer => {
        const frame = encodeMessage({ ...message, attempt: `1.${number}`, messageId: `m${number}` });
        return by.sign({ kind: 'message', partition: 0 }, frame, 't1 ');
      };
      listener.answer = (_, messageId) => ({ outcome: messageId === 'm2' ? 'buffered' : 'delivered' });
      const first = messageFrame(1);
      const forged = messageFrame(3, signerOf(secret && 'another secret of sixteen', time, ME));
      const odd = Buffer.from('t1 m9 of a later version');
      const frames = [first, messageFrame(2), odd, ...(secret ? [forged, first] : []), messageFrame(4)];
      await publish(joined(frames));
      await publish(joined(frames).subarray(0, -1));
      await publish(messageFrame(5));
      const acks = () => received.flatMap(frame => parseAcks(bodyOf(frame))?.acks ?? []);
      await until(() => acks().length === 4, 'the acknowledgements');
      expect(acks().map(({ attempt, result }) => [attempt, result.outcome])).to.deep.equal([
        ['1.1', 'delivered'],
        ['1.2', 'buffered'],
        ['1.4', 'delivered'],
        ['1.5', 'delivered'],
      ]);
      expect(listener.messages.map(({ messageId }) => messageId)).to.deep.equal(['m1', 'm2', 'm4', 'm5']);
      expect(drops()).to.deep.equal([1]);
    });

    if (secret === undefined) return;

    it('a sender whose clock is late reaches a young connection at its second attempt', async () => {
      const late = new RedisClock();
      listener.connections.set('c2', 't2');
      await node.routes.register({ connectionId: 'c2', token: 't2', onDuplicate: 'takeover' });
      const sentAt = performance.now() - LATE_MS;
      late.observe((await clock()) - LATE_MS, sentAt);
      const sender = signerOf(secret, late, ME);
      const message = { from: ME, ack: true, connectionId: 'c2', messageId: 'm1', trace: undefined };
      const send = async (attempt: string) => {
        const frame = encodeMessage({ ...message, attempt, bytes: Buffer.from('data: x\n\n') });
        const count = received.length;
        await publish(sender.sign({ kind: 'message', partition: 0 }, frame, 't2 '));
        await until(() => received.length > count, 'the acknowledgement');
        const verdict = sender.verify({ kind: 'node', inc: ME }, received.at(-1)?.subarray(2) ?? Buffer.alloc(0));
        return verdict.kind === 'fresh' ? parseAcks(verdict.body)?.acks : verdict.kind;
      };
      expect(await send('1.0')).to.deep.equal([{ attempt: '1.0', result: { outcome: 'not-connected' } }]);
      expect(await send('1.1')).to.deep.equal([{ attempt: '1.1', result: { outcome: 'delivered' } }]);
    });

    it('a command that is signed with another secret, or not at all, is dropped', async () => {
      const { frame } = await request({ t: 'closeAll', reason: 'kicked' });
      await publish(Buffer.concat([Buffer.from('- '), frame]));
      await publish(signed(frame, signerOf('another secret of sixteen', time)));
      const changed = signed(frame);
      changed.writeUInt8((changed.at(-3) ?? 0) ^ 1, changed.length - 3);
      await publish(changed);
      await settled();
      expect(listener.closedAll).to.deep.equal([]);
      expect(drops()).to.deep.equal([1]);
    });

    it('a notice of a takeover, which Redis writes unsigned, counts only if the route says so', async () => {
      const notice = { v: 1, t: 'superseded', c: 'c1', k: 't1', f: '1' };
      await server.redis.admin.publish(`${nodes.prefix}0:n:${inc}`, JSON.stringify(notice));
      await settled();
      expect(await node.routes.locate('c1')).to.include({ nodeId: 'a' });
      expect(listener.superseded).to.deep.equal([]);
    });
  });
}

describe('an acknowledgement frame', () => {
  const lines = (count: number): string[] => Array.from({ length: count }, (_, n) => `${n}.0 d`);

  it('carries 10,000 acks, and one with more is refused whole', () => {
    expect(parseAcks(encodeAcks(ME, lines(MAX_ACKS)))?.acks).to.have.length(MAX_ACKS);
    expect(parseAcks(encodeAcks(ME, lines(MAX_ACKS + 1)))).to.equal(undefined);
  });
});
