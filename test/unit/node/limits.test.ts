import { expect } from 'chai';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import { SseError } from '../../../src/errors.js';
import { networkOf } from '../../../src/node/limits.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { TestNode } from '../../support/test-node.js';

describe('networkOf', () => {
  for (const [address, network] of [
    ['192.0.2.7', '192.0.2.7'],
    ['::ffff:192.0.2.7', '192.0.2.7'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:DB8:1:2::9', '2001:db8:1:2'],
    ['2001:0db8:0001:0002:ffff::1', '2001:db8:1:2'],
    ['2001:db8::1', '2001:db8:0:0'],
    ['::1', '0:0:0:0'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['', 'none'],
    ['unknown', 'none'],
    ['192.0.2.7, 10.0.0.1', 'none'],
  ] as const) {
    it(`of '${address}' is ${network}`, () => {
      expect(networkOf(address)).to.equal(network);
    });
  }
});

describe('limits per client', () => {
  let node: TestNode;
  let clock: SinonFakeTimers | undefined;

  const start = (limits: SseOptions['limits']): void => {
    node = new TestNode('a', new MemoryBus(), { options: { limits } });
  };
  /** The limit that refused, or `undefined`. */
  const refusal = async (id: string, options: Parameters<TestNode['connect']>[1]): Promise<string | undefined> => {
    try {
      await node.connect(id, options);
      return undefined;
    } catch (error) {
      return SseError.is(error) ? `${error.code} ${error.limit ?? ''}` : String(error);
    }
  };

  afterEach(async () => {
    clock?.restore();
    clock = undefined;
    await node.service.close();
  });

  it('count the connections of all nodes, and name the setting that refused', async () => {
    const bus = new MemoryBus();
    const limits = { maxConnectionsPerUser: 2, maxConnectionsPerAddress: 3, maxClusterConnections: 4 };
    const nodeOf = (id: string) => new TestNode(id, bus, { options: { limits } });
    const other = nodeOf('b');
    node = nodeOf('a');
    for (const each of [node, other]) await each.connect(each.service.nodeId, { user: 'ann', address: '192.0.2.1' });
    const ann = await refusal('t3', { user: 'ann', address: '192.0.2.2' });
    expect(ann).to.equal('CONNECTION_LIMIT limits.maxConnectionsPerUser');
    expect(await refusal('t1', { user: 'bob', address: '192.0.2.1' })).to.equal(undefined);
    const address = await refusal('t2', { user: 'bob', address: '192.0.2.1' });
    expect(address).to.equal('CONNECTION_LIMIT limits.maxConnectionsPerAddress');
    expect(await refusal('free', {})).to.equal(undefined);
    expect(await refusal('more', {})).to.equal('CONNECTION_LIMIT limits.maxClusterConnections');
    await other.service.close();
    expect(await refusal('more', {})).to.equal(undefined);
  });

  it('leave room for others when one user has all the connections it may have, and a takeover needs none', async () => {
    start({ maxConnectionsPerUser: 2 });
    const first = await node.connect('t1', { user: 'ann' });
    await node.connect('t2', { user: 'ann' });
    expect(await refusal('t3', { user: 'ann' })).to.equal('CONNECTION_LIMIT limits.maxConnectionsPerUser');
    expect(await refusal('t1', { user: 'ann' })).to.equal(undefined);
    expect(first.connection.signal.aborted).to.equal(true);
    expect(await refusal('t1', { user: 'bob' })).to.equal(undefined);
    expect(await refusal('free', {})).to.equal(undefined);
    await node.service.closeConnection('ann/t2');
    expect(await refusal('t3', { user: 'ann' })).to.equal(undefined);
  });

  it('count an IPv6 network as one address, and a takeover from elsewhere too', async () => {
    start({ maxConnectionsPerAddress: 2 });
    const setting = 'CONNECTION_LIMIT limits.maxConnectionsPerAddress';
    await node.connect('a', { address: '2001:db8:0:1::a' });
    await node.connect('b', { address: '2001:db8:0:1::b' });
    await node.connect('c', { address: '2001:db8:0:2::c' });
    expect(await refusal('d', { address: '2001:db8:0:1:ffff::d' })).to.equal(setting);
    expect(await refusal('c', { address: '2001:db8:0:1::c' })).to.equal(setting);
    expect(await refusal('a', { address: '2001:db8:0:1::c' })).to.equal(undefined);
  });

  it('count nothing for a connection that did not open', async () => {
    start({ maxConnectionsPerUser: 1 });
    const beforeOpen = () => Promise.reject(new SseError('FORBIDDEN', 'not now'));
    expect(await refusal('t1', { user: 'ann', beforeOpen })).to.equal('FORBIDDEN ');
    expect(await refusal('t1', { user: 'ann' })).to.equal(undefined);
  });

  it('send a client away that connects too often within a minute, by user before address', async () => {
    clock = useFakeTimers({ toFake: ['performance', 'Date'] });
    start({ maxConnectsPerMinute: 3 });
    const ann = { user: 'ann', address: '192.0.2.7' };
    for (const id of ['a', 'b', 'c']) expect(await refusal(id, ann)).to.equal(undefined);
    expect(await refusal('d', ann)).to.equal('RATE_LIMITED limits.maxConnectsPerMinute');
    expect(await refusal('d', { user: 'bob', address: '192.0.2.7' })).to.equal(undefined);
    expect(await refusal('e', { address: '192.0.2.7' })).to.equal(undefined);
    clock.tick(70_000);
    expect(await refusal('d', ann)).to.equal(undefined);
    expect(await refusal('f', ann)).to.equal('RATE_LIMITED limits.maxConnectsPerMinute');
    clock.tick(120_000);
    expect(await refusal('f', ann)).to.equal(undefined);
  });

  it('send a client away that connects too often while its node is cut off from the cluster', async () => {
    start({ maxConnectsPerMinute: 3 });
    await node.connect('first');
    node.bus.cut('a');
    for (const id of ['a', 'b', 'c']) expect(await refusal(id, { user: 'ann' })).to.equal(undefined);
    expect(await refusal('d', { user: 'ann' })).to.equal('RATE_LIMITED limits.maxConnectsPerMinute');
  });

  it('send a client away that has replayed too much, made-up cursors or not, and nobody else', async () => {
    start({ maxReplayBytesPerMinute: 1_000 });
    const { sink } = await node.connect('here', { topics: ['news'] });
    const [, lastEventId = ''] = /^id: (.*)$/m.exec(sink.text) ?? [];
    await node.service.publish('news', 'note', 'x'.repeat(900));
    const mallory = { topics: ['news'], lastEventId, address: '192.0.2.66' };
    expect(await refusal('m1', mallory)).to.equal(undefined);
    expect(await refusal('m2', mallory)).to.equal(undefined);
    expect(await refusal('m3', mallory)).to.equal('RATE_LIMITED limits.maxReplayBytesPerMinute');
    expect(await refusal('m3', { ...mallory, lastEventId: 'made.up-1' })).to.match(/^RATE_LIMITED/);
    expect(await refusal('m3', { topics: ['news'], address: '192.0.2.66' })).to.equal(undefined);
    expect(await refusal('h1', { ...mallory, address: '192.0.2.1' })).to.equal(undefined);
  });
});
