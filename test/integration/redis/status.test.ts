import { expect } from 'chai';
import { statusOf } from '../../../src/cluster/redis/joined-node.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
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

  const well = {
    reachable: true,
    leases: { silent: false, troubles: [], obstacle: () => undefined },
    feed: { behind: false },
    evictionPolicy: undefined,
    subscriptionTrouble: () => undefined,
  };
  const cases: [string, object, object][] = [
    ['nothing', {}, { reachable: true }],
    [
      'no connection',
      { reachable: false, leases: { ...well.leases, obstacle: () => 'x' } },
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
      'a Redis that evicts',
      { evictionPolicy: 'allkeys-lru' },
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
