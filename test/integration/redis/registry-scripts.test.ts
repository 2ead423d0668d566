import { expect } from 'chai';
import { ownedScript } from '../../../src/cluster/redis/scripts.js';
import { type BenchNode, LEASE_MS, TTL_MS } from '../../support/redis/bench-node.js';
import type { ScriptBench } from '../../support/redis/script-bench.js';
import { withRegistry } from '../../support/redis/with-registry.js';
import { until } from '../../support/until.js';

describe('scripts of the registry', () => {
  const { registry, admin, count, gateway, partition, reap, resolve, send, sendRecorded, expire } = withRegistry();
  let bench: ScriptBench;
  let a: BenchNode;
  let b: BenchNode;
  beforeEach(() => {
    ({ bench, a, b } = registry());
  });

  describe('unregister', () => {
    it('removes the route of this registration', async () => {
      await a.register('x', 't1');
      expect(await a.unregister('x', 't1')).to.equal('REMOVED');
      expect(await a.unregister('x', 't1')).to.equal('NONE');
    });

    it("leaves another registration's route, of the same node and of another", async () => {
      await a.register('x', 't1');
      await a.register('x', 't2');
      expect(await a.unregister('x', 't1')).to.equal('FOREIGN');
      expect(await b.unregister('x', 't2')).to.equal('FOREIGN');
      expect(await sendRecorded('x')).to.include({ status: 'ROUTED', tok: 't2' });
    });

    it('removes an entry that only the index has', async () => {
      await a.register('x', 't1');
      await bench.lose(partition(), 'routes');
      expect(await a.unregister('x', 't1')).to.equal('NONE');
      expect((await count()).total).to.equal(0);
    });
  });

  describe('refresh', () => {
    it('distinguishes routes that are mine, missing, foreign or of another token, and renews only mine', async () => {
      await a.register('x', 't1');
      await b.register('y', 't2');
      await a.register('z', 't3');
      const before = await bench.state();
      await bench.advance(1_000);
      const connections = ['x t1', 'w t0', 'y t9', 'z t9'].map(pair => {
        const [conn = '', tok = ''] = pair.split(' ');
        return { conn, tok };
      });
      const states = ['mine', 'missing', 'foreign', 'other-token'];
      expect(await a.refresh(connections, { ttlMs: 0 })).to.deep.equal({
        status: 'OK',
        now: bench.now,
        states,
      });
      expect(await bench.state()).to.deep.equal(before);
      expect(await a.refresh(connections)).to.deep.include({ states });
      const { routes } = await bench.state();
      expect(routes['x']).to.include(`|${bench.now + TTL_MS}`);
      expect({ ...routes, x: '' }).to.deep.equal({ ...before.routes, x: '' });
    });

    it('extends the lease', async () => {
      await a.register('x', 't1');
      await bench.advance(LEASE_MS - 1);
      await a.refresh([]);
      await bench.advance(LEASE_MS - 1);
      expect((await count()).live).to.equal(1);
    });

    it('answers LOST when the lease is gone, LIMIT above 500', async () => {
      const many = Array.from({ length: 501 }, (_, n) => ({ conn: `c${n}`, tok: 't' }));
      expect(await a.refresh(many)).to.deep.equal({ status: 'LIMIT' });
      expect(await a.refresh(many.slice(1))).to.include({ status: 'OK' });
      expect(await bench.node('c~1').refresh([])).to.deep.equal({ status: 'LOST' });
    });
  });

  describe('reap', () => {
    it('leaves leases that hold', async () => {
      await a.register('x', 't1');
      await bench.advance(LEASE_MS - 1);
      expect(await reap()).to.deep.equal({ status: 'NONE' });
    });

    it('leaves a lease that ran out after the call was made: Redis may have stood still', async () => {
      const madeAt = bench.now + LEASE_MS - 1;
      await bench.advance(LEASE_MS);
      expect(await reap(9, undefined, madeAt)).to.deep.equal({ status: 'NONE' });
      expect(await reap(9, undefined, madeAt + 1)).to.include({ status: 'DONE' });
    });

    it('leaves a lease that holds, whatever the clock of the caller says', async () => {
      await bench.advance(LEASE_MS - 1);
      expect(await reap(9, undefined, bench.now + LEASE_MS)).to.deep.equal({ status: 'NONE' });
    });

    it('returns each route once, however many nodes call', async () => {
      for (let n = 0; n < 20; n += 1) await a.register(`c${n}`, `t${n}`);
      await bench.advance(LEASE_MS);
      await b.lease();
      const replies = await Promise.all(Array.from({ length: 12 }, () => reap(3)));
      const conns = replies.flatMap(reply => (reply.status === 'NONE' ? [] : reply.removed));
      expect(conns.map(({ conn }) => conn).sort()).to.deep.equal(Array.from({ length: 20 }, (_, n) => `c${n}`).sort());
      expect(conns.every(({ conn, tok }) => tok === conn.replace('c', 't'))).to.equal(true);
      expect(replies.filter(({ status }) => status === 'DONE')).to.have.length(1);
    });

    it('takes the lease from its node with the first batch', async () => {
      await a.register('x', 't1');
      await a.register('y', 't2');
      await bench.advance(LEASE_MS);
      await b.lease();
      await reap(1);
      expect(await a.register('z', 't3')).to.deep.equal({ status: 'LOST' });
    });

    it('leaves a new lease that its node has opened since (bug 1)', async () => {
      await a.register('x', 't1');
      await a.register('y', 't2');
      await bench.advance(LEASE_MS);
      await b.lease();
      await reap(1);
      await a.lease();
      await reap(1);
      expect(await a.register('z', 't3')).to.include({ status: 'NEW' });
    });

    it('releases a lease of its own, live or not, and only that', async () => {
      await a.register('x', 't1');
      await b.register('y', 't2');
      const removed = [{ conn: 'x', tok: 't1' }];
      expect(await reap(500, 'a~1')).to.deep.include({ status: 'DONE', inc: 'a~1', removed });
      expect(await reap(500, 'a~1')).to.deep.equal({ status: 'NONE' });
      expect(await send('x')).to.deep.equal({ status: 'NONE' });
      expect(await send('y')).to.include({ status: 'ROUTED' });
      expect(await a.register('x', 't3')).to.deep.equal({ status: 'LOST' });
    });
  });

  describe('expire', () => {
    it('removes routes that ran out and those without a lease, and rights the index', async () => {
      await a.register('old', 't1', { ttlMs: 1_000 });
      await a.register('new', 't2');
      await admin().hset(partition().routes, 'orphan', '99|t|1|9999999999999');
      await admin().zadd(partition().index, 99, 'orphan');
      await admin().zrem(partition().index, 'new');
      await bench.advance(1_000);
      const { status, removed } = await expire();
      expect(status).to.equal('WRAPPED');
      expect([...removed].sort()).to.deep.equal(['old', 'orphan']);
      expect((await bench.state()).index).to.deep.equal({ new: a.gen() });
    });

    it('leaves the routes of a dead node to reap', async () => {
      await a.register('x', 't1');
      await bench.advance(LEASE_MS);
      expect((await expire()).removed).to.deep.equal([]);
    });

    it('takes a partition that Redis keeps in one piece, however large', async () => {
      const conns = Array.from({ length: 9_000 }, (_, n) => `c${n}`);
      const { routes, index } = partition();
      await admin().config('SET', 'hash-max-ziplist-entries', '20000');
      try {
        await admin().hset(
          routes,
          conns.flatMap(conn => [conn, `${a.gen()}|t|5|9999999999999`]),
        );
        await admin().zadd(index, ...conns.flatMap(conn => [99, conn]));
        expect(await expire()).to.deep.equal({ status: 'WRAPPED', removed: [] });
        expect(await admin().zcount(index, a.gen(), a.gen())).to.equal(conns.length);
      } finally {
        await admin().config('SET', 'hash-max-ziplist-entries', '128');
      }
    });

    it('goes on where the last chunk ended, until it wraps', async () => {
      const conns = Array.from({ length: 600 }, (_, n) => `c${n}`);
      await Promise.all(conns.map(conn => a.register(conn, 't', { ttlMs: 1 })));
      await bench.advance(1);
      const removed: string[] = [];
      let chunks = 0;
      for (let wrapped = false; !wrapped; chunks += 1) {
        const chunk = await expire(100);
        removed.push(...chunk.removed);
        wrapped = chunk.status === 'WRAPPED';
      }
      expect(chunks).to.be.greaterThan(2);
      expect(removed.sort()).to.deep.equal(conns.sort());
    });
  });

  describe('send, resolve, count, owned', () => {
    it('go to the owner until its route or its lease is removed, though they ran out', async () => {
      await a.register('short', 't1', { ttlMs: 1_000 });
      await a.register('long', 't2');
      expect(await send('none')).to.deep.equal({ status: 'NONE' });
      await bench.advance(LEASE_MS);
      await b.lease();
      expect(await sendRecorded('short')).to.include({ status: 'ROUTED', inc: 'a~1', tok: 't1' });
      expect(await send('long')).to.include({ status: 'ROUTED', inc: 'a~1', receivers: 0 });
      expect(await resolve('long')).to.deep.nested.include({ 'routes[0].inc': 'a~1' });
      await reap();
      expect(await send('long')).to.deep.equal({ status: 'NONE' });
      expect(await resolve('long')).to.deep.equal({ status: 'OK', routes: [undefined] });
    });

    it('do not say that there is no route while routes that were lost may not be written again', async () => {
      await a.register('x', 't1');
      await bench.lose(partition(), 'leases', 'routes', 'index');
      expect(await send('x')).to.deep.equal({ status: 'PARTIAL' });
      expect(await resolve('x')).to.deep.equal({ status: 'PARTIAL', routes: [undefined] });
      await b.lease();
      expect(await send('x')).to.deep.equal({ status: 'PARTIAL' });
      await a.lease();
      await bench.advance(LEASE_MS - 1);
      expect(await send('x')).to.deep.equal({ status: 'PARTIAL' });
      await bench.advance(1);
      expect(await send('x')).to.deep.equal({ status: 'NONE' });
      expect(await resolve('x')).to.deep.equal({ status: 'OK', routes: [undefined] });
    });

    it('say at once that there is no route in a partition that held nothing before', async () => {
      await bench.lose(partition(), 'leases', 'routes', 'index');
      const c = bench.node('c~1');
      await c.lease();
      const epoch = c.believed()?.epoch ?? '';
      expect(await send('x', undefined, { epoch })).to.deep.equal({ status: 'NONE' });
    });

    it('send brings any bytes to the owner behind its token', async () => {
      const got: Buffer[] = [];
      const listener = admin().duplicate();
      listener.on('messageBuffer', (_channel, bytes) => got.push(bytes));
      await listener.subscribe(`${partition().channelPrefix}a~1`);
      await a.register('x', 't1');
      const payload = Buffer.from([0, 255, 13, 10, 0xc3, 0x28]);
      expect(await send('x', payload)).to.include({ receivers: 1 });
      await until(() => got.length > 0, 'the message');
      listener.disconnect();
      expect(got).to.deep.equal([Buffer.concat([Buffer.from('t1 '), payload])]);
    });

    it('send publishes a named message to another connection once the former one has said that it did not get it', async () => {
      const ear = admin().duplicate();
      await ear.subscribe(`${partition().channelPrefix}a~1`);
      const mark = `${partition().leases}:mark`;
      const named = { mark, named: '60000' };
      const asked = (inc: string, tok: string) => ({ mark, named: `60000 ${inc} ${tok}` });
      await a.register('x', 't1');
      await send('x');
      expect(await admin().exists(mark)).to.equal(0);
      expect(await send('x', undefined, named)).to.include({ status: 'ROUTED', inc: 'a~1' });
      expect(await send('x', undefined, named)).to.include({ status: 'ROUTED', inc: 'a~1' });
      await b.register('x', 't2');
      const former = { status: 'FORMER', inc: 'a~1', tok: 't1' };
      expect(await send('x', undefined, named)).to.deep.equal(former);
      expect(await send('x', undefined, asked('a~1', 't0'))).to.deep.equal(former);
      // The channel of b has no subscriber: b did not get it, and leaves no mark.
      expect(await send('x', undefined, asked('a~1', 't1'))).to.include({ status: 'ROUTED', receivers: 0 });
      expect(await admin().get(mark)).to.equal('a~1 t1');
      await send('x', undefined, { ...asked('a~1', 't1'), counts: false });
      expect(await admin().get(mark)).to.equal('b~1 t2');
      expect(await admin().pttl(mark)).to.be.within(50_000, 60_000);
      await admin().set(mark, 'of another program');
      expect(await send('x', undefined, named)).to.include({ status: 'ROUTED' });
      await admin().del(mark);
      ear.disconnect();
    });

    it('send joins the messages of one owner in one publication, in their order, and answers each', async () => {
      const got: [string, string][] = [];
      const ear = admin().duplicate();
      ear.on('message', (channel, text) => got.push([channel.slice(partition().channelPrefix.length), text]));
      await ear.subscribe(...['a~1', 'b~1'].map(inc => partition().channelPrefix + inc));
      const mark = (name: string): string => `${partition().leases}:${name}`;
      await a.register('x', 't1');
      await b.register('y', 'token2');
      await b.register('z', 't3');
      await admin().set(mark('z'), 'a~1 t0');
      await admin().hset(partition().routes, 'odd', '1|t9');
      const message = (conn: string, payload: string, named = false) => {
        return { conn, payload: Buffer.from(payload), ...(named && { named: '60000', mark: mark(conn) }) };
      };
      const messages = [
        message('y', 'first'),
        message('none', 'no route', true),
        message('x', 'alone'),
        message('z', 'former', true),
        message('odd', 'unreadable'),
        message('z', ''),
        message('y', 'third + 1', true),
      ];
      const toB = { status: 'ROUTED', inc: 'b~1', receivers: 1 };
      expect(await a.sendAll(messages)).to.deep.equal([
        toB,
        { status: 'NONE' },
        { status: 'ROUTED', inc: 'a~1', receivers: 1 },
        { status: 'FORMER', inc: 'a~1', tok: 't0' },
        { status: 'NONE' },
        toB,
        toB,
      ]);
      await until(() => got.length > 1, 'both publications');
      ear.disconnect();
      expect(got.sort()).to.deep.equal([
        ['a~1', 't1 alone'],
        ['b~1', '+ 12 token2 first3 t3 16 token2 third + 1'],
      ]);
      expect(await admin().mget(mark('y'), mark('none'), mark('z'))).to.deep.equal(['b~1 token2', null, 'a~1 t0']);
      await admin().del(mark('y'), mark('z'));
      await admin().hdel(partition().routes, 'odd');
    });

    it('resolve answers in the order of the question', async () => {
      const first = await a.register('x', 't1');
      await b.register('y', 't2', { ttlMs: 1_000 });
      await bench.advance(1_000);
      const reply = await resolve('y', 'none', 'x');
      if (reply.status !== 'OK' || first.status !== 'NEW') throw new Error(reply.status);
      const [y, none, x] = reply.routes;
      expect(y).to.include({ inc: 'b~1', tok: 't2' });
      expect(none).to.equal(undefined);
      expect(x).to.deep.equal({ inc: 'a~1', tok: 't1', fencingToken: first.fencingToken, user: '' });
      expect(await resolve(...Array<string>(501).fill('x'))).to.deep.equal({ status: 'LIMIT' });
      expect(await resolve()).to.deep.equal({ status: 'OK', routes: [] });
    });

    it('count sums the routes of live leases', async () => {
      await a.register('x', 't1');
      await a.register('y', 't2');
      await bench.advance(1_000);
      await b.lease();
      await b.register('z', 't3');
      expect(await count()).to.deep.include({ live: 3, total: 3 });
      await bench.advance(LEASE_MS - 1_000);
      expect(await count()).to.deep.equal({
        status: 'OK',
        live: 1,
        total: 3,
        nodes: [{ inc: 'b~1', routes: 1 }],
      });
      expect(await count(1)).to.deep.include({ live: 3 });
    });

    it('owned pages through the routes of a lease', async () => {
      for (const conn of ['x', 'y', 'z']) await a.register(conn, `t${conn}`);
      await b.register('w', 'tw');
      const page = (offset: number) =>
        gateway().run(ownedScript, { partition: partition(), gen: a.gen(), offset, limit: 2 });
      const pages = [await page(0), await page(2), await page(4)].map(({ connections }) =>
        connections.map(({ conn, tok }) => `${conn} ${tok}`),
      );
      expect(pages).to.deep.equal([['x tx', 'y ty'], ['z tz'], []]);
    });

    it('owned counts the routes of the lease, all routes, and all entries of the index', async () => {
      for (const conn of ['x', 'y']) await a.register(conn, 't1');
      await b.register('z', 't1');
      const { routes, index } = partition();
      const request = { partition: partition(), gen: a.gen(), offset: 0, limit: 0 };
      const counts = async () => {
        const { owned, all, indexed, connections } = await gateway().run(ownedScript, request);
        expect(connections).to.deep.equal([]);
        return [owned, all, indexed];
      };
      expect(await counts()).to.deep.equal([2, 3, 3]);
      const route = (await admin().hget(routes, 'z')) ?? '';
      await admin().hdel(routes, 'z');
      expect(await counts()).to.deep.equal([2, 2, 3]);
      await admin().hset(routes, 'z', route);
      await admin().zrem(index, 'x');
      expect(await counts()).to.deep.equal([1, 3, 2]);
      await admin().hdel(routes, 'x');
      expect(await counts()).to.deep.equal([1, 2, 2]);
    });
  });
});
