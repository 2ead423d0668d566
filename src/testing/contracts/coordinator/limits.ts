import type { RegistrationLimits, SharedLimit } from '../../../contracts/authorization.js';
import { expect } from '../expect.js';
import type { Ground, TestOfContract } from './ground.js';
import { type Node, register } from './steps.js';

const REGISTERED = { outcome: 'registered' };

/** What may refuse a registration: connections of one name, and of the cluster. */
export function limitsContract({ describe, it, core }: Ground): void {
  /** Registers a connection of the test's own name. */
  const enter = (
    { t1, news }: TestOfContract,
    { coordinator }: Node,
    connectionId: string,
    limit: Omit<SharedLimit, 'name'>,
    more: RegistrationLimits & { readonly token?: string } = {},
  ) => {
    const token = `${t1}-${connectionId}`;
    const limits = [{ name: `${news}/`, ...limit }];
    return coordinator.routes.register({ connectionId, token, onDuplicate: 'takeover', limits, ...more });
  };
  const leave = ({ t1 }: TestOfContract, { coordinator }: Node, connectionId: string) =>
    coordinator.routes.unregister(connectionId, `${t1}-${connectionId}`);

  describe('limits', () => {
    core('a name has so many connections on all nodes, and the next one changes no route', async test => {
      const { a, b, c1, c2, c3, t2, news } = test;
      expect(await enter(test, a, c1, { most: 2 })).to.include(REGISTERED);
      expect(await enter(test, b, c2, { most: 2 })).to.include(REGISTERED);
      const full = { outcome: 'full', name: `${news}/` };
      for (const node of [a, b]) expect(await enter(test, node, c3, { most: 2 })).to.deep.equal(full);
      expect(await a.coordinator.routes.locate(c3)).to.equal(undefined);
      expect(await a.coordinator.routes.count()).to.equal(2);
      expect(await register(b, c3, t2)).to.include(REGISTERED);
    });

    core('a connection that was unregistered makes room', async test => {
      const { a, b, c1, c2, c3 } = test;
      await enter(test, a, c1, { most: 1 });
      await leave(test, a, c1);
      expect(await enter(test, b, c2, { most: 1 })).to.include(REGISTERED);
      await leave(test, b, c2);
      expect(await enter(test, a, c3, { most: 1 })).to.include(REGISTERED);
    });

    core('a node that left makes room', async test => {
      const { b, c1, c2, another } = test;
      const c = await another('node-c');
      await enter(test, c, c1, { most: 1 });
      await c.coordinator.close();
      expect(await enter(test, b, c2, { most: 1 })).to.include(REGISTERED);
    });

    core('a takeover and a repetition need no room, and count once', async test => {
      const { a, b, c1, c2, t2, news } = test;
      await enter(test, a, c1, { most: 1 });
      expect(await enter(test, a, c1, { most: 1 })).to.include(REGISTERED);
      expect(await enter(test, b, c1, { most: 1 }, { token: t2 })).to.include(REGISTERED);
      await leave(test, a, c1);
      expect(await enter(test, a, c2, { most: 1 })).to.deep.equal({ outcome: 'full', name: `${news}/` });
      await b.coordinator.routes.unregister(c1, t2);
      expect(await enter(test, a, c2, { most: 1 })).to.include(REGISTERED);
    });

    core('a connection counts for each of its names, wherever these are kept', async test => {
      const { a, b, c1, c2, news } = test;
      const limits = ['@192.0.2.1', '@192.0.2.2'].map(name => ({ name: name + news, most: 1 }));
      expect(await enter(test, a, c1, {}, { limits })).to.include(REGISTERED);
      for (const limit of limits) {
        const own = { name: `${news}/`, most: 1 };
        const refused = { outcome: 'full', name: limit.name };
        expect(await enter(test, b, c2, {}, { limits: [own, limit] })).to.deep.equal(refused);
        expect(await b.coordinator.routes.locate(c2)).to.equal(undefined);
      }
      await leave(test, a, c1);
      expect(await enter(test, b, c2, {}, { limits })).to.include(REGISTERED);
    });

    core('a name has so many registrations within a minute', async test => {
      const { a, b, c1, c2, news } = test;
      const refused = { outcome: 'rate-limited', name: `${news}/` };
      const answers = async (): Promise<unknown[]> => {
        for (const node of [a, b]) {
          await enter(test, node, c1, { perMinute: 2 });
          await leave(test, node, c1);
        }
        return [await enter(test, a, c1, { perMinute: 2 }), await enter(test, b, c2, { perMinute: 2 })];
      };
      const minute = (): number => Math.floor(Date.now() / 60_000);
      const begun = minute();
      const inOne = await answers();
      // They count from the beginning of a minute, which may have come in between.
      expect(minute() === begun ? inOne : await answers()).to.deep.equal([refused, refused]);
    });

    // Where routes are in several places a node knows the others as of its last heartbeat.
    it('the cluster has so many connections', async test => {
      const { a, c1, c2, t2 } = test;
      const room = { limits: [], maxConnections: 1 };
      expect(await enter(test, a, c1, {}, room)).to.include(REGISTERED);
      expect(await enter(test, a, c1, {}, { ...room, token: t2 })).to.include(REGISTERED);
      expect(await enter(test, a, c2, {}, room)).to.deep.equal({ outcome: 'full' });
      await a.coordinator.routes.unregister(c1, t2);
      expect(await enter(test, a, c2, {}, room)).to.include(REGISTERED);
    });
  });
}
