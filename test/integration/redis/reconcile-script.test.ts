import { expect } from 'chai';
import { reconcileScript } from '../../../src/cluster/redis/scripts.js';
import { withRegistry } from '../../support/redis/with-registry.js';

describe('reconcile.lua', () => {
  const { registry, partition, gateway, admin, resolve, reap } = withRegistry();
  const reconcile = (repairs = 100, count = 500, graceMs = 0) =>
    gateway().run(reconcileScript, { partition: partition(), count, repairs, graceMs });

  it('finds nothing where all is well', async () => {
    const { a, b } = registry();
    await a.register('c1', 't1');
    await b.register('c2', 't1');
    expect(await reconcile()).to.deep.equal({ status: 'OK', compared: 2, differences: [] });
  });

  it('removes the route of a lease that is gone, and no other', async () => {
    const { a } = registry();
    await a.register('c1', 't1');
    const { routes, index } = partition();
    await admin().hset(routes, 'c2', '424242|t9|5|99999999999999');
    await admin().zadd(index, '424242', 'c2');
    const { differences } = await reconcile();
    expect(differences).to.deep.equal([{ kind: 'orphan', name: 'c2', repaired: true }]);
    expect(await admin().hkeys(routes)).to.deep.equal(['c1']);
  });

  it('removes a route that ran out and one that is no route', async () => {
    const { a, bench } = registry();
    await a.register('c1', 't1');
    await admin().hset(partition().routes, 'c2', 'nonsense');
    await bench.advance(1e7);
    await a.lease();
    const { differences } = await reconcile(100, 500, 1e9);
    expect(differences.map(({ kind, name }) => `${kind} ${name}`).sort()).to.deep.equal(['orphan c1', 'orphan c2']);
    expect(await admin().exists(partition().routes)).to.equal(0);
  });

  it('removes a lease that cannot be read, so that its node opens another', async () => {
    const { a, b } = registry();
    await a.register('c1', 't1');
    const { leases } = partition();
    await admin().hset(leases, `g:${b.gen()}`, 'nonsense');
    const { differences } = await reconcile(0);
    expect(differences.map(({ kind, name, repaired }) => `${kind} ${name} ${repaired}`)).to.have.members([
      `half-lease g:${b.gen()} false`,
      'half-lease b~1 false',
    ]);
    await reconcile();
    expect(await admin().hexists(leases, `g:${b.gen()}`)).to.equal(0);
    expect(await b.lease()).to.include({ status: 'OPENED' });
    expect((await reconcile()).differences).to.deep.equal([]);
    expect(await resolve('c1')).to.include({ status: 'OK' });
  });

  it('corrects the index, whichever side is wrong', async () => {
    const { a, b } = registry();
    await a.register('c1', 't1');
    await b.register('c2', 't1');
    const { index } = partition();
    const right = await admin().zrange(index, '0', '-1', 'WITHSCORES');
    await admin().zrem(index, 'c1');
    await admin().zadd(index, '424242', 'c2');
    await admin().zadd(index, '424242', 'c3');
    const { differences } = await reconcile();
    expect(differences.map(({ kind, name }) => `${kind} ${name}`).sort()).to.deep.equal([
      'index c1',
      'index c2',
      'index c3',
    ]);
    expect(await admin().zrange(index, '0', '-1', 'WITHSCORES')).to.have.members(right);
  });

  it('reports a lease that was over for the grace, and leaves it to reap', async () => {
    const { a, b, bench } = registry();
    await b.register('c1', 't1');
    await bench.advance(20_000);
    await a.lease();
    expect((await reconcile(100, 500, 60_000)).differences).to.deep.equal([]);
    const dead = [{ kind: 'dead-lease', name: 'b~1', repaired: false }];
    expect((await reconcile()).differences).to.deep.equal(dead);
    expect((await reconcile()).differences).to.deep.equal(dead);
    expect(await reap()).to.include({ status: 'DONE', inc: 'b~1' });
    expect((await reconcile()).differences).to.deep.equal([]);
  });

  it('removes the name of a lease that is gone, so that its node opens another', async () => {
    const { a } = registry();
    await admin().hset(partition().leases, 'i:x~1', '424242');
    expect((await reconcile()).differences).to.deep.equal([{ kind: 'half-lease', name: 'x~1', repaired: true }]);
    expect(await admin().hexists(partition().leases, 'i:x~1')).to.equal(0);
    expect((await a.lease()).status).to.equal('RENEWED');
  });

  it('repairs no more than it may, and nothing when it only compares', async () => {
    const { index } = partition();
    await admin().zadd(index, '1', 'c1', '1', 'c2', '1', 'c3');
    expect((await reconcile(0)).differences).to.have.length(3);
    expect(await admin().zcard(index)).to.equal(3);
    const { differences } = await reconcile(2);
    expect(differences.filter(({ repaired }) => repaired)).to.have.length(2);
    expect(await admin().zcard(index)).to.equal(1);
    await reconcile();
  });

  it('compares no more than it is asked to', async () => {
    const { a } = registry();
    for (const conn of ['c1', 'c2', 'c3']) await a.register(conn, 't1');
    expect((await reconcile(0, 2)).compared).to.equal(2);
    expect((await resolve('c1', 'c2', 'c3')).status).to.equal('OK');
  });

  it('finds all routes of expired leases, among any number of others', async () => {
    const { bench } = registry();
    const { leases, routes, index } = partition();
    // The higher generation stands first.
    for (const gen of [1_000, 500]) {
      await admin().hset(leases, '#gen', gen - 1);
      const node = bench.node(`n~${gen}`);
      await node.lease();
      for (let n = 0; n < 50; n += 1) await node.register(`c${gen}-${n}`, 't1');
    }
    for (const gen of ['100', '700', '7000']) {
      await admin().hset(routes, 'left', `${gen}|t9|5|99999999999999`);
      await admin().zadd(index, gen, 'left');
      expect((await reconcile(100, 1)).differences).to.deep.equal([{ kind: 'orphan', name: 'left', repaired: true }]);
      await admin().zadd(index, gen, 'indexed');
      expect((await reconcile(100, 1)).differences).to.deep.equal([{ kind: 'index', name: 'indexed', repaired: true }]);
    }
    expect([await admin().hlen(routes), await admin().zcard(index)]).to.deep.equal([100, 100]);
  });

  it('compares no more of these routes than it is asked to', async () => {
    const { bench } = registry();
    const { leases, index } = partition();
    for (let gen = 10; gen < 100; gen += 10) {
      await admin().hset(leases, `g:${gen}`, `${bench.now + 60_000}|z~1`);
      await admin().zadd(index, gen - 5, `left${gen}`);
    }
    for (const count of [1, 4]) {
      expect((await reconcile(0, count)).differences).to.have.length(count);
    }
    expect((await reconcile()).differences).to.have.length(9);
  });

  it('reports each difference once', async () => {
    const { routes, index } = partition();
    await admin().hset(routes, 'c1', '424242|t9|5|99999999999999');
    await admin().zadd(index, '424242', 'c1');
    const difference = { kind: 'orphan', name: 'c1' };
    expect((await reconcile(0)).differences).to.deep.equal([{ ...difference, repaired: false }]);
    expect((await reconcile()).differences).to.deep.equal([{ ...difference, repaired: true }]);
  });
});
