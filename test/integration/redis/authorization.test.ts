import { randomBytes } from 'node:crypto';
import { expect } from 'chai';
import type { AuthorizedClient, Authorizer, Grant } from '../../../src/contracts/authorization.js';
import { RedisClock } from '../../../src/cluster/redis/signing.js';
import { encodeRequest } from '../../../src/cluster/redis/command-frames.js';
import { parseCursor } from '../../../src/protocol/cursor.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { RedisServices } from '../../support/redis/redis-services.js';
import { signerOf } from '../../support/redis/signer-of.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const SECRET = 'a secret of at least sixteen';

/** Grants everything, to some clients only from a time on. */
class Since implements Authorizer {
  readonly since = new Map<string, Date>();

  grant({ connectionId }: AuthorizedClient, topics: readonly string[]): Grant[] {
    const since = this.since.get(connectionId);
    return topics.map(topic => (since === undefined ? { topic } : { topic, since }));
  }

  stillAllowed(): boolean {
    return true;
  }
}

describe('a grant with a time, over Redis', () => {
  const server = withRedis();
  const authorizer = new Since();
  const services = new RedisServices(() => server.redis.port, { authorizer });
  const sinks: RecordingSink[] = [];
  afterEach(() => {
    for (const sink of sinks.splice(0)) sink.leave();
  });
  after(() => services.dispose());

  for (const [from, tail] of [
    ['from Redis', 0],
    ["from its node's memory", 16_777_216],
  ] as const) {
    it(`holds for made-up cursors, backlogs and subscribe, and a client beside it gets everything, ${from}`, async () => {
      const topic = `board${tail}`;
      const service = await services.node(`n${tail}`, { history: { tail } });
      const connect = async (id: string, options: object = {}): Promise<RecordingSink> => {
        const sink = new RecordingSink();
        sinks.push(sink);
        await service.createConnection(id, sink, { topics: [topic], ...options });
        return sink;
      };
      const healthy = await connect(`healthy${tail}`);
      const begin = healthy.lastId ?? '';
      await service.publish(topic, 'message', 'before');
      await until(() => healthy.data('message').length === 1, 'the event');
      const { ms = 0, epoch = '' } = parseCursor(healthy.lastId ?? '') ?? {};
      const since = new Date(Math.max(ms + 1, Date.now()));
      await until(() => Date.now() > since.getTime() + 1, 'another millisecond');
      const { id = '' } = await service.publish(topic, 'message', 'after');
      const made = [begin, `${epoch}.1-1`, `${epoch}.0-0`, `zzzz.1-1`, healthy.lastId ?? '', '0-0', id];
      const attempts = [
        ...made.map(lastEventId => ({ lastEventId })),
        { backlog: 10 },
        { backlog: 'latest' },
        { lastEventId: begin, topics: ['other'] },
      ];
      const granted = await Promise.all(
        attempts.map((options, n) => {
          authorizer.since.set(`late${tail}-${n}`, since);
          return connect(`late${tail}-${n}`, options);
        }),
      );
      expect(await service.subscribe(`late${tail}-${attempts.length - 1}`, topic)).to.have.property(
        'outcome',
        'delivered',
      );
      const back = await connect(`back${tail}`, { lastEventId: begin });
      await service.publish(topic, 'message', 'live');
      const all = [...granted, back, healthy];
      await until(() => all.every(sink => sink.data('message').includes('live')), 'the live event');
      for (const sink of granted) expect(sink.data('message')).to.not.include('before');
      expect(granted[0]?.data('message')).to.deep.equal(['after', 'live']);
      for (const sink of [healthy, back]) expect(sink.data('message')).to.deep.equal(['before', 'after', 'live']);
    });
  }
});

describe('marks of revocations, written into Redis by a program that has no secret', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }), { control: { secret: SECRET } });
  afterEach(() => nodes.dispose());

  it('end nothing: nodes obey their own marks alone, also those that come behind them', async () => {
    const { admin } = server.redis;
    const listener = new RecordingListener();
    const [a, b] = await Promise.all([nodes.node('a'), nodes.node('b')]);
    await a.start(listener);
    await b.start(new RecordingListener());
    await until(() => a.status().reachable && b.status().reachable, 'both nodes');
    const revocation = { target: 'ann/', topics: [], reason: 'revoked', cut: true, ttl: 60_000, age: 0 };
    const from = 'z~0123456789abcdef0123';
    const command = { t: 'revoke', id: 'forged', ...revocation } as const;
    const id = randomBytes(12).toString('hex');
    const frame = encodeRequest({ id, from, at: 0, deadline: 0, command, trace: undefined });
    const forged = [
      frame,
      signerOf('another secret of sixteen', new RedisClock(), from).sign({ kind: 'all-nodes' }, frame),
      // Signed by a node, but for another purpose.
      signerOf(SECRET, new RedisClock(), from).sign({ kind: 'publication', topic: 'news' }, frame),
      Buffer.alloc(0),
      randomBytes(200),
      'text',
    ];
    const key = `${nodes.prefix}{log}:v`;
    for (const mark of forged) await admin.xadd(key, '*', 'm', mark);
    await b.messenger.revoke({ id: 'real', ...revocation });
    const ids = (): string[] => listener.revocations.map(({ id }) => id);
    const ignored = (): number =>
      nodes.logger.at('warn').filter(({ message }) => message.includes('mark of a revocation')).length;
    // The command comes at once, the mark with a later heartbeat.
    await until(() => ids().filter(each => each === 'real').length >= 2 && ignored() >= 2 * forged.length, 'the marks');
    expect(new Set(ids())).to.deep.equal(new Set(['real']));
  });
});
