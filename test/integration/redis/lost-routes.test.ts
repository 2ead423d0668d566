import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import type { Route } from '../../../src/contracts/cluster.js';
import { SseError } from '../../../src/errors.js';
import { PARTITION_TAGS } from '../../../src/cluster/redis/keys.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const CLIENTS = 300;
const LEASE_MS = 3_000;

interface Node {
  readonly coordinator: RedisCoordinator;
  readonly listener: RecordingListener;
}

describe('a Redis that lost routes', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }), { node: { heartbeat: 100, lease: LEASE_MS } });
  let a: Node;
  let b: Node;

  beforeEach(async () => {
    [a, b] = await Promise.all([start('a'), start('b')]);
  });
  afterEach(() => nodes.dispose());

  async function start(nodeId: string): Promise<Node> {
    const node = { coordinator: await nodes.node(nodeId), listener: new RecordingListener() };
    await node.coordinator.start(node.listener);
    return node;
  }

  async function connect({ coordinator, listener }: Node, connectionId: string, token: string): Promise<void> {
    listener.connections.set(connectionId, token);
    const result = await coordinator.routes.register({ connectionId, token, onDuplicate: 'takeover' });
    if (result.outcome !== 'registered') throw new Error(result.outcome);
    listener.fencingTokens.set(connectionId, result.fencingToken);
  }

  const ids = Array.from({ length: CLIENTS }, (_, n) => `c${n}`);
  const connectAll = (node: Node, token: string): Promise<unknown> =>
    Promise.all(ids.map(id => connect(node, id, `${token}${id}`)));
  const keys = (): string[] => ['l', 'r', 'x'].map(name => `${nodes.prefix}{${PARTITION_TAGS[0]}}:${name}`);

  /** What the next call of the result puts back, as a restart with a snapshot or a failover without the last writes does. */
  async function snapshot(): Promise<() => Promise<void>> {
    const { admin } = server.redis;
    const dumps = await Promise.all(keys().map(key => admin.dumpBuffer(key)));
    return async () => {
      for (const [at, key] of keys().entries()) await admin.restore(key, 0, dumps[at] ?? '', 'REPLACE');
      // The connections to it break.
      await admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    };
  }

  const send = ({ coordinator }: Node, connectionId: string) =>
    coordinator.messenger.send({
      connectionId,
      messageId: `m${Math.random()}`,
      frame: { bytes: Buffer.from('data: x\n\n') },
      ack: 'owner',
      deadline: 1_000,
    });

  it('closes none of the clients that moved to another node since its snapshot', async () => {
    await connectAll(a, 'a');
    const restore = await snapshot();
    await connectAll(b, 'b');
    await until(() => a.listener.connections.size === 0, 'the takeovers');
    await restore();
    await until(async () => {
      const counts = await a.coordinator.routes.nodes();
      return counts.find(({ nodeId }) => nodeId === 'b')?.connections === CLIENTS;
    }, 'the routes of the other node');
    await nodes.quiet();
    expect(b.listener.superseded).to.deep.equal([]);
    expect(b.listener.connections.size).to.equal(CLIENTS);
    expect(await send(a, 'c7')).to.deep.equal({ outcome: 'delivered', nodeId: 'b' });
  });

  it('closes the older stream where both nodes believe to own an id', async () => {
    const [id = ''] = ids;
    await connect(a, id, 'a1');
    const restore = await snapshot();
    await connect(b, id, 'b1');
    await until(() => a.listener.superseded.length === 1, 'the takeover');
    // The notification of the takeover was lost with a connection, say.
    a.listener.connections.set(id, 'a1');
    await restore();
    await until(() => a.listener.superseded.length === 2, 'the end of the older stream');
    await nodes.quiet();
    expect(b.listener.superseded).to.deep.equal([]);
    expect(await a.coordinator.routes.locate(id)).to.include({ nodeId: 'b' });
  });

  it('answers unavailable, and not not-connected, until the routes are written again', async () => {
    await connectAll(b, 'b');
    await server.redis.admin.flushall();
    const outcomes = new Set<string>();
    const wrong: unknown[] = [];
    for (let n = 0, delivered = 0; delivered < 50; n += 1) {
      const id = ids[n % CLIENTS] ?? '';
      const { outcome } = await send(a, id);
      outcomes.add(outcome);
      if (outcome === 'delivered') delivered += 1;
      const route = await a.coordinator.routes.locate(id).catch((error: unknown) => error);
      if (!SseError.is(route, 'UNAVAILABLE') && (route as Route | undefined)?.nodeId !== 'b') wrong.push(route);
    }
    expect([...outcomes].filter(outcome => outcome !== 'unavailable')).to.deep.equal(['delivered']);
    expect(wrong).to.deep.equal([]);
    expect((await send(a, 'nobody')).outcome).to.equal('unavailable');
    await until(async () => (await send(a, 'nobody')).outcome === 'not-connected', 'the end of a lease');
    expect(await a.coordinator.routes.locate('nobody')).to.equal(undefined);
  });

  it('that held nothing before says at once that a client is not connected', async () => {
    expect((await send(a, 'nobody')).outcome).to.equal('not-connected');
    expect(await a.coordinator.routes.locate('nobody')).to.equal(undefined);
  });
});
