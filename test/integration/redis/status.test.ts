import { expect } from 'chai';
import { statusOf } from '../../../src/cluster/redis/joined-node.js';
import { UnreadableTopics } from '../../../src/cluster/redis/log.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { scriptedNode } from '../../support/redis/scripted-node.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { turns } from '../../support/turns.js';
import { until } from '../../support/until.js';

describe('the status of a node on Redis', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }), { node: { heartbeat: 50 } });

  afterEach(() => nodes.dispose());

  it('a full Redis is distinguished from one that does not answer, and the status recovers', async () => {
    const coordinator = await nodes.node('a');
    await coordinator.start(new RecordingListener());
    await server.redis.admin.config('SET', 'maxmemory', '1');
    await until(() => coordinator.status().impaired !== undefined, 'the refusal of writes');
    const impaired = [{ kind: 'writes', detail: 'Redis refuses writes with OOM' }];
    expect(coordinator.status()).to.deep.equal({ reachable: true, impaired });
    await server.redis.admin.config('SET', 'maxmemory', '0');
    await until(() => coordinator.status().impaired === undefined, 'the recovery');
    expect(coordinator.status()).to.deep.equal({ reachable: true });
  });

  it('a topic whose key has another type is named by the node that met it, until the key is deleted', async () => {
    const coordinator = await nodes.node('a');
    await coordinator.start(new RecordingListener());
    const stream = `${nodes.prefix}{log}:t:orders`;
    const { admin } = server.redis;
    const publish = () =>
      coordinator.log.publish({
        topic: 'orders',
        body: Buffer.from('data: x\n\n'),
        retention: { maxEntries: 9, ttl: 9_000 },
      });
    await admin.set(stream, 'of another program');
    expect(await codeOf(publish())).to.equal('UNAVAILABLE');
    await until(() => coordinator.status().impaired !== undefined, 'the key to be named');
    const detail = `the key ${stream} has another type; delete it`;
    expect(coordinator.status()).to.deep.equal({ reachable: true, impaired: [{ kind: 'key', detail }] });
    // No connection id is concerned.
    expect(coordinator.status('c1')).to.deep.equal({ reachable: true });
    await admin.del(stream);
    await until(() => coordinator.status().impaired === undefined, 'the key to be forgotten');
    expect((await publish()).cursor).to.not.equal(undefined);
  });

  it('what another program wrote in place of the memory of one client concerns that client alone', async () => {
    const coordinator = await nodes.node('a');
    await coordinator.start(new RecordingListener());
    await server.redis.admin.set(`${nodes.prefix}{log}:f:c1`, 'of another program');
    const [first, second] = await Promise.allSettled(['c1', 'c2'].map(id => coordinator.log.recall(id, 9_000)));
    expect(first).to.have.property('reason').that.includes({ code: 'UNAVAILABLE', noEffect: 'KEY_UNREADABLE' });
    expect(second).to.deep.equal({ status: 'fulfilled', value: new Map() });
  });

  it('keys that failing calls meet again and again are asked about once, and with each heartbeat', async () => {
    let asked = 0;
    const topics = new UnreadableTopics(
      scriptedNode((_script, request) => {
        asked += 1;
        const [topic] = request['topics'] as readonly { readonly stream: string }[];
        return { status: 'OK', unreadable: topic === undefined ? [] : [topic.stream] };
      }),
    );
    const failure = new SseError('UNAVAILABLE', 'x', { noEffect: 'KEY_UNREADABLE' });
    for (let n = 0; n < 5; n += 1) {
      topics.note(['orders'], failure);
      await turns(2);
    }
    expect(topics.keys).to.have.length(1);
    expect(asked).to.equal(1);
    await topics.check();
    expect(asked).to.equal(2);
  });

  const well = {
    gateway: { reachable: true, evictionPolicy: undefined },
    leases: { silent: false, troubles: [], obstacle: () => undefined },
    feed: { behind: false },
    unreadable: { keys: [] },
    subscriptionTrouble: () => undefined,
  };
  const cases: [string, object, object][] = [
    ['nothing', {}, { reachable: true }],
    [
      'no connection',
      { gateway: { reachable: false }, leases: { ...well.leases, obstacle: () => 'x' } },
      { reachable: false, detail: 'x' },
    ],
    ['silence', { leases: { silent: true, troubles: [], obstacle: () => 'x' } }, { reachable: false, detail: 'x' }],
    [
      'a lease that is not there',
      { leases: { ...well.leases, obstacle: () => 'x' } },
      { reachable: false, detail: 'x', trouble: 'lease' },
    ],
    [
      'subscriptions that are being restored',
      { subscriptionTrouble: () => 'x' },
      { reachable: false, detail: 'x', trouble: 'feed' },
    ],
    [
      'a feed that is behind',
      { feed: { behind: true } },
      { reachable: true, impaired: [{ kind: 'feed', detail: 'the node is reading what it missed of the log' }] },
    ],
    [
      'a key of the log that cannot be read',
      { unreadable: { keys: ['k'] } },
      { reachable: true, impaired: [{ kind: 'key', detail: 'the key k has another type; delete it' }] },
    ],
    [
      'a Redis that evicts',
      { gateway: { reachable: true, evictionPolicy: 'allkeys-lru' } },
      {
        reachable: true,
        impaired: [
          {
            kind: 'eviction',
            detail:
              'maxmemory-policy of Redis must be noeviction, got allkeys-lru: entries and routes may be lost; change it',
          },
        ],
      },
    ],
  ];
  for (const [what, state, status] of cases) {
    it(`${what} has its own status`, () => {
      expect(statusOf({ ...well, ...state })).to.deep.equal(status);
    });
  }
});
