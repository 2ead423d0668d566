import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('a node that does not answer commands', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url }));
  const healthy = new RecordingListener();
  const hung = new RecordingListener();
  let a: RedisCoordinator;

  before(async () => {
    hung.onSubscribe = () => new Promise(() => undefined);
    const [asking, answering, silent] = await Promise.all(['a', 'b', 'c'].map(id => nodes.node(id)));
    if (asking === undefined || answering === undefined || silent === undefined) throw new Error('three nodes');
    a = asking;
    await Promise.all([a.start(new RecordingListener()), answering.start(healthy), silent.start(hung)]);
    await until(() => [a, answering, silent].every(node => node.status().reachable), 'the nodes');
    for (const [node, listener, id] of [
      [answering, healthy, 'mine'],
      [silent, hung, 'theirs'],
    ] as const) {
      listener.connections.set(id, 't1');
      await node.routes.register({ connectionId: id, token: 't1', onDuplicate: 'takeover' });
    }
  });

  after(() => nodes.dispose());

  it('concerns its connections alone: others are answered, and it is asked no more for a while', async () => {
    const { messenger } = a;
    const calls = Array.from({ length: 5 }, () => messenger.subscribe('theirs', 'news'));
    expect(await messenger.subscribe('mine', 'news')).to.deep.equal({ outcome: 'delivered' });
    for (const receipt of await Promise.all(calls)) expect(receipt).to.deep.equal({ outcome: 'unknown' });
    // It answers other commands, but nobody asks it before the cool-down is over.
    expect(await messenger.subscribe('theirs', 'news')).to.deep.equal({
      outcome: 'unavailable',
      code: 'NODE_UNREACHABLE',
    });
    expect(await messenger.close('theirs', 'kicked')).to.deep.equal({ closed: 0, missing: ['c'] });
    expect(await messenger.close('mine', 'kicked')).to.deep.equal({ closed: 1, missing: [] });
    expect(a.status()).to.include({ reachable: true });
    await until(async () => (await messenger.close('theirs', 'kicked')).closed === 1, 'the end of the cool-down');
  });
});
