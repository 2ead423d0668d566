import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { PARTITION_TAGS } from '../../../src/cluster/redis/keys.js';
import type { ReconcileRequest } from '../../../src/contracts/self-check.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';

const CHECK: ReconcileRequest = {
  scope: 'node',
  maxRepairs: 1_000,
  settle: 5,
  sample: 200,
  notify: true,
};
const IDS = Array.from({ length: 30 }, (_, n) => `c${n}`);
const STEPS_PER_ID = 20;
const KINDS = ['connect', 'connect', 'connect', 'end', 'lose', 'wrong', 'ghost'] as const;

interface Node {
  readonly id: string;
  readonly coordinator: RedisCoordinator;
  readonly listener: RecordingListener;
}

describe('checks while clients come, move and go, and routes are damaged', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }), {
    connection: { takeoverLimit: 1_000 },
  });

  afterEach(() => nodes.dispose());

  it('repair everything and close no connection that owns its id', async () => {
    const seed = Math.floor(Math.random() * 2 ** 31);
    const random = randomNumbers(seed);
    const cluster = [await start('a'), await start('b')];
    const key = (name: string): string => `${nodes.prefix}{${PARTITION_TAGS[0]}}:${name}`;
    const rightful = new Map<string, { readonly node: Node; readonly token: string }>();
    let tokens = 0;

    async function step(id: string): Promise<void> {
      const { admin } = server.redis;
      const node = cluster[random(cluster.length)];
      if (node === undefined) return;
      const owner = rightful.get(id);
      tokens += 1;
      const token = `t${tokens}`;
      switch (KINDS[random(KINDS.length)] ?? 'connect') {
        case 'connect':
          node.listener.opening.add(`${id} ${token}`);
          await node.coordinator.routes.register({
            connectionId: id,
            token,
            onDuplicate: 'takeover',
          });
          node.listener.opening.delete(`${id} ${token}`);
          // The client has left its former stream, whether or not that node was notified.
          owner?.node.listener.connections.delete(id);
          node.listener.connections.set(id, token);
          rightful.set(id, { node, token });
          await owner?.node.coordinator.routes.unregister(id, owner.token);
          break;
        case 'end':
          if (owner === undefined) return;
          owner.node.listener.connections.delete(id);
          rightful.delete(id);
          await owner.node.coordinator.routes.unregister(id, owner.token);
          break;
        case 'lose':
          await admin.hdel(key('r'), id);
          if (random(2) === 0) await admin.zrem(key('x'), id);
          break;
        case 'wrong': {
          const route = await admin.hget(key('r'), id);
          if (route !== null) await admin.hset(key('r'), id, route.replace(/\|t\d+\|/, '|t0|'));
          break;
        }
        case 'ghost': {
          const route = (await admin.hvals(key('r')))[0];
          // Only on an id without a connection: a live route of another node would be a takeover.
          if (route === undefined || owner !== undefined) return;
          await admin.hset(key('r'), id, route.replace(/\|t\d+\|/, '|t0|'));
          await admin.zadd(key('x'), route.split('|')[0] ?? '', id);
          break;
        }
      }
    }

    let over = false;
    const checking = cluster.map(async ({ coordinator }) => {
      let repairs = 0;
      while (!over) repairs += sum((await coordinator.selfCheck.reconcile(CHECK)).repairs);
      return repairs;
    });
    await Promise.all(
      IDS.map(async id => {
        for (let n = 0; n < STEPS_PER_ID; n += 1) await step(id);
      }),
    );
    over = true;
    const [repairs] = await Promise.all([Promise.all(checking)]);
    for (let round = 0; round < 2; round += 1) {
      for (const { coordinator } of cluster) await coordinator.selfCheck.reconcile(CHECK);
    }

    for (const { id: nodeId, listener, coordinator } of cluster) {
      const mine = [...rightful].filter(([, { node }]) => node.id === nodeId);
      const expected = Object.fromEntries(mine.map(([id, { token }]) => [id, token]));
      expect(Object.fromEntries(listener.connections), `${nodeId}, seed ${seed}`).to.deep.equal(expected);
      expect((await coordinator.selfCheck.reconcile({ ...CHECK, maxRepairs: 0 })).findings).to.deep.equal([]);
      for (const [id] of mine) {
        expect(await coordinator.routes.locate(id), `${id}, seed ${seed}`).to.include({ nodeId });
      }
    }
    expect(await cluster[0]?.coordinator.routes.count()).to.equal(rightful.size);
    expect(repairs.reduce((all, some) => all + some, 0)).to.be.greaterThan(0);
  });

  async function start(id: string): Promise<Node> {
    const coordinator = await nodes.node(id);
    const listener = new RecordingListener();
    await coordinator.start(listener);
    return { id, coordinator, listener };
  }
});

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((all, some) => all + some, 0);
}

/** Whole numbers below a bound, the same for the same seed (Park and Miller). */
function randomNumbers(seed: number): (bound: number) => number {
  let state = (seed % 2147483646) + 1;
  return bound => {
    state = (state * 48271) % 2147483647;
    return state % bound;
  };
}
