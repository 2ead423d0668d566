import { expect } from '../expect.js';
import { until } from '../until.js';
import type { Ground } from './ground.js';
import { register, connect, messagesOf, message, type Node } from './steps.js';

/** What goes from one node to another: sends and commands. */
export function messagesContract({ describe, it, core }: Ground): void {
  describe('send', () => {
    core(
      'dispatches the message with its token to the owner, and answers the outcome',
      async ({ a, b, c1, t1, m1 }) => {
        await connect(b, c1, t1);
        const result = await a.coordinator.messenger.send(message(c1, m1, 'data: hello\n\n'));
        expect(result).to.deep.equal({ outcome: 'delivered', nodeId: 'node-b' });
        expect(messagesOf(b)).to.deep.equal([{ connectionId: c1, token: t1, messageId: m1, text: 'data: hello\n\n' }]);
      },
    );

    it('reaches a connection of the sending node as well', async ({ a, c1, t1, m1 }) => {
      await connect(a, c1, t1);
      const result = await a.coordinator.messenger.send(message(c1, m1));
      expect(result).to.deep.equal({ outcome: 'delivered', nodeId: 'node-a' });
    });

    it('answers buffered', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      b.listener.answer = () => ({ outcome: 'buffered' });
      const result = await a.coordinator.messenger.send(message(c1, m1));
      expect(result).to.deep.equal({ outcome: 'buffered', nodeId: 'node-b' });
    });

    it('answers rejected with the code of the owner', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      b.listener.answer = () => ({ outcome: 'rejected', code: 'SEND_BUFFER_FULL' });
      const result = await a.coordinator.messenger.send(message(c1, m1));
      expect(result).to.deep.equal({ outcome: 'rejected', code: 'SEND_BUFFER_FULL', nodeId: 'node-b' });
    });

    it('answers not-connected without a route', async ({ a, c1, m1 }) => {
      const result = await a.coordinator.messenger.send(message(c1, m1));
      expect(result).to.deep.equal({ outcome: 'not-connected' });
    });

    core('answers not-connected when the connection of the owner has closed', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      b.listener.answer = () => ({ outcome: 'not-connected' });
      const result = await a.coordinator.messenger.send(message(c1, m1));
      expect(result).to.deep.equal({ outcome: 'not-connected' });
    });

    it('with ack none answers routed, and the message arrives', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      const result = await a.coordinator.messenger.send({ ...message(c1, m1), ack: 'none' });
      expect(result).to.deep.equal({ outcome: 'routed', nodeId: 'node-b' });
      await until(() => messagesOf(b).length === 1, 'the message');
    });

    it('with ack none answers not-connected without a route', async ({ a, c1, m1 }) => {
      const result = await a.coordinator.messenger.send({ ...message(c1, m1), ack: 'none' });
      expect(result).to.deep.equal({ outcome: 'not-connected' });
    });

    it('keeps the order of one sender', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      const ids = Array.from({ length: 30 }, (_, n) => `${m1}-${n}`);
      await Promise.all(ids.map(id => a.coordinator.messenger.send(message(c1, id))));
      expect(messagesOf(b).map(({ messageId }) => messageId)).to.deep.equal(ids);
    });

    core('can be asked what became of it, as the nodes remember', async ({ a, b, c1, m1 }) => {
      const asked = (nodeId?: string) =>
        a.coordinator.messenger.outcomeOf({ connectionId: c1, messageId: m1, nodeId, age: 5 });
      expect(await asked()).to.equal(undefined);
      expect(await asked('node-b')).to.equal(undefined);
      const gone = { outcome: 'unknown', nodeId: 'node-x' };
      expect(await asked('node-x')).to.deep.equal(gone);
      b.listener.outcomes.set(`${c1} ${m1}`, 'unknown');
      expect(await asked()).to.deep.equal({ outcome: 'unknown' });
      expect(await asked('node-a')).to.equal(undefined);
      b.listener.outcomes.set(`${c1} ${m1}`, 'buffered');
      expect(await asked('node-a')).to.deep.equal({ outcome: 'buffered', nodeId: 'node-b' });
    });

    core('that is named goes to another connection only when the former one did not get it', async test => {
      const { a, b, c1, t1, t2, m1, m2 } = test;
      await connect(a, c1, t1);
      const send = ({ coordinator }: Node, messageId: string) =>
        coordinator.messenger.send({ ...message(c1, messageId), named: true });
      for (const messageId of [m1, m2]) expect(await send(b, messageId)).to.include({ outcome: 'delivered' });
      await connect(b, c1, t2);
      a.listener.outcomes.set(`${c1} ${m1}`, 'delivered');
      for (const node of [a, b]) {
        expect(await send(node, m1)).to.deep.equal({ outcome: 'delivered', nodeId: 'node-a' });
      }
      expect(messagesOf(b)).to.deep.equal([]);
      expect(await send(a, m2)).to.deep.equal({ outcome: 'delivered', nodeId: 'node-b' });
      a.listener.outcomes.set(`${c1} ${m1}`, 'unknown');
      expect(await send(b, m1)).to.deep.equal({ outcome: 'unknown', nodeId: 'node-a' });
      expect(messagesOf(b).map(({ messageId }) => messageId)).to.deep.equal([m2]);
    });

    core('goes to the new owner after a takeover', async ({ a, b, c1, t1, t2, m1 }) => {
      await connect(a, c1, t1);
      await connect(b, c1, t2);
      const result = await a.coordinator.messenger.send(message(c1, m1));
      expect(result).to.deep.equal({ outcome: 'delivered', nodeId: 'node-b' });
      expect(messagesOf(b)).to.have.length(1);
      expect(messagesOf(a)).to.deep.equal([]);
    });
  });

  describe('control', () => {
    core('closes a connection at its owner, on another node and on its own', async ({ a, b, c1, c2, t1, t2 }) => {
      await connect(a, c1, t1);
      expect(await b.coordinator.messenger.close(c1, 'kicked')).to.deep.equal({ closed: 1, missing: [] });
      await connect(a, c2, t2);
      expect(await a.coordinator.messenger.close(c2, 'bored')).to.deep.equal({ closed: 1, missing: [] });
      expect(a.listener.closed).to.deep.equal([
        { connectionId: c1, reason: 'kicked' },
        { connectionId: c2, reason: 'bored' },
      ]);
      expect(b.listener.closed).to.deep.equal([]);
    });

    it('closes nothing when there is no connection to close', async ({ a, b, c1, t1 }) => {
      expect(await a.coordinator.messenger.close(c1, 'kicked')).to.deep.equal({ closed: 0, missing: [] });
      await register(b, c1, t1);
      expect(await a.coordinator.messenger.close(c1, 'kicked')).to.deep.equal({ closed: 0, missing: [] });
    });

    core(
      'asks the owner whether a connection has reached a position, on another node and on its own',
      async ({ a, b, c1, t1 }) => {
        await connect(a, c1, t1);
        const position = { ms: 1_700_000_000_123, sequence: 7 };
        for (const { coordinator } of [a, b]) {
          expect(await coordinator.messenger.hasReached(c1, position)).to.deep.equal({
            outcome: 'delivered',
            nodeId: 'node-a',
          });
        }
        expect(a.listener.questions).to.deep.equal(Array(2).fill({ connectionId: c1, position }));
        a.listener.reached = 'buffered';
        expect(await b.coordinator.messenger.hasReached(c1, position)).to.include({ outcome: 'buffered' });
        a.listener.reached = undefined;
        expect(await b.coordinator.messenger.hasReached(c1, position)).to.equal(undefined);
      },
    );

    core(
      'brings the report of a client to its node, and the answer to a node that waits for it',
      async ({ a, b, c1, c2, t1, m1 }) => {
        await connect(b, c1, t1);
        const report = { connectionId: c1, token: 'token', handled: [m1], failed: ['other'] };
        for (const { coordinator } of [a, b]) {
          expect(await coordinator.messenger.confirm(report)).to.deep.equal({ outcome: 'delivered' });
          expect(await coordinator.messenger.isConfirmed(c1, m1, 1_000)).to.deep.equal({
            outcome: 'confirmed',
            nodeId: 'node-b',
          });
          expect(await coordinator.messenger.isConfirmed(c1, 'other', 1_000)).to.equal(undefined);
          const forged = await coordinator.messenger.confirm({ ...report, token: 'forged' });
          expect(forged).to.deep.equal({ outcome: 'rejected', code: 'FORBIDDEN' });
        }
        expect(b.listener.reports.map(({ handled }) => handled)).to.deep.equal([[m1], [m1]]);
        const unknown = { ...report, connectionId: c2 };
        expect(await a.coordinator.messenger.confirm(unknown)).to.deep.equal({ outcome: 'not-connected' });
        expect(await a.coordinator.messenger.isConfirmed(c2, m1, 1_000)).to.equal(undefined);
      },
    );

    it('an unknown connection has reached no position', async ({ a, c1 }) => {
      expect(await a.coordinator.messenger.hasReached(c1, { ms: 1, sequence: 1 })).to.equal(undefined);
    });

    core(
      'gives a lock to one holder at a time, which prolongs it by acquiring it again in time',
      async ({ a, b, lock }) => {
        const [one, two] = [a.coordinator.locks, b.coordinator.locks];
        expect(await one.lockHolder(lock)).to.equal(undefined);
        expect(await one.acquireLock(lock, 'one', 60_000)).to.equal(true);
        expect(await two.acquireLock(lock, 'two', 60_000)).to.equal(false);
        expect(await two.lockHolder(lock)).to.equal('one');
        expect(await one.acquireLock(`${lock}-other`, 'two', 60_000)).to.equal(true);
        expect(await one.acquireLock(lock, 'one', 20)).to.equal(true);
        await until(() => two.acquireLock(lock, 'two', 60_000), 'the end of the lock');
        expect(await one.acquireLock(lock, 'one', 60_000)).to.equal(false);
        expect(await one.lockHolder(lock)).to.equal('two');
        await one.releaseLock(lock, 'one');
        expect(await one.lockHolder(lock)).to.equal('two');
        await one.releaseLock(lock, 'two');
        expect(await two.lockHolder(lock)).to.equal(undefined);
      },
    );

    core('closes all connections of all nodes', async ({ a, b }) => {
      await connect(a, 'c1', 't1');
      await connect(b, 'c2', 't2');
      await connect(b, 'c3', 't3');
      expect(await a.coordinator.messenger.closeAll('maintenance')).to.deep.equal({ closed: 3, missing: [] });
      for (const { listener } of [a, b]) {
        await until(() => listener.closedAll.length > 0, 'the command');
        expect(listener.closedAll).to.deep.equal(['maintenance']);
      }
    });

    core('carries a revocation out on all nodes', async ({ a, b, news }) => {
      const revocation = {
        id: 'r1',
        target: 'alice/',
        topics: [news],
        reason: 'gone',
        cut: true,
        ttl: 60_000,
        age: 5,
      };
      expect(await a.coordinator.messenger.revoke(revocation)).to.deep.equal({ closed: 2, missing: [] });
      for (const { listener } of [a, b]) {
        expect(listener.revocations.map(({ age: _, trace: __, ...rest }) => rest)).to.deep.include({
          id: 'r1',
          target: 'alice/',
          topics: [news],
          reason: 'gone',
          cut: true,
          ttl: 60_000,
        });
        expect(listener.revocations.every(({ age }) => age >= 5)).to.equal(true);
      }
    });

    core('subscribes and unsubscribes a connection at its owner', async ({ a, b, c1, t1, news, sport }) => {
      await connect(b, c1, t1);
      expect(await a.coordinator.messenger.subscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
      expect(b.listener.onPresence(news)).to.deep.equal([c1]);
      expect(await a.coordinator.messenger.unsubscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
      expect(b.listener.onPresence(news)).to.deep.equal([]);
      expect(await b.coordinator.messenger.subscribe(c1, sport)).to.deep.equal({ outcome: 'delivered' });
    });

    it('answers not-connected when there is no connection to subscribe', async ({ a, c1, news }) => {
      const none = { outcome: 'not-connected' };
      expect(await a.coordinator.messenger.subscribe(c1, news)).to.deep.equal(none);
      expect(await a.coordinator.messenger.unsubscribe(c1, news)).to.deep.equal(none);
    });

    core('ends a source on the node that runs it', async ({ a, b }) => {
      const ran = { outcome: 'delivered' };
      b.listener.sources.add('one').add('two');
      a.listener.sources.add('three');
      for (const source of ['one', 'three']) {
        expect(await a.coordinator.messenger.endSource(source)).to.deep.equal(ran);
      }
      expect(await a.coordinator.messenger.endSource('four')).to.deep.equal({ outcome: 'not-connected' });
      expect([...a.listener.sources, ...b.listener.sources]).to.deep.equal(['two']);
    });

    core('lists the subscribed connections of every node', async ({ a, b, c1, c2, c3, t1, t2, news }) => {
      await connect(a, c1, t1);
      await connect(b, c2, t1);
      await connect(b, c3, t2);
      for (const id of [c1, c2]) await a.coordinator.messenger.subscribe(id, news);
      const { connections, missing } = await b.coordinator.messenger.presence(news);
      expect(connections).to.have.deep.members([
        { connectionId: c1, nodeId: 'node-a' },
        { connectionId: c2, nodeId: 'node-b' },
      ]);
      expect(missing).to.deep.equal([]);
    });

    it('an unknown topic has no subscribed connections', async ({ a, news }) => {
      const nobody = { connections: [], missing: [] };
      expect(await a.coordinator.messenger.presence(news)).to.deep.equal(nobody);
    });
  });
}
