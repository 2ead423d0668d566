import { expect } from '../expect.js';
import { until } from '../until.js';
import type { Ground } from './ground.js';
import { CHECK, register, connect, names, settled, broadcast, reconcile, fencingTokenOf } from './steps.js';

/** The routes of connections, and their repair. */
export function routesContract({ describe, it, core }: Ground): void {
  describe('registration', () => {
    core('makes the node the owner, for every node', async ({ a, b, c1, t1 }) => {
      const result = await register(a, c1, t1);
      const route = { connectionId: c1, nodeId: 'node-a', fencingToken: fencingTokenOf(result) };
      expect(await a.coordinator.routes.locate(c1)).to.deep.equal(route);
      expect(await b.coordinator.routes.locate(c1)).to.deep.equal(route);
    });

    it('an id that was never registered has no owner', async ({ a, c1 }) => {
      expect(await a.coordinator.routes.locate(c1)).to.equal(undefined);
    });

    it('repeated with the same token answers the same and notifies no node', async ({ a, b, c1, t1, takeoversAt }) => {
      const first = await register(a, c1, t1);
      expect(await register(a, c1, t1)).to.deep.equal(first);
      expect(await register(a, c1, t1, 'reject')).to.deep.equal(first);
      await settled(a, b);
      expect(takeoversAt(a)).to.deep.equal([]);
      expect(await a.coordinator.routes.count()).to.equal(1);
    });

    core(
      'fencing tokens grow with each registration of an id, also after it was free',
      async ({ a, b, c1, t1, t2 }) => {
        const fencingTokens = [await register(a, c1, t1), await register(b, c1, t1), await register(a, c1, t2)];
        await a.coordinator.routes.unregister(c1, t2);
        fencingTokens.push(await register(b, c1, t2));
        const numbers = fencingTokens.map(fencingTokenOf);
        expect(numbers).to.deep.equal([...numbers].sort((one, other) => one - other));
        expect(new Set(numbers).size).to.equal(4);
        expect(numbers[0]).to.be.greaterThan(0);
      },
    );

    core('a takeover notifies the former owner on another node once', async ({ a, b, c1, t1, t9, takeoversAt }) => {
      await connect(a, c1, t1);
      await register(b, c1, t9);
      await until(() => takeoversAt(a).length > 0, 'the notification of the takeover');
      await settled(a, b);
      expect(takeoversAt(a)).to.deep.equal([{ connectionId: c1, token: t1 }]);
      expect(takeoversAt(b)).to.deep.equal([]);
      expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
    });

    it('a takeover on the same node notifies that node once', async ({ a, b, c1, t1, t2, takeoversAt }) => {
      await connect(a, c1, t1);
      await register(a, c1, t2);
      await until(() => takeoversAt(a).length > 0, 'the notification of the takeover');
      await settled(a, b);
      expect(takeoversAt(a)).to.deep.equal([{ connectionId: c1, token: t1 }]);
      expect(await a.coordinator.routes.count()).to.equal(1);
    });

    it('the same token on another node is another connection', async ({ a, b, c1, t1, takeoversAt }) => {
      await connect(a, c1, t1);
      await register(b, c1, t1);
      await until(() => takeoversAt(a).length === 1, 'the notification of the takeover');
      expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
    });

    core('rejects a duplicate when asked to and leaves its owner alone', async ({ a, b, c1, t1, t9, takeoversAt }) => {
      await connect(a, c1, t1);
      const refused = { outcome: 'exists', nodeId: 'node-a' };
      expect(await register(b, c1, t9, 'reject')).to.deep.equal(refused);
      expect(await register(a, c1, t9, 'reject')).to.deep.equal(refused);
      await settled(a, b);
      expect(takeoversAt(a)).to.deep.equal([]);
      expect(await b.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
    });

    it('an id that is free is registered under reject as well', async ({ a, c1, t1 }) => {
      expect(await register(a, c1, t1, 'reject')).to.include({ outcome: 'registered' });
    });

    core(
      'five takeovers within the window succeed, the sixth is a storm and changes no route',
      async ({ a, b, c1, t1, takeoversAt }) => {
        await register(a, c1, `${t1}-0`);
        for (let takeover = 1; takeover <= 5; takeover += 1) {
          const node = takeover % 2 === 0 ? a : b;
          const result = await register(node, c1, `${t1}-${takeover}`);
          expect(result).to.include({ outcome: 'registered' });
        }
        expect(await register(a, c1, `${t1}-6`)).to.deep.equal({ outcome: 'storm' });
        expect(await register(b, c1, `${t1}-7`)).to.deep.equal({ outcome: 'storm' });
        await until(() => takeoversAt(b).length >= 2, 'the notifications of the takeovers');
        await settled(a, b);
        expect(takeoversAt(b).map(({ token }) => token)).to.deep.equal([`${t1}-1`, `${t1}-3`]);
        expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
      },
    );

    core(
      'a connection that opened earlier, without the cluster, supersedes older registrations only',
      async ({ a, b }) => {
        const late = (connectionId: string, token: string, age: number) =>
          b.coordinator.routes.register({
            connectionId,
            token,
            onDuplicate: 'takeover',
            openedAt: performance.now() - age,
          });
        await connect(a, 'c1', 't1');
        expect(await late('c1', 't2', 60_000)).to.deep.equal({ outcome: 'exists', nodeId: 'node-a' });
        expect(await late('c2', 't3', 60_000)).to.include({ outcome: 'registered' });
        // The node knows the clock of the cluster only about.
        await new Promise(resolve => setTimeout(resolve, 200));
        for (let n = 0; n < 7; n += 1) {
          expect(await late('c1', `u${n}`, 0)).to.include({ outcome: 'registered' });
          await new Promise(resolve => setTimeout(resolve, 10));
        }
        await until(() => a.listener.superseded.length > 0, 'the notification of the takeover');
        expect(a.listener.superseded[0]).to.deep.equal({ connectionId: 'c1', token: 't1' });
      },
    );

    core('takeovers by page loads are counted apart, and the twentieth is a storm', async ({ a, b, c1, t1 }) => {
      const load = (n: number) =>
        a.coordinator.routes.register({ connectionId: c1, token: `l${n}`, onDuplicate: 'takeover', pageLoad: true });
      await register(a, c1, `${t1}-0`);
      for (let n = 1; n <= 5; n += 1) await register(a, c1, `${t1}-${n}`);
      for (let n = 1; n <= 19; n += 1) expect(await load(n)).to.include({ outcome: 'registered' });
      expect(await load(20)).to.deep.equal({ outcome: 'storm' });
      expect(await register(b, c1, `${t1}-6`)).to.deep.equal({ outcome: 'storm' });
    });

    it('a repeated takeover counts once', async ({ a, c1, t1 }) => {
      await register(a, c1, `${t1}-0`);
      for (let takeover = 1; takeover <= 5; takeover += 1) {
        await register(a, c1, `${t1}-${takeover}`);
        const repeated = await register(a, c1, `${t1}-${takeover}`);
        expect(repeated).to.include({ outcome: 'registered' });
      }
    });

    it('a storm of one id is none of another', async ({ a, b, c1, c2, t1, t2 }) => {
      for (let n = 0; n <= 5; n += 1) await register(a, c1, `${t1}-${n}`);
      await register(a, c2, t1);
      expect(await register(b, c2, t2)).to.include({ outcome: 'registered' });
    });
  });

  describe('release', () => {
    core('unregister removes the route, once', async ({ a, b, c1, t1 }) => {
      await connect(a, c1, t1);
      expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(true);
      expect(await b.coordinator.routes.locate(c1)).to.equal(undefined);
      expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(false);
    });

    core('a late unregister of a former owner changes nothing', async ({ a, b, c1, t1, t2 }) => {
      await connect(a, c1, t1);
      await connect(a, c1, t2);
      expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(false);
      await connect(b, c1, t2);
      expect(await a.coordinator.routes.unregister(c1, t2)).to.equal(false);
      expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
    });

    it('unregister of an unknown id answers false', async ({ a, c1, t1 }) => {
      expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(false);
    });

    core('releaseRoutes removes every route of this node and no other', async ({ a, b, c1, c2, c3, t1, t2 }) => {
      await connect(a, c1, t1);
      await connect(a, c2, t2);
      await connect(b, c3, t1);
      await a.coordinator.routes.releaseAll();
      expect(await b.coordinator.routes.locate(c1)).to.equal(undefined);
      expect(await b.coordinator.routes.count()).to.equal(1);
      expect(await names(b)).to.deep.equal(['node-a', 'node-b']);
      await a.coordinator.routes.releaseAll();
      expect(await b.coordinator.routes.count()).to.equal(1);
    });
  });

  describe('counts', () => {
    core('are exact on every node', async ({ a, b, c1, c2, c3, t1, t2 }) => {
      await connect(a, c1, t1);
      await connect(a, c2, t2);
      await connect(b, c3, t1);
      await connect(b, c1, t2);
      expect(await a.coordinator.routes.count()).to.equal(3);
      expect(await b.coordinator.routes.count()).to.equal(3);
    });

    it('of a publication are the nodes at present, as they join and leave', async ({ b, another }) => {
      const counted = async (count: number): Promise<boolean> =>
        (await b.coordinator.log.publish({ ...broadcast('x'), retention: false })).nodes === count;
      await until(() => counted(2), 'two nodes');
      const c = await another('node-c');
      await until(() => counted(3), 'three nodes');
      await c.coordinator.close();
      await until(() => counted(2), 'two nodes again');
    });

    it('nodes are sorted by id, each with its connections, and know themselves', async ({
      a,
      c1,
      c2,
      t1,
      t2,
      another,
    }) => {
      await another('node-0');
      await connect(a, c1, t1);
      await connect(a, c2, t2);
      expect(await a.coordinator.routes.nodes()).to.deep.equal([
        { nodeId: 'node-0', connections: 0, self: false },
        { nodeId: 'node-a', connections: 2, self: true },
        { nodeId: 'node-b', connections: 0, self: false },
      ]);
    });
  });

  describe('self-check', () => {
    it('finds nothing where all is well', async ({ a, b, c1, c2, t1 }) => {
      await connect(a, c1, t1);
      await connect(b, c2, t1);
      const report = await reconcile(a, CHECK);
      expect(report).to.deep.include({ checked: 2, found: {}, repairs: {}, findings: [] });
      expect(report.unknown).to.equal(undefined);
    });

    it('leaves the route of a connection alone that still opens', async ({ a, b, c1, t1 }) => {
      await register(a, c1, t1);
      expect((await reconcile(a, CHECK)).findings).to.deep.equal([]);
      expect(await b.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
    });

    core('restores the route of a connection that has none', async ({ a, b, c1, t1 }) => {
      await connect(a, c1, t1);
      await a.coordinator.routes.unregister(c1, t1);
      const { findings } = await reconcile(a, CHECK);
      const finding = { kind: 'missing-route', connectionId: c1, repaired: true };
      expect(findings).to.deep.equal([finding]);
      expect(await b.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
      expect((await reconcile(a, CHECK)).findings).to.deep.equal([]);
    });

    core('removes the route of a connection that is not there', async ({ a, b, c1, t1 }) => {
      await connect(a, c1, t1);
      a.listener.connections.delete(c1);
      const { found, repairs } = await reconcile(a, CHECK);
      expect([found, repairs]).to.deep.equal([{ ghost: 1 }, { ghost: 1 }]);
      expect(await b.coordinator.routes.locate(c1)).to.equal(undefined);
    });

    it('corrects a route that names an earlier connection of the same id', async ({ a, b, c1, t1, t2 }) => {
      await connect(a, c1, t1);
      a.listener.connections.set(c1, t2);
      expect((await reconcile(a, CHECK)).repairs).to.deep.equal({ 'wrong-token': 1 });
      expect(await b.coordinator.routes.unregister(c1, t2)).to.equal(false);
      expect(await a.coordinator.routes.unregister(c1, t2)).to.equal(true);
    });

    core('closes a connection whose id another node owns', async ({ a, b, c1, t1, t2, takeoversAt }) => {
      await connect(a, c1, t1);
      await connect(b, c1, t2);
      await until(() => takeoversAt(a).length === 1, 'the notification of the takeover');
      a.listener.connections.set(c1, t1);
      expect((await reconcile(a, CHECK)).repairs).to.deep.equal({ 'foreign-route': 1 });
      expect(a.listener.connections.has(c1)).to.equal(false);
      expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
    });

    it('repairs nothing when it only compares, and no more than its limit', async ({ a, b, c1, c2, c3 }) => {
      for (const id of [c1, c2, c3]) await connect(a, id, `t-${id}`);
      a.listener.connections.clear();
      const seen = await reconcile(a, { ...CHECK, maxRepairs: 0 });
      expect([seen.found, seen.repairs]).to.deep.equal([{ ghost: 3 }, {}]);
      expect(await b.coordinator.routes.count()).to.equal(3);
      expect((await reconcile(a, { ...CHECK, maxRepairs: 2 })).repairs).to.deep.equal({ ghost: 2 });
      expect(await b.coordinator.routes.count()).to.equal(1);
    });

    it('reports no difference that ends before it has lasted', async ({ a, c1, t1 }) => {
      await connect(a, c1, t1);
      a.listener.connections.delete(c1);
      const checked = reconcile(a, { ...CHECK, settle: 100 });
      setTimeout(() => a.listener.connections.set(c1, t1), 50);
      expect((await checked).findings).to.deep.equal([]);
      expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
    });

    core('notifies the other nodes of a repair when asked to, and of nothing else', async ({ a, b, c1, t1 }) => {
      await connect(a, c1, t1);
      await reconcile(a, { ...CHECK, notify: true });
      a.listener.connections.delete(c1);
      await reconcile(a, { ...CHECK, maxRepairs: 0, notify: true });
      expect(b.listener.syncs).to.equal(0);
      await reconcile(a, { ...CHECK, notify: true });
      await until(() => b.listener.syncs === 1, 'the notification of the repair');
    });

    it('comparing the routes of all nodes finds nothing where all is well', async ({ a, b, c1, t1 }) => {
      await connect(b, c1, t1);
      const report = await reconcile(a, { ...CHECK, scope: 'cluster' });
      expect(report.findings).to.deep.equal([]);
    });
  });
}
