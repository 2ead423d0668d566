import { codeOf, expect, failureOf } from '../expect.js';
import { RecordingListener } from '../recording-listener.js';
import { until } from '../until.js';
import type { Ground } from './ground.js';
import {
  register,
  connect,
  messagesOf,
  names,
  subscribeAll,
  settled,
  broadcast,
  publishAll,
  message,
  everyCall,
} from './steps.js';

/** The life of a coordinator, and the outages in it. */
export function lifeContract({ describe, it, core, afterEach, outages }: Ground): void {
  describe('life', () => {
    it('has a name and is reachable once it has started', ({ a }) => {
      expect(a.coordinator.kind).to.match(/^\w+$/);
      expect(a.coordinator.status()).to.deep.equal({ reachable: true });
    });

    it('is not reachable, with a detail, before it has started and after it has closed', async ({ unstarted }) => {
      const { coordinator } = await unstarted('node-c');
      expect(coordinator.status().reachable).to.equal(false);
      expect(coordinator.status().detail).to.be.a('string');
      await coordinator.start(new RecordingListener());
      await coordinator.close();
      expect(coordinator.status().reachable).to.equal(false);
      expect(coordinator.status().detail).to.be.a('string');
    });

    it('a second start changes nothing', async ({ a, b, c1, t1 }) => {
      await connect(a, c1, t1);
      await a.coordinator.start(new RecordingListener());
      await b.coordinator.log.publish(broadcast('x'));
      await until(() => a.listener.publications.length === 1, 'the publication');
      expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
    });

    core(
      'close releases its routes and its lease, a second one changes nothing',
      async ({ b, c1, c2, t1, another }) => {
        const c = await another('node-c');
        await connect(c, c1, t1);
        await connect(b, c2, t1);
        expect(await names(b)).to.deep.equal(['node-a', 'node-b', 'node-c']);
        for (let close = 1; close <= 2; close += 1) {
          await c.coordinator.close();
          expect(await b.coordinator.routes.locate(c1)).to.equal(undefined);
          expect(await b.coordinator.routes.count()).to.equal(1);
          expect(await names(b)).to.deep.equal(['node-a', 'node-b']);
        }
      },
    );

    it('after close calls its listener no more, and all but close, status and unsubscribe reject with CLOSED', async ({
      a,
      b,
      c1,
      m1,
      news,
      another,
    }) => {
      const c = await another('node-c');
      await c.coordinator.close();
      await b.coordinator.log.publish(broadcast('x'));
      await b.coordinator.messenger.closeAll('kicked');
      await until(() => b.listener.closedAll.length === 1, 'the command');
      await settled(a, b);
      expect(c.listener.publications).to.deep.equal([]);
      expect(c.listener.closedAll).to.deep.equal([]);
      const calls = [...everyCall(c.coordinator), c.coordinator.messenger.send(message(c1, m1))];
      calls.push(c.coordinator.start(c.listener));
      for (const call of calls) expect(await codeOf(call)).to.equal('CLOSED');
      c.coordinator.log.unsubscribe([news]);
    });
  });

  if (outages === undefined) return;
  const { cut, heal } = outages;

  describe('in an outage', () => {
    afterEach(async ({ a, b, c1 }) => {
      for (const [nodeId, { coordinator }] of Object.entries({ 'node-a': a, 'node-b': b })) {
        await heal(nodeId);
        // The broken connections of the outage answer no call, so a call that succeeds went over new ones.
        await until(async () => (await codeOf(coordinator.routes.locate(c1))) === undefined, 'an answer');
        await until(() => coordinator.status().reachable, 'the end of the outage');
      }
    });

    it('every method but send, unsubscribe and status rejects with UNAVAILABLE and had no effect', async ({
      a,
      news,
    }) => {
      await cut('node-a');
      await until(() => !a.coordinator.status().reachable, 'the outage');
      expect(a.coordinator.status().detail).to.be.a('string');
      for (const call of everyCall(a.coordinator)) {
        const error = await failureOf(call);
        expect(error).to.include({ code: 'UNAVAILABLE', noEffect: 'CLUSTER_UNREACHABLE' });
      }
      a.coordinator.log.unsubscribe([news]);
    });

    it('a send of the node that is cut off answers unavailable', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      await cut('node-a');
      await until(() => !a.coordinator.status().reachable, 'the outage');
      const result = await a.coordinator.messenger.send(message(c1, m1));
      expect(result).to.deep.equal({ outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' });
      expect(messagesOf(b)).to.deep.equal([]);
    });

    it('a send to a node that does not answer is unknown after its deadline', async ({ a, b, c1, t1, m1 }) => {
      await connect(b, c1, t1);
      await cut('node-b');
      const result = await a.coordinator.messenger.send({ ...message(c1, m1), deadline: 50 });
      expect(result).to.deep.equal({ outcome: 'unknown', nodeId: 'node-b' });
    });

    it('a node that does not answer is missing in the presence', async ({ a, c1, t1, news }) => {
      await connect(a, c1, t1);
      await a.coordinator.messenger.subscribe(c1, news);
      await cut('node-b');
      expect(await a.coordinator.messenger.presence(news)).to.deep.equal({
        connections: [{ connectionId: c1, nodeId: 'node-a' }],
        missing: ['node-b'],
      });
    });

    it('a node that does not answer is missing in a close, and a command to it is unknown', async ({
      a,
      b,
      c1,
      c2,
      t1,
      t2,
      news,
    }) => {
      await connect(a, c1, t1);
      await connect(b, c2, t2);
      await cut('node-b');
      const { messenger } = a.coordinator;
      const answers = await Promise.all([
        messenger.close(c2, 'kicked'),
        messenger.subscribe(c2, news),
        messenger.unsubscribe(c2, news),
        messenger.closeAll('kicked'),
      ]);
      expect(answers).to.deep.equal([
        { closed: 0, missing: ['node-b'] },
        { outcome: 'unknown' },
        { outcome: 'unknown' },
        { closed: 1, missing: ['node-b'] },
      ]);
    });

    it('is over once it is healed', async ({ a, c1, t1 }) => {
      await cut('node-a');
      await until(() => !a.coordinator.status().reachable, 'the outage');
      await heal('node-a');
      await until(() => a.coordinator.status().reachable, 'the end of the outage');
      expect(await register(a, c1, t1)).to.include({ outcome: 'registered' });
    });

    it('kept entries that were published meanwhile arrive afterwards, once and in order', async ({ a, b, news }) => {
      await subscribeAll([a, b], news);
      await publishAll(b, [news]);
      await until(() => a.listener.publications.length === 1, 'the first publication');
      await cut('node-a');
      const cursors = await publishAll(b, [news, undefined, news]);
      await heal('node-a');
      await until(() => a.listener.publications.length >= 4, 'what was missed');
      await settled(b, a);
      const missed = a.listener.publications.slice(1, 4);
      expect(missed.map(({ topic }) => topic)).to.deep.equal([news, undefined, news]);
      expect(missed.map(({ frame }) => frame.position?.sequence)).to.deep.equal(
        cursors.map(({ sequence }) => sequence),
      );
      expect(a.listener.publications).to.have.length(4);
    });

    it('a takeover during the outage is reported afterwards, once', async ({
      a,
      b,
      c1,
      c2,
      t1,
      t2,
      t9,
      takeoversAt,
    }) => {
      await connect(a, c1, t1);
      await connect(a, c2, t2);
      await cut('node-a');
      await register(b, c1, t9);
      await heal('node-a');
      await until(() => takeoversAt(a).length > 0, 'the notification of the takeover');
      await until(() => a.coordinator.status().reachable, 'the end of the outage');
      await settled(a, b);
      expect(takeoversAt(a)).to.deep.equal([{ connectionId: c1, token: t1 }]);
      expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
      expect(await b.coordinator.routes.locate(c2)).to.include({ nodeId: 'node-a' });
    });

    it('the route of a connection that ended meanwhile goes afterwards', async ({ a, b, c1, t1 }) => {
      await connect(a, c1, t1);
      await cut('node-a');
      await until(() => !a.coordinator.status().reachable, 'the outage');
      a.listener.opening.clear();
      a.listener.connections.delete(c1);
      expect(await codeOf(a.coordinator.routes.unregister(c1, t1))).to.equal('UNAVAILABLE');
      await heal('node-a');
      await until(async () => (await b.coordinator.routes.locate(c1)) === undefined, 'the route to go');
      expect(await b.coordinator.routes.count()).to.equal(0);
    });
  });
}
