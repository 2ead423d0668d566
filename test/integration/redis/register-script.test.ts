import { expect } from 'chai';
import { LEASE_MS, TTL_MS, type BenchNode } from '../../support/redis/bench-node.js';
import type { ScriptBench } from '../../support/redis/script-bench.js';
import { withRegistry } from '../../support/redis/with-registry.js';
import { until } from '../../support/until.js';

describe('register.lua', () => {
  const { registry, admin, partition, reap, resolve, send, sendRecorded } = withRegistry();
  let bench: ScriptBench;
  let a: BenchNode;
  let b: BenchNode;
  beforeEach(() => {
    ({ bench, a, b } = registry());
  });

  it('makes the node the owner, with a fencing token that the clock gives', async () => {
    const reply = await a.register('x', 't1');
    expect(reply).to.deep.include({ status: 'NEW', fencingToken: bench.now * 1000, ownerInc: '' });
    const { routes, index } = await bench.state();
    expect(routes).to.deep.equal({
      x: `${a.gen()}|t1|${bench.now * 1000}|${bench.now + TTL_MS}`,
    });
    expect(index).to.deep.equal({ x: a.gen() });
  });

  it('gives new keys a time to live', async () => {
    await a.register('x', 't1');
    for (const key of [partition().routes, partition().index]) {
      expect(await admin().pttl(key)).to.be.greaterThan(0);
    }
  });

  it('answers a repeated registration with the same fencing token and a new time to live', async () => {
    const first = await a.register('x', 't1');
    await bench.advance(1_000);
    const second = await a.register('x', 't1');
    if (first.status !== 'NEW' || second.status !== 'DUP') throw new Error(second.status);
    expect(second.fencingToken).to.equal(first.fencingToken);
    expect((await bench.state()).routes['x']).to.include(`|${bench.now + TTL_MS}`);
  });

  const noticesToA = async (work: () => Promise<unknown>): Promise<unknown[]> => {
    const notices: string[] = [];
    const listener = admin().duplicate();
    listener.on('message', (_channel, text) => notices.push(text));
    await listener.subscribe(`${partition().channelPrefix}a~1`);
    await work();
    await until(() => notices.length > 0, 'the frame');
    listener.disconnect();
    return notices.map(text => JSON.parse(text) as unknown);
  };

  it('supersedes a live owner, notifies it, and raises the fencing token although the clock stands', async () => {
    const notices = await noticesToA(async () => {
      await a.register('x', 't1');
      const reply = await b.register('x', 't2');
      expect(reply).to.include({ status: 'TOOK', ownerInc: 'a~1', ownerTok: 't1' });
      expect(reply).to.include({ fencingToken: bench.now * 1000 + 1 });
    });
    expect(notices).to.deep.equal([{ v: 1, t: 'superseded', c: 'x', k: 't1', f: String(bench.now * 1000 + 1) }]);
  });

  it('notifies a former owner whose lease ran out, since it may wake up and renew it', async () => {
    const notices = await noticesToA(async () => {
      await a.register('x', 't1');
      await bench.advance(LEASE_MS);
      await b.lease();
      expect(await b.register('x', 't2')).to.include({ status: 'NEW', ownerInc: 'a~1' });
    });
    expect(notices).to.have.length(1);
    expect(notices[0]).to.include({ t: 'superseded', c: 'x', k: 't1' });
  });

  it('takes the same token on another node for another connection', async () => {
    await a.register('x', 't1');
    expect(await b.register('x', 't1')).to.include({ status: 'TOOK', ownerInc: 'a~1', ownerTok: 't1' });
  });

  it('does not let the late retry of a superseded registration win the id back', async () => {
    await a.register('x', 't1');
    for (const [node, tok] of [
      [b, 't2'],
      [a, 't3'],
      [b, 't4'],
    ] as const) {
      await node.register('x', tok);
    }
    expect(await a.register('x', 't1')).to.include({ status: 'STALE', ownerTok: 't4' });
    expect(await b.register('x', 't2')).to.include({ status: 'STALE', ownerTok: 't4' });
  });

  it('remembers three superseded registrations and no more', async () => {
    for (let n = 0; n < 6; n += 1) await [a, b][n % 2]!.register('x', `t${n}`, { takeoverLimit: 9 });
    const route = (await bench.state()).routes['x'] ?? '';
    expect(route.split('|')[4]).to.equal('a~1/t4,b~1/t3,a~1/t2');
  });

  it('moves its own route although the clock was set back', async () => {
    await a.register('x', 't1');
    await a.register('y', 't2');
    await bench.advance(LEASE_MS);
    await b.lease();
    await reap(1);
    await a.lease();
    await bench.advance(-1);
    const [conn = '', tok = ''] = (await bench.state()).routes['x'] === undefined ? ['y', 't2'] : ['x', 't1'];
    expect(await a.register(conn, tok, { mode: 'restore' })).to.include({ status: 'NEW' });
  });

  it('refuses with nx while the owner lives, and registers when it does not', async () => {
    await a.register('x', 't1');
    expect(await b.register('x', 't2', { mode: 'nx' })).to.include({
      status: 'EXISTS',
      ownerInc: 'a~1',
    });
    await bench.advance(LEASE_MS);
    await b.lease();
    expect(await b.register('x', 't2', { mode: 'nx' })).to.include({ status: 'NEW' });
  });

  it('counts a route that ran out as no owner', async () => {
    await a.register('x', 't1');
    for (let passed = 0; passed < TTL_MS; passed += 10_000) {
      await bench.advance(10_000);
      await a.lease();
      await b.lease();
    }
    expect(await b.register('x', 't2', { mode: 'nx' })).to.include({ status: 'NEW' });
  });

  it('supersedes with restore only an owner whose fencing token is smaller', async () => {
    await a.register('x', 't1');
    const now = bench.now * 1000;
    for (const fencingToken of [now - 1, now]) {
      const refused = await b.register('x', 't2', { mode: 'restore', fencingToken });
      expect(refused).to.include({ status: 'MOVED', ownerInc: 'a~1', fencingToken: now });
    }
    const notices = await noticesToA(async () => {
      const reply = await b.register('x', 't2', { mode: 'restore', fencingToken: now + 5 });
      expect(reply).to.include({ status: 'TOOK', ownerInc: 'a~1', fencingToken: now + 5 });
    });
    expect(notices).to.deep.equal([{ v: 1, t: 'superseded', c: 'x', k: 't1', f: String(now + 5) }]);
    expect(await b.register('y', 't3', { mode: 'restore', fencingToken: 7 })).to.include({
      status: 'NEW',
      fencingToken: 7,
    });
  });

  it('restores a connection over its own superseded attempt when its fencing token is larger', async () => {
    const now = bench.now * 1000;
    await b.register('x', 't2');
    await a.register('x', 't1');
    expect(await b.register('x', 't2', { mode: 'restore', fencingToken: now })).to.include({ status: 'STALE' });
    expect(await b.register('x', 't2', { mode: 'restore', fencingToken: now + 9 })).to.include({ status: 'TOOK' });
  });

  it('answers each registration of a call by itself, in their order', async () => {
    await b.register('taken', 'b1');
    await a.unregister('given-up', 't3', { tombstoneMs: 60_000 });
    const registrations = [
      ['new', 't1'],
      ['taken', 't2'],
      ['given-up', 't3'],
      ['new', 't4'],
    ].map(([conn = '', tok = '']) => ({ conn, tok }));
    const reply = await a.registerAll(registrations);
    if (reply.status !== 'OK') throw new Error(reply.status);
    expect(reply.answers.map(({ result, ownerTok }) => `${result} ${ownerTok}`)).to.deep.equal([
      'NEW ',
      'TOOK b1',
      'GONE ',
      'TOOK t1',
    ]);
    expect(await sendRecorded('new')).to.include({ status: 'ROUTED', tok: 't4' });
    const removals = [
      ['new', 't4'],
      ['taken', 'b1'],
      ['new', 't4'],
    ].map(([conn = '', tok = '']) => ({ conn, tok, tombstoneMs: 0 }));
    expect(await a.unregisterAll(removals)).to.deep.equal(['REMOVED', 'FOREIGN', 'NONE']);
    await a.unregister('taken', 't2');
  });

  it('writes the same route whether a new registration says more than its user or not', async () => {
    const more = [{}, { trace: 'a\nb' }, { room: 100 }, { fencingToken: 5, trace: 'c' }];
    const registrations = more.map((one, at) => ({ conn: `c${at}`, tok: `t${at}`, user: 'ann|bo', ...one }));
    const reply = await a.registerAll([...registrations, { conn: 'c4', tok: 't4' }]);
    if (reply.status !== 'OK') throw new Error(reply.status);
    const none = { result: 'NEW', ownerInc: '', ownerTok: '' };
    const tokens = [1, 1, 1, 0, 1].map(now => (now === 0 ? 5 : bench.now * 1_000));
    expect(reply.answers).to.deep.equal(tokens.map(fencingToken => ({ ...none, fencingToken })));
    const exp = bench.now + TTL_MS;
    const route = (at: number, user: string) => [`c${at}`, `${a.gen()}|t${at}|${tokens[at] ?? 0}|${exp}${user}`];
    const expected = [0, 1, 2, 3].map(at => route(at, '|||ann|bo'));
    expect((await bench.state()).routes).to.deep.equal(Object.fromEntries([...expected, route(4, '')]));
  });

  describe('with counters', () => {
    const counter = (): string => bench.keys.counter(partition(), 'ann/');
    afterEach(() => admin().del(['ann/', '@1', '@2'].map(name => bench.keys.counter(partition(), name))));
    const enter = async (node: BenchNode, conn: string, limits = '2,;', more = {}) => {
      const { status } = await node.register(conn, conn, { counters: [counter()], limits, ...more });
      return status;
    };

    it('refuses one more connection than a counter may have, of all nodes, and writes nothing', async () => {
      expect([await enter(a, 'x'), await enter(b, 'y'), await enter(a, 'z')]).to.deep.equal(['NEW', 'NEW', 'FULL']);
      expect(await a.register('z', 'z', { counters: [counter()], limits: '2,;' })).to.include({ fencingToken: 1 });
      expect((await bench.state()).routes).to.have.all.keys('x', 'y');
      expect(await admin().pttl(counter())).to.be.greaterThan(0);
    });

    it('refuses neither a repetition nor a takeover nor a restored connection', async () => {
      await enter(a, 'x', '1,;');
      expect(await enter(a, 'x', '1,;')).to.equal('DUP');
      expect(await enter(b, 'x', '1,;')).to.equal('TOOK');
      expect(await enter(b, 'y', '1,;', { mode: 'restore' })).to.equal('NEW');
    });

    it('does not count the connections of a lease that is over, a second after the counter was found full', async () => {
      await enter(a, 'x', '1,;');
      expect(await enter(b, 'y', '1,;')).to.equal('FULL');
      await bench.advance(LEASE_MS - 500);
      await b.lease();
      expect(await enter(b, 'y', '1,;')).to.equal('FULL');
      await bench.advance(500);
      expect(await enter(b, 'y', '1,;')).to.equal('FULL');
      await bench.advance(500);
      expect(await enter(b, 'y', '1,;')).to.equal('NEW');
      // Its node is back: it counts again, until that node was reaped.
      await a.lease();
      expect(await enter(b, 'z', '2,;')).to.equal('FULL');
      await bench.advance(LEASE_MS);
      await b.lease();
      await reap(9);
      expect(await enter(b, 'z', '2,;')).to.equal('NEW');
      expect((await admin().hkeys(counter())).filter(each => /^\d/.test(each))).to.have.length(2);
    });

    it('counts connects within a minute, about, and takeovers with them', async () => {
      for (const conn of ['x', 'y']) await enter(a, conn, ',3;');
      expect(await enter(b, 'x', ',3;')).to.equal('TOOK');
      expect(await enter(b, 'z', ',3;')).to.equal('OFTEN');
      await bench.advance(60_000 - (bench.now % 60_000));
      expect(await enter(b, 'z', ',3;')).to.equal('OFTEN');
      // Half of the minute before counts.
      await bench.advance(30_000);
      await b.lease();
      expect(await enter(b, 'z', ',3;')).to.equal('NEW');
      expect(await enter(b, 'u', ',3;')).to.equal('NEW');
      expect(await enter(b, 'v', ',3;')).to.equal('OFTEN');
      await bench.advance(120_000);
      await b.lease();
      expect(await enter(b, 'v', ',3;')).to.equal('NEW');
    });

    it('refuses one more route than the partition may have; those of one call count', async () => {
      await a.register('x', 'x');
      const registrations = ['x', 'y', 'z'].map(conn => ({ conn, tok: `2${conn}`, room: 3 }));
      const reply = await b.registerAll(registrations);
      if (reply.status !== 'OK') throw new Error(reply.status);
      expect(reply.answers.map(({ result }) => result)).to.deep.equal(['TOOK', 'NEW', 'FULL']);
      expect(reply.routes).to.equal(2);
      // The route of a lease that is over is replaced, which needs no room.
      await bench.advance(LEASE_MS);
      await a.lease();
      expect(await a.register('x', '3x', { room: 2 })).to.include({ status: 'NEW' });
      expect(await a.register('z', '3z', { room: 2 })).to.include({ status: 'FULL' });
    });

    it('has the counters of each registration of a call beside each other', async () => {
      const others = ['@1', '@2'].map(name => bench.keys.counter(partition(), name));
      const registrations = ['x', 'y', 'z'].map((conn, n) => ({ conn, tok: conn, limits: n === 1 ? '9,;1,;' : '1,;' }));
      const counters = [others[0] ?? '', counter(), others[0] ?? '', others[1] ?? ''];
      const reply = await a.registerAll(registrations, { counters });
      if (reply.status !== 'OK') throw new Error(reply.status);
      expect(reply.answers.map(({ result, fencingToken }) => `${result} ${Math.min(9, fencingToken)}`)).to.deep.equal([
        'NEW 9',
        'FULL 2',
        'NEW 9',
      ]);
    });

    it('counters.lua counts one connection where its counter is elsewhere', async () => {
      const key = counter();
      expect(await a.count('enter', key, 'x', '1,;')).to.equal('DONE');
      expect(await a.count('enter', key, 'x', '1,;')).to.equal('DONE');
      expect(await b.count('enter', key, 'x', '1,;')).to.equal('FULL');
      expect((await admin().hkeys(key)).filter(each => /^\d/.test(each))).to.have.length(1);
      expect(await b.count('renew', key, 'x', '1,;')).to.equal('DONE');
      expect(await a.count('leave', key, 'x', '')).to.equal('DONE');
      expect(await b.count('leave', key, 'x', '')).to.equal('DONE');
      expect(await admin().exists(key)).to.equal(0);
      // It was found full by a clock that was set back since.
      await admin().hset(key, '#full', bench.now + 60_000);
      expect(await a.count('enter', key, 'x', '1,;')).to.equal('DONE');
      expect(await a.count('leave', key, 'x', '')).to.equal('DONE');
      // A repetition is no connect.
      for (const tok of ['x', 'x', 'y']) expect(await a.count('enter', key, tok, ',2;')).to.equal('DONE');
      expect(await a.count('enter', key, 'z', ',2;')).to.equal('OFTEN');
    });
  });

  it('treats a route or a lease that cannot be read as none', async () => {
    await admin().hset(partition().routes, 'x', 'nonsense');
    await admin().zadd(partition().index, a.gen(), 'x');
    await admin().hset(partition().leases, `g:${b.gen()}`, 'nonsense');
    expect(await send('x')).to.deep.equal({ status: 'NONE' });
    expect(await a.register('x', 't1')).to.include({ status: 'NEW' });
    await admin().hset(partition().routes, 'y', `${b.gen()}|t|1|9999999999999`);
    await admin().zadd(partition().index, b.gen(), 'y');
    expect(await a.register('y', 't2')).to.include({ status: 'NEW', ownerInc: '' });
  });

  it('keeps the user of a connection, until another registration takes the id over', async () => {
    await a.register('x', 't1', { user: 'ann|1' });
    const users = async () => {
      const reply = await resolve('x');
      return reply.status === 'OK' && reply.routes.map(route => route?.user);
    };
    expect((await bench.state()).routes['x']).to.match(/^\d+\|t1\|\d+\|\d+\|\|\|ann\|1$/);
    expect(await users()).to.deep.equal(['ann|1']);
    await bench.advance(1_000);
    await a.refresh([{ conn: 'x', tok: 't1' }]);
    expect((await bench.state()).routes['x']).to.include(`|${bench.now + TTL_MS}|||ann|1`);
    await b.register('x', 't2');
    expect(await users()).to.deep.equal(['']);
    expect((await bench.state()).routes['x']).to.match(/\|a~1\/t1\|\d+$/);
  });

  it('refuses a node whose lease is gone', async () => {
    await bench.advance(LEASE_MS);
    await reap();
    await reap();
    expect(await a.register('x', 't1')).to.deep.equal({ status: 'LOST' });
  });

  it('refuses a registration that was given up before it arrived', async () => {
    expect(await a.unregister('x', 't1', { tombstoneMs: 60_000 })).to.equal('NONE');
    expect(await a.register('x', 't1')).to.include({ status: 'GONE' });
    expect(await a.register('x', 't2')).to.include({ status: 'NEW' });
  });

  it('moves its own route from its former lease to the present one (bug 2)', async () => {
    await a.register('x', 't1');
    await a.register('y', 't2');
    await bench.advance(LEASE_MS);
    await b.lease();
    expect(await reap(1)).to.include({ status: 'MORE', inc: 'a~1' });
    await a.lease();
    const kept = (await bench.state()).routes['x'] === undefined ? 'y' : 'x';
    const tok = kept === 'x' ? 't1' : 't2';
    expect(await a.register(kept, tok, { mode: 'restore' })).to.include({ status: 'NEW' });
    while ((await reap(1)).status !== 'NONE');
    expect(await sendRecorded(kept)).to.include({ status: 'ROUTED', inc: 'a~1', tok });
  });

  it('extends its lease when half of it is over', async () => {
    await bench.advance(LEASE_MS / 2 + 1);
    await a.register('x', 't1');
    await bench.advance(LEASE_MS / 2);
    await b.lease();
    expect(await b.register('x', 't2', { mode: 'nx' })).to.include({ status: 'EXISTS', ownerInc: 'a~1' });
  });

  describe('of an id that is taken over again and again', () => {
    const limit = { takeoverLimit: 2, takeoverWindow: 30_000 };
    const nodes = () => [a, b] as const;
    const take = (n: number) => nodes()[n % 2]!.register('x', `t${n}`, limit);

    it('answers STORM after the limit, and changes nothing', async () => {
      const statuses = [];
      for (let n = 0; n < 3; n += 1) statuses.push((await take(n)).status);
      const before = await bench.state();
      expect(await take(3)).to.include({ status: 'STORM', ownerInc: 'a~1', ownerTok: 't2' });
      expect(await take(4)).to.include({ status: 'STORM' });
      expect(statuses).to.deep.equal(['NEW', 'TOOK', 'TOOK']);
      expect(await bench.state()).to.deep.equal(before);
    });

    it('counts page loads apart', async () => {
      const load = (n: number) => nodes()[n % 2]!.register('x', `l${n}`, { ...limit, mode: 'load' });
      await take(0);
      for (let n = 1; n <= 2; n += 1) {
        expect(await load(n)).to.include({ status: 'TOOK' });
        expect(await take(n)).to.include({ status: 'TOOK' });
      }
      expect(await load(3)).to.include({ status: 'STORM' });
      expect(await take(3)).to.include({ status: 'STORM' });
    });

    it('counts only what is within the window', async () => {
      await take(0);
      await take(1);
      await bench.advance(10_000);
      await take(2);
      await Promise.all(nodes().map(node => node.lease()));
      await bench.advance(10_000);
      await Promise.all(nodes().map(node => node.lease()));
      expect(await take(3)).to.include({ status: 'STORM' });
      await bench.advance(9_999);
      await Promise.all(nodes().map(node => node.lease()));
      expect(await take(3)).to.include({ status: 'STORM' });
      await bench.advance(1);
      expect(await take(3)).to.include({ status: 'TOOK' });
      expect(await take(4)).to.include({ status: 'STORM' });
    });

    it('goes on counting across repetitions, refreshing and a lost owner', async () => {
      await take(0);
      await take(1);
      await take(2);
      await take(2);
      await a.refresh([{ conn: 'x', tok: 't2' }]);
      await bench.advance(LEASE_MS);
      await b.lease();
      expect(await b.register('x', 't3', limit)).to.include({ status: 'NEW' });
      await a.lease();
      expect(await take(4)).to.include({ status: 'STORM' });
    });

    describe('in the cluster', () => {
      const asking = { ...limit, numsub: 'NUMSUB' as const };
      const takeAsking = async (node: BenchNode, n: number) => (await node.register('x', `t${n}`, asking)).status;
      const hearing = async (work: () => Promise<unknown>): Promise<void> => {
        const ear = admin().duplicate();
        await ear.subscribe(...['a~1', 'b~1'].map(inc => partition().channelPrefix + inc));
        await work().finally(() => ear.quit());
      };

      it('counts no takeover from a node that does not hear, and refuses none', async () => {
        for (let n = 0; n < 9; n += 1) await takeAsking(nodes()[n % 2]!, n);
        await hearing(async () => {
          for (const n of [9, 10]) expect(await takeAsking(nodes()[n % 2]!, n)).to.equal('TOOK');
          for (const n of [11, 12]) expect(await takeAsking(b, n)).to.equal('STORM');
        });
        expect(await takeAsking(b, 13)).to.equal('TOOK');
        await hearing(async () => expect(await takeAsking(a, 14)).to.equal('STORM'));
      });

      it('notifies a node that does not hear all the same, since it may come back', async () => {
        await takeAsking(a, 0);
        const notices = await noticesToA(async () => expect(await takeAsking(b, 1)).to.equal('TOOK'));
        expect(notices).to.have.length(1);
      });

      it('counts takeovers within one node, which needs no subscriber', async () => {
        const statuses: string[] = [];
        for (let n = 0; n < 4; n += 1) statuses.push(await takeAsking(a, n));
        expect(statuses).to.deep.equal(['NEW', 'TOOK', 'TOOK', 'STORM']);
      });

      it('counts each takeover where Redis may not say who hears', async () => {
        await admin().acl('SETUSER', 'default', '-pubsub');
        try {
          const statuses: string[] = [];
          for (let n = 0; n < 4; n += 1) statuses.push(await takeAsking(nodes()[n % 2]!, n));
          expect(statuses).to.deep.equal(['NEW', 'TOOK', 'TOOK', 'STORM']);
        } finally {
          await admin().acl('SETUSER', 'default', '+pubsub');
        }
      });
    });

    it('does not limit other modes', async () => {
      for (let n = 0; n < 3; n += 1) await take(n);
      expect(await b.register('x', 't9', { ...limit, mode: 'nx' })).to.include({
        status: 'EXISTS',
      });
      const restore = { ...limit, mode: 'restore' as const };
      expect(await b.register('x', 't9', { ...restore, fencingToken: 1 })).to.include({ status: 'MOVED' });
      const fencingToken = bench.now * 1000 + 99;
      expect(await b.register('x', 't9', { ...restore, fencingToken })).to.include({ status: 'TOOK' });
      expect(await a.register('x', 't10', limit)).to.include({ status: 'STORM' });
    });
  });
});
