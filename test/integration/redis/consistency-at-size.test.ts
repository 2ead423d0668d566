import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { PARTITION_TAGS } from '../../../src/cluster/redis/keys.js';
import type { ReconcileReport, ReconcileRequest } from '../../../src/contracts/self-check.js';
import { amount } from '../../support/extent.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { connectTo, inBatches, trafficOf } from '../../support/redis/redis-costs.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';

const CHECK: ReconcileRequest = {
  scope: 'node',
  maxRepairs: 1_000,
  settle: 5,
  sample: 200,
  notify: false,
};
const FAR = '99999999999999';
const STRETCH = 500;
const MANY = amount(1_500, 3_000);
/** The newest, the oldest, and where two stretches meet. */
const PLACES = [MANY - 1, 0, STRETCH, STRETCH - 1];

describe('a node that is compared with Redis, however many connections it has', () => {
  const server = withRedis();
  // No heartbeat comes in between: the scripts that are counted are those of the checks.
  const nodes = new RedisNodes(() => ({ url: server.redis.url, partitions }), {
    node: { heartbeat: 60_000, lease: 180_000 },
  });
  let partitions: number;
  let coordinator: RedisCoordinator;
  let listener: RecordingListener;
  /** The generation of the node. */
  let mine: string;

  const key = (name: string): string => `${nodes.prefix}{${PARTITION_TAGS[0]}}:${name}`;
  const admin = () => server.redis.admin;
  const check = (more: Partial<ReconcileRequest> = {}): Promise<ReconcileReport> =>
    coordinator.selfCheck.reconcile({ ...CHECK, ...more });

  async function routeOf(id: string): Promise<string> {
    return (await admin().hget(key('r'), id)) ?? '';
  }

  /** Starts a node with so many, and lets its first check, which compares everything, go by. */
  async function connect(connections: number): Promise<void> {
    coordinator = await nodes.node('a');
    listener = new RecordingListener();
    await coordinator.start(listener);
    await inBatches(connections, n => connectTo(coordinator, listener, `c${n}`, `t${n}`));
    [mine = ''] = (await routeOf('c0')).split('|');
    await nodes.quiet();
    await allIsWell();
  }

  /** All routes are compared, and none is wrong. */
  async function allIsWell(): Promise<void> {
    const whole = { checked: 2 * listener.connections.size, found: {}, unknown: undefined };
    expect({ unknown: undefined, ...(await check()) }).to.deep.include(whole);
  }

  /** What the first of at most so many checks finds and repairs that finds anything. */
  async function foundWithin(checks: number): Promise<ReconcileReport['found']> {
    for (let n = 0; n < checks; n += 1) {
      const { found, repairs } = await check();
      expect(repairs).to.deep.equal(found);
      if (Object.keys(found).length > 0) return found;
    }
    return {};
  }

  /** What the next check repairs. On a busy machine the node may have done it by itself: then it is planted again. */
  async function repairsOf(plant: () => Promise<unknown>): Promise<ReconcileReport['repairs']> {
    for (let times = 0; times < 3; times += 1) {
      await plant();
      const { repairs } = await check();
      if (Object.keys(repairs).length > 0) return repairs;
    }
    return {};
  }

  /** Starts one. Returns its generation. */
  async function anotherNode(): Promise<string> {
    const other = await nodes.node('b');
    await other.start(new RecordingListener());
    await other.routes.register({ connectionId: 'theirs', token: 't', onDuplicate: 'takeover' });
    return (await routeOf('theirs')).split('|')[0] ?? '';
  }

  async function loseRoute(id: string): Promise<void> {
    await admin().multi().hdel(key('r'), id).zrem(key('x'), id).exec();
  }

  async function plantGhost(id: string): Promise<void> {
    await admin().multi().hset(key('r'), id, `${mine}|t|5|${FAR}`).zadd(key('x'), mine, id).exec();
  }

  async function plantToken(id: string): Promise<void> {
    await admin().hset(key('r'), id, (await routeOf(id)).replace(/\|t\d+\|/, '|t|'));
  }

  /** Script calls of a check that finds nothing: the fewest of three, since what a node does by itself may come between. */
  async function scriptsOfCheck(checked?: number): Promise<number> {
    const counts: number[] = [];
    for (let times = 0; times < 3; times += 1) {
      let report: ReconcileReport | undefined;
      const { scripts } = await trafficOf(server.redis, async () => {
        report = await check();
      });
      counts.push(scripts);
      expect(report).to.deep.include({ found: {}, ...(checked !== undefined && { checked }) });
    }
    return Math.min(...counts);
  }
  async function makesTwoCallsAtRest(): Promise<void> {
    expect(await scriptsOfCheck(2 * Math.min(listener.connections.size, STRETCH))).to.equal(2);
  }

  describe(`with ${MANY} connections`, () => {
    let theirs: string;

    // The tests share the node: each leaves no inconsistency.
    before(async () => {
      partitions = 1;
      await connect(MANY);
      theirs = await anotherNode();
    });
    after(() => nodes.dispose());

    it('makes two script calls at rest', makesTwoCallsAtRest);

    it('finds a wrong token, wherever it is, when all stretches were looked at', async () => {
      for (const place of PLACES) {
        await plantToken(`c${place}`);
        expect(await foundWithin(MANY / STRETCH), `c${place}`).to.deep.equal({ 'wrong-token': 1 });
        await allIsWell();
      }
    });

    it('finds a ghost that stands for a missing route when all stretches were looked at', async () => {
      for (const place of PLACES) {
        await loseRoute(`c${place}`);
        await plantGhost(`ghost${place}`);
        expect(await foundWithin(MANY / STRETCH), `c${place}`).to.deep.equal({
          'missing-route': 1,
          ghost: 1,
        });
        await allIsWell();
      }
    });

    it('goes on comparing everything while a found inconsistency lasts', async () => {
      await plantToken('c0');
      const look = { maxRepairs: 0 };
      let checks = 0;
      while (Object.keys((await check(look)).found).length === 0) checks += 1;
      expect(checks).to.be.lessThan(MANY / STRETCH);
      for (let times = 0; times < MANY / STRETCH; times += 1) {
        const { checked, found } = await check(look);
        expect([checked, found]).to.deep.equal([2 * listener.connections.size, { 'wrong-token': 1 }]);
      }
      expect((await check()).repairs).to.deep.equal({ 'wrong-token': 1 });
      await allIsWell();
    });

    it('compares everything after a check that failed', async () => {
      expect((await check()).checked).to.equal(2 * STRETCH);
      await admin().rename(key('x'), key('away'));
      await admin().set(key('x'), 'no index');
      expect((await check()).unknown).to.be.a('string');
      await admin().rename(key('away'), key('x'));
      await allIsWell();
      expect((await check()).checked).to.equal(2 * STRETCH);
    });

    // From here on connections are superseded, so that the last stretch is shorter.
    it('finds a missing, foreign or surplus route at the next check', async () => {
      const planted: readonly (readonly [kind: string, plant: () => Promise<unknown>])[] = [
        ['missing-route', () => loseRoute('c1')],
        ['missing-route', () => admin().hdel(key('r'), 'c2')],
        ['ghost', () => plantGhost('ghost')],
        ['index', () => admin().zadd(key('x'), mine, 'indexed')],
        [
          'foreign-route',
          () => admin().multi().hset(key('r'), 'c3', `${theirs}|t2|5|${FAR}`).zadd(key('x'), theirs, 'c3').exec(),
        ],
      ];
      for (const [kind, plant] of planted) {
        expect(await repairsOf(plant), kind).to.deep.equal({ [kind]: 1 });
        await allIsWell();
        expect((await check()).checked, kind).to.equal(2 * STRETCH);
      }
      expect(listener.superseded).to.deep.equal([{ connectionId: 'c3', token: 't3' }]);
    });

    it('finds a foreign route that the index does not know when all stretches were looked at', async () => {
      for (const place of PLACES) {
        await admin().hset(key('r'), `c${place}`, `${theirs}|t${place}|5|${FAR}`);
        expect(await foundWithin(MANY / STRETCH), `c${place}`).to.deep.equal({ 'foreign-route': 1 });
        await admin().zadd(key('x'), theirs, `c${place}`);
        await allIsWell();
      }
    });

    // The last: the index stays without the entry.
    it('finds an entry of the index that stands for another when all stretches were looked at', async () => {
      await admin().multi().zrem(key('x'), 'c7').zadd(key('x'), mine, 'indexed').exec();
      expect(await foundWithin(MANY / STRETCH)).to.deep.equal({ index: 1 });
    });
  });

  describe('with few connections, or several partitions', () => {
    beforeEach(() => {
      partitions = 1;
    });
    afterEach(() => nodes.dispose());

    it('makes two script calls at rest', async () => {
      await connect(10);
      await makesTwoCallsAtRest();
    });

    it('makes two script calls for each partition, and looks at the next stretch of each', async () => {
      partitions = amount(2, 4);
      await connect(MANY);
      expect(await scriptsOfCheck()).to.equal(2 * partitions);
      const [first = '', ...others] = await admin().hkeys(key('r'));
      const last = others.at(-1) ?? '';
      expect(others.length).to.be.within(STRETCH, 2 * STRETCH - 1);
      for (const id of [first, last]) {
        await plantToken(id);
        expect(await foundWithin(2), id).to.deep.equal({ 'wrong-token': 1 });
        await allIsWell();
      }
    });

    it(`finds both inconsistencies at the next check among ${STRETCH} connections`, async () => {
      await connect(STRETCH);
      await plantToken('c3');
      expect(await foundWithin(1)).to.deep.equal({ 'wrong-token': 1 });
      await allIsWell();
      await loseRoute('c4');
      await plantGhost('ghost');
      expect(await foundWithin(1)).to.deep.equal({ 'missing-route': 1, ghost: 1 });
    });
  });
});
