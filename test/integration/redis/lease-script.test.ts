import { expect } from 'chai';
import { LEASE_MS, type BenchNode } from '../../support/redis/bench-node.js';
import type { ScriptBench } from '../../support/redis/script-bench.js';
import { withRegistry } from '../../support/redis/with-registry.js';

describe('lease.lua', () => {
  const { registry, admin, partition, send } = withRegistry();
  let bench: ScriptBench;
  let a: BenchNode;
  let b: BenchNode;
  beforeEach(() => {
    ({ bench, a, b } = registry());
  });

  it('renews the lease the node believes in', async () => {
    expect(await a.lease()).to.include({ status: 'RENEWED', owned: 0, nowMicros: bench.now * 1_000 });
  });

  it('answers OPENED until the node has learnt its lease', async () => {
    const c = bench.node('c~1');
    const first = await c.lease({ forget: true });
    expect(await c.lease({ forget: true })).to.deep.equal(first);
    expect(first).to.include({ status: 'OPENED' });
  });

  it('refuses a node of another layout and changes nothing', async () => {
    const before = await bench.state();
    const reply = await bench.node('c~1').lease({ schema: '1/other' });
    expect(reply).to.deep.equal({ status: 'SCHEMA', stored: '1/test' });
    expect(await bench.state()).to.deep.equal(before);
  });

  it('answers OPENED after a flush, although the generation is the same (bug 3)', async () => {
    await a.register('x', 't1');
    await bench.lose(partition(), 'leases', 'routes', 'index');
    const gen = a.gen();
    expect(await a.lease()).to.include({ status: 'OPENED' });
    expect(a.gen()).to.equal(gen);
  });

  it('gives no node the routes whose leases alone were lost', async () => {
    await a.register('x', 't1');
    await bench.lose(partition(), 'leases');
    await bench.advance(1_000);
    await b.lease();
    expect(await send('x')).to.deep.equal({ status: 'PARTIAL' });
  });

  it('renews a lease that ran out but was not reaped', async () => {
    await a.register('x', 't1');
    await bench.advance(LEASE_MS);
    expect(await a.lease()).to.include({ status: 'RENEWED', owned: 1 });
    expect(await send('x')).to.include({ status: 'ROUTED' });
  });

  it('is renewed in a full Redis, and says that it is full', async () => {
    await a.register('x', 't1');
    await bench.advance(LEASE_MS - 1);
    await admin().config('SET', 'maxmemory', '1');
    try {
      expect(await a.lease()).to.include({ status: 'RENEWED', full: true });
      expect(await a.refresh([{ conn: 'x', tok: 't1' }])).to.deep.include({ states: ['mine'] });
    } finally {
      await admin().config('SET', 'maxmemory', '0');
    }
    await bench.advance(LEASE_MS - 1);
    expect(await b.register('x', 't2', { mode: 'nx' })).to.include({ status: 'EXISTS' });
    expect(await a.lease()).to.include({ status: 'RENEWED', full: false });
  });

  it('names a key of another type and changes nothing', async () => {
    const { leases, routes, index } = partition();
    for (const key of [leases, routes, index]) {
      const before = (await admin().exists(key)) === 1 ? await admin().dumpBuffer(key) : undefined;
      await admin().set(key, 'of another program');
      expect(await a.lease()).to.deep.equal({ status: 'UNREADABLE', key });
      expect(await admin().get(key)).to.equal('of another program');
      await admin().del(key);
      if (before != null) await admin().restore(key, 0, before);
    }
    expect(await a.lease()).to.include({ status: 'RENEWED' });
  });

  it('opens another lease where the counter or the lease of the node cannot be read', async () => {
    const { leases } = partition();
    await admin().hset(leases, '#gen', 'nonsense', 'i:a~1', 'nonsense');
    const reply = await a.lease();
    expect(reply).to.include({ status: 'OPENED' });
    expect(Number(a.gen())).to.be.greaterThan(0);
    expect(await a.register('x', 't1')).to.include({ status: 'NEW' });
  });

  it('gives all three keys a time to live', async () => {
    await a.register('x', 't1');
    await admin().persist(partition().routes);
    await admin().persist(partition().index);
    await a.lease();
    const { leases, routes, index } = partition();
    for (const key of [leases, routes, index]) {
      expect(await admin().pttl(key)).to.be.within(3_000_000, 3_600_000);
    }
  });
});
