import { expect } from 'chai';
import { NodeLeases } from '../../../../src/cluster/redis/leases.js';
import { RedisRoutes } from '../../../../src/cluster/redis/routes.js';
import type { RegisterRequest } from '../../../../src/cluster/redis/scripts.js';
import { UnreadableKeys } from '../../../../src/cluster/redis/unreadable.js';
import { SseError } from '../../../../src/errors.js';
import { codeOf } from '../../../support/code-of.js';
import { type Answers, scriptedNode } from '../../../support/redis/scripted-node.js';

const LEASE = { status: 'OPENED', lease: { gen: '1', epoch: 'e' }, owned: 0, nowMicros: 1_000, full: false, routes: 3 };
const C1 = { connectionId: 'c1', token: 't1', fencingToken: 7 };
const QUIET = {
  onOpened: () => undefined,
  onBeat: () => undefined,
  onTrouble: () => undefined,
  onRecovered: () => undefined,
};

/** The times of the tombstones that a call leaves. */
function tombstonesIn(request: Record<string, unknown>): number[] {
  const { registrations } = request as { registrations: readonly { readonly tombstoneMs: number }[] };
  return registrations.map(({ tombstoneMs }) => tombstoneMs);
}

describe('RedisRoutes', () => {
  const registryOf = async (answers: Answers): Promise<RedisRoutes> => {
    const node = scriptedNode((script, request) => (script === 'lease' ? LEASE : answers(script, request)));
    const leases = new NodeLeases(node, QUIET);
    await leases.beat();
    leases.stop();
    return new RedisRoutes(node, leases, new UnreadableKeys(node));
  };
  const unanswered = (): never => {
    throw new SseError('UNAVAILABLE', 'no answer');
  };

  it('does not report a connection as superseded whose lease is lost again and again', async () => {
    const node = scriptedNode(script => (script === 'lease' ? LEASE : { status: 'LOST' }));
    const leases = new NodeLeases(node, QUIET);
    const [partition] = node.gateway.keys.partitions;
    await leases.reopen(partition!);
    expect(await codeOf(new RedisRoutes(node, leases, new UnreadableKeys(node)).restore(C1))).to.equal('UNAVAILABLE');
  });

  it('registers and restores the user of a connection, and locates the route with it', async () => {
    const users: unknown[] = [];
    const registry = await registryOf((script, request) => {
      const inc = `b~${'0'.repeat(20)}`;
      if (script === 'resolve') {
        const route = { inc, tok: 't1', fencingToken: 7, user: 'ann' };
        return { status: 'OK', routes: [route] };
      }
      const { registrations } = request as Pick<RegisterRequest, 'registrations'>;
      users.push(...registrations.map(({ user }) => user));
      const answers = registrations.map(() => ({ result: 'NEW', fencingToken: 7, ownerInc: '', ownerTok: '' }));
      return { status: 'OK', now: 1, routes: 1, answers, numbers: [...answers.keys()] };
    });
    await registry.register({ ...C1, user: 'ann', onDuplicate: 'takeover' });
    await registry.restore({ ...C1, user: 'ann' });
    await registry.restore(C1);
    expect(users).to.deep.equal(['ann', 'ann', undefined]);
    const route = { connectionId: 'c1', nodeId: 'b', fencingToken: 7, user: 'ann' };
    expect(await registry.locate('c1')).to.deep.equal(route);
  });

  it('registers what comes in one turn with one call for each 32, and gives each its own answer', async () => {
    const calls: number[] = [];
    const registry = await registryOf((script, request) => {
      const { registrations } = request as Pick<RegisterRequest, 'registrations'>;
      calls.push(registrations.length);
      const answers = registrations.map(({ tok }) => ({ result: 'NEW', fencingToken: Number(tok), ownerInc: '' }));
      return script === 'register'
        ? { status: 'OK', now: 1, routes: 1, answers, numbers: [...answers.keys()] }
        : { status: 'OK', results: registrations.map(({ tok }) => (tok === '7' ? 'FOREIGN' : 'REMOVED')) };
    });
    const ids = Array.from({ length: 250 }, (_, n) => n);
    const results = await Promise.all(
      ids.map(n => registry.register({ connectionId: `c${n}`, token: `${n}`, onDuplicate: 'takeover' })),
    );
    expect(results).to.deep.equal(ids.map(n => ({ outcome: 'registered', fencingToken: n })));
    const removed = await Promise.all(ids.map(n => registry.unregister(`c${n}`, `${n}`)));
    expect(removed).to.deep.equal(ids.map(n => n !== 7));
    expect(calls).to.deep.equal([32, 32, 32, 32, 32, 32, 32, 26, 32, 32, 32, 32, 32, 32, 32, 26]);
  });

  it('leaves a partition the room that the others do not need, as they last answered', async () => {
    const rooms: unknown[] = [];
    const node = scriptedNode(
      (script, request) => {
        if (script === 'lease') return LEASE;
        if (script === 'unregister') return { status: 'OK', results: ['REMOVED'] };
        const { registrations } = request as Pick<RegisterRequest, 'registrations'>;
        rooms.push(registrations[0]?.more.room);
        const answers = [{ result: 'FULL', fencingToken: 0, ownerInc: '' }];
        return { status: 'OK', now: 1, routes: 5, answers, numbers: [0] };
      },
      undefined,
      2,
    );
    const leases = new NodeLeases(node, QUIET);
    await leases.beat();
    leases.stop();
    const registry = new RedisRoutes(node, leases, new UnreadableKeys(node));
    const [one = '', other = ''] = [0, 1].map(number =>
      ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'].find(id => node.gateway.keys.partitionOf(id).number === number),
    );
    const register = (connectionId: string) =>
      registry.register({ connectionId, token: 't', onDuplicate: 'takeover', maxConnections: 10 });
    expect(await register(one)).to.deep.equal({ outcome: 'full' });
    await register(other);
    await registry.unregister(other, 't');
    await register(one);
    expect(rooms).to.deep.equal([7, 5, 6]);
  });

  it('opens a lost lease once for all registrations of a call', async () => {
    let opened = 0;
    const node = scriptedNode((_, request) => {
      if (opened === 0) return { status: 'LOST' };
      const { registrations } = request as Pick<RegisterRequest, 'registrations'>;
      const answers = registrations.map(() => ({ result: 'NEW', fencingToken: 7, ownerInc: '', ownerTok: '' }));
      return { status: 'OK', now: 1, routes: 1, answers, numbers: [...answers.keys()] };
    });
    const leases = {
      leaseOf: () => LEASE.lease,
      epochOf: () => LEASE.lease.epoch,
      clockOf: () => 1,
      graceMs: 0,
      observeRoutes: () => undefined,
      removedRoutes: () => undefined,
      routesBeside: () => 0,
      reopen: async () => void (opened += 1),
    };
    const registry = new RedisRoutes(node, leases, new UnreadableKeys(node));
    await Promise.all(
      ['c1', 'c2', 'c3'].map(id => registry.register({ connectionId: id, token: id, onDuplicate: 'takeover' })),
    );
    expect(opened).to.equal(1);
  });

  it('leaves a tombstone with each try to release what may still arrive, and none after', async () => {
    const tombstones: unknown[] = [];
    let fails = true;
    const registry = await registryOf((script, request) => {
      if (script === 'register') return unanswered();
      tombstones.push(...tombstonesIn(request));
      return fails ? unanswered() : { status: 'OK', results: ['NONE'] };
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
    const registry = await registryOf((script, request) => {
      if (script === 'register') return unanswered();
      const marks = tombstonesIn(request);
      tombstones.push(...marks);
      return { status: 'OK', results: marks.map(() => 'NONE') };
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
