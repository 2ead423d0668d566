import { expect } from 'chai';
import { NodeLeases } from '../../../../src/cluster/redis/leases.js';
import { RedisRoutes } from '../../../../src/cluster/redis/routes.js';
import { SseError } from '../../../../src/errors.js';
import { codeOf } from '../../../support/code-of.js';
import { type Answers, scriptedNode } from '../../../support/redis/scripted-node.js';

const LEASE = { status: 'OPENED', lease: { gen: '1', epoch: 'e' }, owned: 0, nowMicros: 1_000 };
const C1 = { connectionId: 'c1', token: 't1' };
const QUIET = {
  onOpened: () => undefined,
  onBeat: () => undefined,
  onSilent: () => undefined,
  onRecovered: () => undefined,
};

describe('RedisRoutes', () => {
  const registryOf = async (answers: Answers): Promise<RedisRoutes> => {
    const node = scriptedNode((script, request) => (script === 'lease' ? LEASE : answers(script, request)));
    const leases = new NodeLeases(node, QUIET);
    await leases.beat();
    leases.stop();
    return new RedisRoutes(node, leases);
  };
  const unanswered = (): never => {
    throw new SseError('UNAVAILABLE', 'no answer');
  };

  it('does not report a connection as superseded whose lease is lost again and again', async () => {
    const node = scriptedNode(script => (script === 'lease' ? LEASE : { status: 'LOST' }));
    const leases = new NodeLeases(node, QUIET);
    const [partition] = node.gateway.keys.partitions;
    await leases.reopen(partition!);
    expect(await codeOf(new RedisRoutes(node, leases).restore(C1))).to.equal('UNAVAILABLE');
  });

  it('registers and restores the user of a connection, and locates the route with it', async () => {
    const users: unknown[] = [];
    const registry = await registryOf((script, { user }) => {
      const inc = `b~${'0'.repeat(20)}`;
      if (script === 'resolve') {
        const route = { live: true, inc, tok: 't1', fencingToken: 7, user: 'ann' };
        return { status: 'OK', routes: [route] };
      }
      users.push(user);
      return { status: 'NEW', fencingToken: 7, ownerInc: '', ownerTok: '', now: 1 };
    });
    await registry.register({ ...C1, user: 'ann', onDuplicate: 'takeover' });
    await registry.restore({ ...C1, user: 'ann' });
    await registry.restore(C1);
    expect(users).to.deep.equal(['ann', 'ann', undefined]);
    const route = { connectionId: 'c1', nodeId: 'b', fencingToken: 7, user: 'ann' };
    expect(await registry.locate('c1')).to.deep.equal(route);
  });

  it('leaves a tombstone with each try to release what may still arrive, and none after', async () => {
    const tombstones: unknown[] = [];
    let fails = true;
    const registry = await registryOf((script, { tombstoneMs }) => {
      if (script === 'register') return unanswered();
      tombstones.push(tombstoneMs);
      return fails ? unanswered() : { status: 'NONE' };
    });
    await codeOf(registry.register({ ...C1, onDuplicate: 'takeover' }));
    expect(await codeOf(registry.unregister('c1', 't1'))).to.equal('UNAVAILABLE');
    fails = false;
    await registry.unregister('c1', 't1');
    await registry.unregister('c1', 't1');
    expect(tombstones).to.deep.equal([60_000, 60_000, 0]);
  });

  it('forgets registrations without an answer that cannot arrive any more', async () => {
    const tombstones: unknown[] = [];
    const registry = await registryOf((script, { tombstoneMs }) => {
      if (script === 'register') return unanswered();
      tombstones.push(tombstoneMs);
      return { status: 'NONE' };
    });
    const { now } = performance;
    try {
      await codeOf(registry.register({ ...C1, onDuplicate: 'takeover' }));
      performance.now = () => now.call(performance) + 60_001;
      await codeOf(registry.register({ connectionId: 'c2', token: 't2', onDuplicate: 'takeover' }));
      expect(registry.doubtful).to.equal(1);
      await registry.unregister('c1', 't1');
      await registry.unregister('c2', 't2');
      expect(tombstones).to.deep.equal([0, 60_000]);
    } finally {
      performance.now = now;
    }
  });
});
