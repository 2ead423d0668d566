import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { isAfter } from '../../../src/protocol/cursor.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { type Recorded, Recorder } from '../../support/redis/recorder.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const SECRET = 'a secret of at least sixteen';
const KEPT = { maxEntries: 100, ttl: 60_000 };
const LOG = ['b', 't'];
const NODES = ['a', 'n'];

/** What a program with the right to publish, and no secret, can do to nodes that sign. */
describe('recorded frames of nodes that sign', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }), { control: { secret: SECRET } });
  let a: RedisCoordinator;
  let b: RedisCoordinator;
  let healthy: RecordingListener;
  let other: RecordingListener;
  let attacker: Recorder;

  beforeEach(async () => {
    [a, b] = await Promise.all([nodes.node('a'), nodes.node('b')]);
    [healthy, other] = [new RecordingListener(), new RecordingListener()];
    healthy.connections.set('c1', 't1');
    await a.start(healthy);
    await b.start(other);
    await register(a, 'c1', 't1');
    await a.log.subscribe(['news']);
    await b.log.subscribe(['news']);
    attacker = await Recorder.of(server.redis.admin, `${nodes.prefix}*`);
  });
  afterEach(async () => {
    attacker.close();
    await nodes.dispose();
  });

  const register = (node: RedisCoordinator, connectionId: string, token: string) =>
    node.routes.register({ connectionId, token, onDuplicate: 'takeover' });
  const send = (messageId: string) => {
    const frame = { bytes: Buffer.from(`data: ${messageId}\n\n`) };
    return b.messenger.send({ connectionId: 'c1', messageId, frame, ack: 'owner', deadline: 3_000 });
  };
  const publish = (text: string, kept = true, topic: string | undefined = 'news') =>
    b.log.publish({ topic, body: Buffer.from(`data: ${text}\n\n`), retention: kept && KEPT });
  const textsOf = ({ publications }: RecordingListener): string[] =>
    publications.map(({ text }) => /data: (.*)/.exec(text)?.[1] ?? '');
  /** How often the log was read, publications included: each is one HMGET. */
  const reads = async (): Promise<number> => {
    const stats = await server.redis.admin.info('commandstats');
    return Number(/cmdstat_hmget:calls=(\d+)/.exec(stats)?.[1] ?? 0);
  };
  /** Uses every kind of frame, and resolves when the frames are recorded. */
  const work = async (): Promise<void> => {
    for (const n of [1, 2, 3]) {
      expect(await send(`sent ${n}`)).to.include({ outcome: 'delivered' });
      await publish(`kept ${n}`);
      await publish(`unkept ${n}`, false);
      await publish(`broadcast ${n}`, true, undefined);
    }
    await b.messenger.presence('news');
    await b.messenger.subscribe('c1', 'sport');
    await b.messenger.unsubscribe('c1', 'sport');
    await b.messenger.closeAll('closed');
    await until(() => healthy.publications.length === 9 && other.publications.length === 9, 'the publications');
    await until(() => attacker.on(...LOG).length >= 9 && attacker.on(...NODES).length >= 12, 'the recordings');
  };
  /** All that the frames had as effects so far. */
  const effects = () =>
    [healthy, other].map(({ messages, publications, gaps, closed, closedAll, superseded, syncs, subscriptions }) => ({
      // Without the sends of `goOn`. A sender repeats a message whose answer is late; the connection recognises its id.
      ...{
        messages: new Set(messages.filter(({ text }) => !text.includes('after')).map(({ messageId }) => messageId))
          .size,
        texts: publications.map(({ text }) => text),
        gaps: gaps.length,
      },
      ...{ closed: closed.length, closedAll: closedAll.length, superseded: superseded.length, syncs },
      sport: subscriptions.get('c1')?.has('sport') ?? false,
    }));
  /** That nodes still do everything, in order, and miss nothing. */
  const goOn = async (): Promise<void> => {
    const before = healthy.publications.length;
    expect(await send('after')).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
    for (const n of [1, 2, 3]) await publish(`after ${n}`);
    await until(() => healthy.publications.length >= before + 3, 'what is published afterwards');
    expect(textsOf(healthy).slice(before)).to.deep.equal(['after 1', 'after 2', 'after 3']);
    expect(healthy.gaps).to.deep.equal([]);
    expect([a.status(), b.status()]).to.deep.equal([{ reachable: true }, { reachable: true }]);
  };
  const withoutEffect = async (frames: readonly Recorded[]): Promise<void> => {
    const before = effects();
    await attacker.publish(frames);
    await goOn();
    const [now] = effects();
    expect({ ...now, texts: now?.texts.slice(0, -3) }).to.deep.equal(before[0]);
  };

  it('have no effect when they are published again, in any order, on any channel', async () => {
    await work();
    const frames = [...attacker.frames];
    const channels = [...new Set(frames.map(({ channel }) => channel))];
    const everywhere = frames.flatMap(({ frame }) => channels.map(channel => ({ channel, frame })));
    await withoutEffect([...frames, ...frames.toReversed(), ...frames, ...everywhere]);
  });

  it('have no effect with another token, another position, or a changed byte', async () => {
    await work();
    const tokens = ['-', 't1', 't2', '1'].map(token => Buffer.from(`${token} `));
    const retold = attacker.on(...NODES).flatMap(({ channel, frame }) => {
      const body = frame.subarray(frame.indexOf(' ') + 1);
      return tokens.map(token => ({ channel, frame: Buffer.concat([token, body]) }));
    });
    const moved = attacker.on(...LOG).flatMap(({ channel, frame }) => {
      const [epoch = '', id = '', previous = ''] = frame.toString('latin1').split(' ', 3);
      const [ms = 0, sequence = 0] = id.split('-').map(Number);
      const payload = frame.subarray(epoch.length + id.length + previous.length + 3);
      return [1, 100, 4_000, 1_000_000].flatMap(ahead =>
        [`${ms + ahead}-${sequence}`, `${ms}-${sequence + ahead}`, `${ms + ahead}-${sequence + ahead}`].map(to => ({
          channel,
          frame: Buffer.concat([Buffer.from(`${epoch} ${to} ${previous} `), payload]),
        })),
      );
    });
    const changed = attacker.frames.flatMap(({ channel, frame }) =>
      [0, 3, 5, 30, 40, 60, 90].map(at => {
        const copy = Buffer.from(frame);
        copy[at % copy.length] = (copy[at % copy.length] ?? 0) ^ 1;
        return { channel, frame: copy };
      }),
    );
    await withoutEffect([...retold, ...moved, ...changed]);
  });

  it('cost one read of the log for a run of them', async () => {
    await work();
    const frames = attacker.on(...LOG);
    const garbage = Array.from({ length: 1_000 }, (_, n) => ({
      channel: frames[n % frames.length]?.channel ?? '',
      frame: randomBytes(1 + (n % 300)),
    }));
    const before = await reads();
    await attacker.publish([...frames, ...garbage, ...frames, ...garbage]);
    await b.messenger.presence('news');
    const each = (await reads()) - before;
    // One for each node; in a catch-up a node may read a second, empty page.
    expect(each).to.be.within(0, 4);
    await goOn();
  });

  it('have no effect on a node that starts afterwards', async () => {
    await work();
    const late = new RecordingListener();
    late.answer = () => ({ outcome: 'not-connected' });
    const c = await nodes.node('c');
    await c.start(late);
    await c.log.subscribe(['news']);
    const toOne = (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}0:n:c~*`)) as string[];
    const frames = attacker.frames.flatMap(({ channel, frame }) => [
      { channel, frame },
      ...toOne.map(mine => ({ channel: mine, frame })),
    ]);
    await attacker.publish(frames);
    await goOn();
    await until(() => late.publications.length >= 3, 'what is published afterwards');
    expect(textsOf(late)).to.deep.equal(['after 1', 'after 2', 'after 3']);
    expect([late.closedAll, late.gaps]).to.deep.equal([[], []]);
  });

  it('have no effect on the connection that took the id over', async () => {
    await send('before');
    await until(() => attacker.on('n').length >= 1, 'the recording');
    const [message] = attacker.on('n');
    other.connections.set('c1', 'b1');
    await register(b, 'c1', 'b1');
    const channels = (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}0:n:b~*`)) as string[];
    const body = message?.frame.subarray(message.frame.indexOf(' ') + 1) ?? Buffer.alloc(0);
    await attacker.publish(channels.map(channel => ({ channel, frame: Buffer.concat([Buffer.from('b1 '), body]) })));
    expect(await send('after')).to.deep.equal({ outcome: 'delivered', nodeId: 'b' });
    expect(other.messages.map(({ messageId }) => messageId)).to.deep.equal(['after']);
  });

  it('bring a node that follows a topic only now nothing from before, and lose nothing', async () => {
    await publish('early', true, 'late');
    await publish('early unkept', false, 'late');
    await until(() => attacker.on('t').length === 2, 'the recordings');
    await a.log.subscribe(['late']);
    const { head } = await a.log.replay({ topics: ['late'], limit: 1 });
    const replays = attacker.on('t').flatMap(({ channel, frame }) => {
      const [epoch = '', id = '', previous = ''] = frame.toString('latin1').split(' ', 3);
      if (epoch === '-') return [];
      const payload = frame.subarray(epoch.length + id.length + previous.length + 3);
      const [ms = 0, sequence = 0] = id.split('-').map(Number);
      const ahead = Buffer.from(`${epoch} ${ms + 3_000}-${sequence + 1} ${previous} `);
      return [
        { channel, frame },
        { channel, frame: Buffer.concat([ahead, payload]) },
      ];
    });
    await attacker.publish(replays);
    for (const n of [1, 2, 3]) await publish(`now ${n}`, true, 'late');
    const isNew = ({ frame: { position } }: (typeof healthy.publications)[number]): boolean =>
      position === undefined || isAfter(position, head);
    await until(() => healthy.publications.filter(isNew).length >= 3, 'what is published afterwards');
    // Connections follow the topic from the head on; entries before it may be read once more.
    const texts = healthy.publications.filter(isNew).map(({ text }) => /data: (.*)/.exec(text)?.[1]);
    expect(texts).to.deep.equal(['now 1', 'now 2', 'now 3']);
    expect(healthy.gaps).to.deep.equal([]);
  });

  it('do not close a connection by a notice of a takeover that did not happen, and read its route seldom', async () => {
    const [channel = ''] = (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}0:n:a~*`)) as string[];
    const notices = Array.from({ length: 3_000 }, (_, n) => {
      const notice = { v: 1, t: 'superseded', c: n % 2 === 0 ? 'c1' : `c${n}`, k: 't1', f: '9007199254740991' };
      return { channel, frame: Buffer.from(JSON.stringify(notice)) };
    });
    const calls = async (): Promise<number> => {
      const stats = await server.redis.admin.info('commandstats');
      return Number(/cmdstat_evalsha:calls=(\d+)/.exec(stats)?.[1] ?? 0);
    };
    const before = await calls();
    await withoutEffect(notices);
    expect((await calls()) - before).to.be.below(500);
  });

  it('do not make a sender believe that a connection is gone', async () => {
    const [channel = ''] = (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}0:n:b~*`)) as string[];
    other.answer = () => ({ outcome: 'not-connected' });
    const mirror = await Recorder.of(server.redis.admin, `${nodes.prefix}0:n:a~*`, ({ frame }) => {
      void attacker.publish([{ channel, frame }]);
    });
    try {
      const results = await Promise.all(Array.from({ length: 50 }, (_, n) => send(`m${n}`)));
      expect(results).to.deep.equal(results.map(() => ({ outcome: 'delivered', nodeId: 'a' })));
      // A message without an answer in time is sent again; a node delivers one message id once.
      expect(new Set(healthy.messages.map(({ messageId }) => messageId)).size).to.equal(50);
    } finally {
      mirror.close();
    }
  });

  it('let a flood of forged frames pass beside healthy clients', async () => {
    await work();
    const channels = (await server.redis.admin.pubsub('CHANNELS', `${nodes.prefix}*`)) as string[];
    const flood = Array.from({ length: 5_000 }, (_, n) => ({
      channel: channels[n % channels.length] ?? '',
      frame: Buffer.concat([Buffer.from(n % 2 === 0 ? '- ' : 't1 '), randomBytes(55 + (n % 1_000))]),
    }));
    await withoutEffect(flood);
  });
});

describe('nodes with a list of secrets', () => {
  const server = withRedis();
  const [old, next] = ['the former secret', 'the secret to come'];
  const prefix = `rotation${Math.random().toString(36).slice(2)}x:`;
  const clusters: RedisNodes[] = [];
  afterEach(async () => {
    await Promise.all(clusters.splice(0).map(each => each.dispose()));
  });

  it('meet in each step of a rotation, and read what was published before', async () => {
    const steps = [old, [old, next], [next, old], next];
    for (const [at, secret] of steps.slice(0, -1).entries()) {
      const listener = new RecordingListener();
      listener.connections.set('c1', 't1');
      const [a, b] = await Promise.all(
        [secret, steps[at + 1] ?? next].map(each => {
          const nodes = new RedisNodes(() => ({ url: server.redis.url, prefix }), { control: { secret: each } });
          clusters.push(nodes);
          return nodes.node(`n${clusters.length}`);
        }),
      );
      if (a === undefined || b === undefined) throw new Error('two nodes were made');
      await a.start(listener);
      await b.start(new RecordingListener());
      await a.routes.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
      const frame = { bytes: Buffer.from('data: x\n\n') };
      const message = { connectionId: 'c1', messageId: `m${at}`, frame, deadline: 3_000 } as const;
      expect(await b.messenger.send({ ...message, ack: 'owner' }), `step ${at}`).to.include({ outcome: 'delivered' });
      await a.log.subscribe(['news']);
      const before = a.log.position();
      for (const node of [a, b]) {
        await node.log.publish({ topic: 'news', body: Buffer.from('data: x\n\n'), retention: KEPT });
      }
      await until(() => listener.publications.length === 2, `the publications of step ${at}`);
      for (const node of [a, b]) {
        const page = await node.log.replay({ topics: ['news'], limit: 10, ...(before && { after: before }) });
        expect(page.frames, `step ${at}`).to.have.length(2);
      }
    }
  });
});
