import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { statusOf } from '../../../src/cluster/redis/joined-node.js';
import { UnreadableKeys } from '../../../src/cluster/redis/unreadable.js';
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

  /** That the status names the key and no other, until the key is deleted. */
  const expectNamed = async (coordinator: RedisCoordinator, key: string): Promise<void> => {
    await until(() => coordinator.status().impaired !== undefined, 'the key to be named');
    const detail = `the key ${key} has another type; delete it`;
    expect(coordinator.status()).to.deep.equal({ reachable: true, impaired: [{ kind: 'key', detail }] });
    // No connection opens without the cluster for it.
    expect(coordinator.status('c1')).to.deep.equal({ reachable: true });
    await server.redis.admin.del(key);
    await until(() => coordinator.status().impaired === undefined, 'the key to be forgotten');
  };

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
    await expectNamed(coordinator, stream);
    expect((await publish()).cursor).to.not.equal(undefined);
  });

  it('what another program wrote in place of the memory of one client concerns that client alone', async () => {
    const coordinator = await nodes.node('a');
    await coordinator.start(new RecordingListener());
    await server.redis.admin.set(`${nodes.prefix}{log}:f:c1`, 'of another program');
    const [first, second] = await Promise.allSettled(['c1', 'c2'].map(id => coordinator.log.recall(id, 9_000)));
    expect(first).to.have.property('reason').that.includes({ code: 'UNAVAILABLE', noEffect: 'KEY_UNREADABLE' });
    expect(second).to.deep.equal({ status: 'fulfilled', value: new Map() });
    await expectNamed(coordinator, `${nodes.prefix}{log}:f:c1`);
  });

  it('the same is named when a subscription meets it', async () => {
    const coordinator = await nodes.node('a');
    await coordinator.start(new RecordingListener());
    const followed = `${nodes.prefix}{log}:f:c1`;
    await server.redis.admin.set(followed, 'of another program');
    const change = { connectionId: 'c1', topic: 'news', change: 'add', limit: 5, ttl: 9_000 } as const;
    expect(await codeOf(coordinator.log.remember(change))).to.equal('UNAVAILABLE');
    await expectNamed(coordinator, followed);
  });

  // One partition has the counters in the call of the registration, several have them in a call of their own.
  for (const partitions of [1, 16]) {
    it(`a counter that another program wrote is named until it is deleted, with ${partitions} partitions`, async () => {
      const several = new RedisNodes(() => ({ url: server.redis.url, partitions }), { node: { heartbeat: 50 } });
      try {
        const coordinator = await several.node('a');
        const listener = new RecordingListener();
        await coordinator.start(listener);
        const enter = async (connectionId: string) => {
          const limits = [{ name: '@192.0.2.1', most: 9 }];
          const registration = { connectionId, token: connectionId, onDuplicate: 'takeover', limits } as const;
          const { outcome } = await coordinator.routes.register(registration);
          // Else a comparison removes the route, and the connection counts no more.
          listener.connections.set(connectionId, connectionId);
          return outcome;
        };
        for (const id of ['c1', 'c2', 'c3']) await enter(id);
        const [counter = ''] = await server.redis.admin.keys(`${several.prefix}*:c:@192.0.2.1`);
        await server.redis.admin.del(counter);
        await server.redis.admin.set(counter, 'of another program');
        expect(await codeOf(Promise.all(['d1', 'd2', 'd3'].map(enter)))).to.equal('UNAVAILABLE');
        await expectNamed(coordinator, counter);
        expect(await enter('d4')).to.equal('registered');
      } finally {
        await several.dispose();
      }
    });
  }

  it('keys that failing calls meet again and again are asked about once, and with each heartbeat', async () => {
    let asked = 0;
    const keys = new UnreadableKeys(
      scriptedNode((_script, request) => {
        asked += 1;
        const [, stream] = request['key'] as readonly string[];
        return { status: 'OK', unreadable: stream === undefined ? [] : [stream] };
      }),
    );
    const failure = new SseError('UNAVAILABLE', 'x', { noEffect: 'KEY_UNREADABLE' });
    for (let n = 0; n < 5; n += 1) {
      keys.noteTopics(['orders'], failure);
      await turns(2);
    }
    expect(keys.keys).to.have.length(1);
    expect(asked).to.equal(1);
    await keys.check();
    expect(asked).to.equal(2);
  });

  it('keys of a master that does not answer are asked about again, and hold up no others', async () => {
    let silent = true;
    const keys = new UnreadableKeys(
      scriptedNode((_script, request) => {
        const asked = request['key'] as readonly string[];
        if (silent && asked.includes('{2}:c:bob/')) throw new SseError('UNAVAILABLE', 'no answer');
        return { status: 'OK', unreadable: asked };
      }),
    );
    const failure = new SseError('UNAVAILABLE', 'x', { noEffect: 'KEY_UNREADABLE' });
    const counters = ['{1}:c:ann/', '{2}:c:bob/'];
    expect(await codeOf(keys.watchHashes(counters, Promise.reject(failure)))).to.equal('UNAVAILABLE');
    await turns(3);
    expect(keys.keys).to.deep.equal(['{1}:c:ann/']);
    silent = false;
    await keys.check();
    expect(keys.keys).to.deep.equal(counters);
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
