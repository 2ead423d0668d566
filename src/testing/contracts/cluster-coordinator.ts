import type { SharedLimit } from '../../contracts/authorization.js';
import type {
  Backlog,
  ClusterCoordinator,
  Publication,
  RegistrationResult,
  ReplayPage,
  ReplayRequest,
  Retention,
} from '../../contracts/cluster.js';
import type { Cursor, Gap } from '../../contracts/events.js';
import type { ReconcileReport, ReconcileRequest } from '../../contracts/self-check.js';
import { formatCursor, isAfter } from '../../protocol/cursor.js';
import { codeOf, failureOf } from './code-of.js';
import { expect } from './expect.js';
import { RecordingListener } from './recording-listener.js';
import type { TestRunner } from './runner.js';
import { until } from './until.js';

/** Makes the nodes of a cluster. One cluster serves all tests of a contract. */
export interface ClusterFactory {
  /** A node that has not started. An id may be taken over five times within 30 s. */
  node(nodeId: string): Promise<ClusterCoordinator>;
  /** Cuts a node off from all others; no node is notified. Left out where that cannot be done. */
  cut?(nodeId: string): void | Promise<void>;
  /** Ends a cut. Does nothing for a node that is not cut off. */
  heal?(nodeId: string): void | Promise<void>;
  /** Resolves when no node renews its routes, as it does after a join and after an outage. Left out where none does. */
  quiet?(): Promise<void>;
  /** Closes all nodes and deletes the cluster. Left out where it holds nothing that must be released. */
  dispose?(): Promise<void>;
}

interface Node {
  readonly coordinator: ClusterCoordinator;
  readonly listener: RecordingListener;
}

const KEEP: Retention = { maxEntries: 100, ttl: 60_000 };
const EVERYTHING = 1000;
const CHECK: ReconcileRequest = {
  scope: 'node',
  maxRepairs: 1_000,
  settle: 20,
  sample: 200,
  notify: false,
};
/** Retention is a minimum: so many entries that some of them are trimmed by any implementation. */
const MUCH = 250;

/** The number of the present test, of all that run the contract in this process. */
const test = { present: 0 };

/** How much of the contract runs. */
export interface ContractExtent {
  /** Only the tests that are marked `core`: one for each method and each promise that depends on the topology. */
  readonly only?: 'core';
}

/** What every implementation of `ClusterCoordinator` does. */
export function clusterCoordinatorContract(
  runner: TestRunner,
  name: string,
  factory: ClusterFactory,
  { only }: ContractExtent = {},
): void {
  const { describe, before, after, beforeEach, afterEach, it: core } = runner;
  const it = only === 'core' ? omitted : core;

  async function unstarted(nodeId: string): Promise<Node> {
    return { coordinator: await factory.node(nodeId), listener: new RecordingListener() };
  }

  async function started(nodeId: string): Promise<Node> {
    const node = await unstarted(nodeId);
    await node.coordinator.start(node.listener);
    // A start does not wait for a cluster that is slow to answer.
    await until(() => node.coordinator.status().reachable, `${nodeId} to be reachable`);
    return node;
  }

  describe(`${name} as a ClusterCoordinator`, () => {
    // These two serve all tests. A test that ends a node, or counts nodes, starts another one.
    let a: Node;
    let b: Node;
    const others: Node[] = [];
    // Names that no other test uses.
    let { c1, c2, c3, t1, t2, t9, m1, m2, news, sport, key, lock } = ownNames();

    let alive: ReturnType<typeof setInterval>;

    before(async () => {
      // No timer of a coordinator keeps the process alive, and `node:test` gives up when nothing does.
      alive = setInterval(() => undefined, 60_000);
      [a, b] = await Promise.all([started('node-a'), started('node-b')]);
    });

    beforeEach(async () => {
      ({ c1, c2, c3, t1, t2, t9, m1, m2, news, sport, key, lock } = ownNames());
      // A renewal would repair what a test changes on purpose.
      await factory.quiet?.();
      await Promise.all([a, b].map(({ coordinator }) => coordinator.routes.releaseAll()));
      await settled(a, b);
      for (const { listener } of [a, b]) listener.reset();
    });

    afterEach(async () => {
      await Promise.all(others.splice(0).map(({ coordinator }) => coordinator.close()));
    });

    after(async () => {
      clearInterval(alive);
      await factory.dispose?.();
    });

    /** A node for one test. It is closed after the test. */
    async function another(nodeId: string): Promise<Node> {
      const node = await started(nodeId);
      others.push(node);
      await factory.quiet?.();
      return node;
    }

    /** The takeovers of this test's connections of which a node got a notification. */
    function takeoversAt({ listener }: Node): { connectionId: string; token: string }[] {
      return listener.superseded.filter(({ connectionId }) => [c1, c2, c3].includes(connectionId));
    }

    describe('life', () => {
      it('has a name and is reachable once it has started', () => {
        expect(a.coordinator.kind).to.match(/^\w+$/);
        expect(a.coordinator.status()).to.deep.equal({ reachable: true });
      });

      it('is not reachable, with a detail, before it has started and after it has closed', async () => {
        const { coordinator } = await unstarted('node-c');
        expect(coordinator.status().reachable).to.equal(false);
        expect(coordinator.status().detail).to.be.a('string');
        await coordinator.start(new RecordingListener());
        await coordinator.close();
        expect(coordinator.status().reachable).to.equal(false);
        expect(coordinator.status().detail).to.be.a('string');
      });

      it('a second start changes nothing', async () => {
        await connect(a, c1, t1);
        await a.coordinator.start(new RecordingListener());
        await b.coordinator.log.publish(broadcast('x'));
        await until(() => a.listener.publications.length === 1, 'the publication');
        expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
      });

      core('close releases its routes and its lease, a second one changes nothing', async () => {
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
      });

      it('after close calls its listener no more, and all but close, status and unsubscribe reject with CLOSED', async () => {
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

    describe('registration', () => {
      core('makes the node the owner, for every node', async () => {
        const result = await register(a, c1, t1);
        const route = { connectionId: c1, nodeId: 'node-a', fencingToken: fenceOf(result) };
        expect(await a.coordinator.routes.locate(c1)).to.deep.equal(route);
        expect(await b.coordinator.routes.locate(c1)).to.deep.equal(route);
      });

      it('an id that was never registered has no owner', async () => {
        expect(await a.coordinator.routes.locate(c1)).to.equal(undefined);
      });

      it('repeated with the same token answers the same and notifies no node', async () => {
        const first = await register(a, c1, t1);
        expect(await register(a, c1, t1)).to.deep.equal(first);
        expect(await register(a, c1, t1, 'reject')).to.deep.equal(first);
        await settled(a, b);
        expect(takeoversAt(a)).to.deep.equal([]);
        expect(await a.coordinator.routes.count()).to.equal(1);
      });

      core('fencing tokens grow with each registration of an id, also after it was free', async () => {
        const fencingTokens = [await register(a, c1, t1), await register(b, c1, t1), await register(a, c1, t2)];
        await a.coordinator.routes.unregister(c1, t2);
        fencingTokens.push(await register(b, c1, t2));
        const numbers = fencingTokens.map(fenceOf);
        expect(numbers).to.deep.equal([...numbers].sort((one, other) => one - other));
        expect(new Set(numbers).size).to.equal(4);
        expect(numbers[0]).to.be.greaterThan(0);
      });

      core('a takeover notifies the former owner on another node once', async () => {
        await connect(a, c1, t1);
        await register(b, c1, t9);
        await until(() => takeoversAt(a).length > 0, 'the notification of the takeover');
        await settled(a, b);
        expect(takeoversAt(a)).to.deep.equal([{ connectionId: c1, token: t1 }]);
        expect(takeoversAt(b)).to.deep.equal([]);
        expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
      });

      it('a takeover on the same node notifies that node once', async () => {
        await connect(a, c1, t1);
        await register(a, c1, t2);
        await until(() => takeoversAt(a).length > 0, 'the notification of the takeover');
        await settled(a, b);
        expect(takeoversAt(a)).to.deep.equal([{ connectionId: c1, token: t1 }]);
        expect(await a.coordinator.routes.count()).to.equal(1);
      });

      it('the same token on another node is another connection', async () => {
        await connect(a, c1, t1);
        await register(b, c1, t1);
        await until(() => takeoversAt(a).length === 1, 'the notification of the takeover');
        expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
      });

      core('rejects a duplicate when asked to and leaves its owner alone', async () => {
        await connect(a, c1, t1);
        const refused = { outcome: 'exists', nodeId: 'node-a' };
        expect(await register(b, c1, t9, 'reject')).to.deep.equal(refused);
        expect(await register(a, c1, t9, 'reject')).to.deep.equal(refused);
        await settled(a, b);
        expect(takeoversAt(a)).to.deep.equal([]);
        expect(await b.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
      });

      it('an id that is free is registered under reject as well', async () => {
        expect(await register(a, c1, t1, 'reject')).to.include({ outcome: 'registered' });
      });

      core('five takeovers within the window succeed, the sixth is a storm and changes no route', async () => {
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
      });

      core('a connection that opened earlier, without the cluster, supersedes older registrations only', async () => {
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
      });

      core('takeovers by page loads are counted apart, and the twentieth is a storm', async () => {
        const load = (n: number) =>
          a.coordinator.routes.register({ connectionId: c1, token: `l${n}`, onDuplicate: 'takeover', pageLoad: true });
        await register(a, c1, `${t1}-0`);
        for (let n = 1; n <= 5; n += 1) await register(a, c1, `${t1}-${n}`);
        for (let n = 1; n <= 19; n += 1) expect(await load(n)).to.include({ outcome: 'registered' });
        expect(await load(20)).to.deep.equal({ outcome: 'storm' });
        expect(await register(b, c1, `${t1}-6`)).to.deep.equal({ outcome: 'storm' });
      });

      it('a repeated takeover counts once', async () => {
        await register(a, c1, `${t1}-0`);
        for (let takeover = 1; takeover <= 5; takeover += 1) {
          await register(a, c1, `${t1}-${takeover}`);
          const repeated = await register(a, c1, `${t1}-${takeover}`);
          expect(repeated).to.include({ outcome: 'registered' });
        }
      });

      it('a storm of one id is none of another', async () => {
        for (let n = 0; n <= 5; n += 1) await register(a, c1, `${t1}-${n}`);
        await register(a, c2, t1);
        expect(await register(b, c2, t2)).to.include({ outcome: 'registered' });
      });
    });

    describe('limits', () => {
      const enter = ({ coordinator }: Node, id: string, limit: Omit<SharedLimit, 'name'>, more = {}) =>
        coordinator.routes.register({
          connectionId: id,
          token: `${t1}-${id}`,
          onDuplicate: 'takeover',
          limits: [{ name: `${news}/`, ...limit }],
          ...more,
        });
      const full = { outcome: 'full', name: '' };
      beforeEach(() => {
        full.name = `${news}/`;
      });

      core('a name has so many connections on all nodes, and the next one changes no route', async () => {
        for (const [node, id] of [
          [a, c1],
          [b, c2],
        ] as const)
          expect(await enter(node, id, { most: 2 })).to.include({ outcome: 'registered' });
        for (const node of [a, b]) expect(await enter(node, c3, { most: 2 })).to.deep.equal(full);
        expect(await a.coordinator.routes.locate(c3)).to.equal(undefined);
        expect(await a.coordinator.routes.count()).to.equal(2);
        expect(await register(b, c3, t2)).to.include({ outcome: 'registered' });
      });

      core('a connection that was unregistered makes room', async () => {
        await enter(a, c1, { most: 1 });
        await a.coordinator.routes.unregister(c1, `${t1}-${c1}`);
        expect(await enter(b, c2, { most: 1 })).to.include({ outcome: 'registered' });
        await b.coordinator.routes.unregister(c2, `${t1}-${c2}`);
        expect(await enter(a, c3, { most: 1 })).to.include({ outcome: 'registered' });
      });

      core('a node that left makes room', async () => {
        const c = await another('node-c');
        await enter(c, c1, { most: 1 });
        await c.coordinator.close();
        expect(await enter(b, c2, { most: 1 })).to.include({ outcome: 'registered' });
      });

      core('a takeover and a repetition need no room, and count once', async () => {
        await enter(a, c1, { most: 1 });
        expect(await enter(a, c1, { most: 1 })).to.include({ outcome: 'registered' });
        expect(await enter(b, c1, { most: 1 }, { token: t2 })).to.include({ outcome: 'registered' });
        await a.coordinator.routes.unregister(c1, `${t1}-${c1}`);
        expect(await enter(a, c2, { most: 1 })).to.deep.equal(full);
        await b.coordinator.routes.unregister(c1, t2);
        expect(await enter(a, c2, { most: 1 })).to.include({ outcome: 'registered' });
      });

      core(
        'a connection counts for each of its names, also where they are in other places than its route',
        async () => {
          const limits = ['@192.0.2.1', '@192.0.2.2'].map(name => ({ name: name + news, most: 1 }));
          expect(await enter(a, c1, {}, { limits })).to.include({ outcome: 'registered' });
          for (const limit of limits) {
            const own = { name: `${news}/`, most: 1 };
            const refused = { outcome: 'full', name: limit.name };
            expect(await enter(b, c2, {}, { limits: [own, limit] })).to.deep.equal(refused);
            expect(await b.coordinator.routes.locate(c2)).to.equal(undefined);
          }
          await a.coordinator.routes.unregister(c1, `${t1}-${c1}`);
          expect(await enter(b, c2, {}, { limits })).to.include({ outcome: 'registered' });
        },
      );

      core('a name has so many registrations within a minute', async () => {
        const perMinute = { perMinute: 2 };
        for (const node of [a, b]) {
          await enter(node, c1, perMinute, { token: t1 });
          await node.coordinator.routes.unregister(c1, t1);
        }
        const refused = { outcome: 'rate-limited', name: `${news}/` };
        expect(await enter(a, c1, perMinute)).to.deep.equal(refused);
        expect(await enter(b, c2, perMinute)).to.deep.equal(refused);
      });

      it('the cluster has so many connections', async () => {
        const room = { limits: [], maxConnections: 1 };
        expect(await enter(a, c1, {}, room)).to.include({ outcome: 'registered' });
        expect(await enter(a, c1, {}, { ...room, token: t2 })).to.include({ outcome: 'registered' });
        expect(await enter(a, c2, {}, room)).to.deep.equal({ outcome: 'full' });
        await a.coordinator.routes.unregister(c1, t2);
        expect(await enter(a, c2, {}, room)).to.include({ outcome: 'registered' });
      });
    });

    describe('release', () => {
      core('unregister removes the route, once', async () => {
        await connect(a, c1, t1);
        expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(true);
        expect(await b.coordinator.routes.locate(c1)).to.equal(undefined);
        expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(false);
      });

      core('a late unregister of a former owner changes nothing', async () => {
        await connect(a, c1, t1);
        await connect(a, c1, t2);
        expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(false);
        await connect(b, c1, t2);
        expect(await a.coordinator.routes.unregister(c1, t2)).to.equal(false);
        expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
      });

      it('unregister of an unknown id answers false', async () => {
        expect(await a.coordinator.routes.unregister(c1, t1)).to.equal(false);
      });

      core('releaseRoutes removes every route of this node and no other', async () => {
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
      core('are exact on every node', async () => {
        await connect(a, c1, t1);
        await connect(a, c2, t2);
        await connect(b, c3, t1);
        await connect(b, c1, t2);
        expect(await a.coordinator.routes.count()).to.equal(3);
        expect(await b.coordinator.routes.count()).to.equal(3);
      });

      it('of a publication are the nodes at present, as they join and leave', async () => {
        const counted = async (count: number): Promise<boolean> =>
          (await b.coordinator.log.publish({ ...broadcast('x'), retention: false })).nodes === count;
        await until(() => counted(2), 'two nodes');
        const c = await another('node-c');
        await until(() => counted(3), 'three nodes');
        await c.coordinator.close();
        await until(() => counted(2), 'two nodes again');
      });

      it('nodes are sorted by id, each with its connections, and know themselves', async () => {
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

    describe('send', () => {
      core('dispatches the message with its token to the owner, and answers the outcome', async () => {
        await connect(b, c1, t1);
        const result = await a.coordinator.messenger.send(message(c1, m1, 'data: hello\n\n'));
        expect(result).to.deep.equal({ outcome: 'delivered', nodeId: 'node-b' });
        expect(messagesOf(b)).to.deep.equal([{ connectionId: c1, token: t1, messageId: m1, text: 'data: hello\n\n' }]);
      });

      it('reaches a connection of the sending node as well', async () => {
        await connect(a, c1, t1);
        const result = await a.coordinator.messenger.send(message(c1, m1));
        expect(result).to.deep.equal({ outcome: 'delivered', nodeId: 'node-a' });
      });

      it('answers buffered', async () => {
        await connect(b, c1, t1);
        b.listener.answer = () => ({ outcome: 'buffered' });
        const result = await a.coordinator.messenger.send(message(c1, m1));
        expect(result).to.deep.equal({ outcome: 'buffered', nodeId: 'node-b' });
      });

      it('answers rejected with the code of the owner', async () => {
        await connect(b, c1, t1);
        b.listener.answer = () => ({ outcome: 'rejected', code: 'SEND_BUFFER_FULL' });
        const result = await a.coordinator.messenger.send(message(c1, m1));
        expect(result).to.deep.equal({
          outcome: 'rejected',
          code: 'SEND_BUFFER_FULL',
          nodeId: 'node-b',
        });
      });

      it('answers not-connected without a route', async () => {
        const result = await a.coordinator.messenger.send(message(c1, m1));
        expect(result).to.deep.equal({ outcome: 'not-connected' });
      });

      core('answers not-connected when the connection of the owner has closed', async () => {
        await connect(b, c1, t1);
        b.listener.answer = () => ({ outcome: 'not-connected' });
        const result = await a.coordinator.messenger.send(message(c1, m1));
        expect(result).to.deep.equal({ outcome: 'not-connected' });
      });

      it('with ack none answers routed, and the message arrives', async () => {
        await connect(b, c1, t1);
        const result = await a.coordinator.messenger.send({ ...message(c1, m1), ack: 'none' });
        expect(result).to.deep.equal({ outcome: 'routed', nodeId: 'node-b' });
        await until(() => messagesOf(b).length === 1, 'the message');
      });

      it('with ack none answers not-connected without a route', async () => {
        const result = await a.coordinator.messenger.send({ ...message(c1, m1), ack: 'none' });
        expect(result).to.deep.equal({ outcome: 'not-connected' });
      });

      it('keeps the order of one sender', async () => {
        await connect(b, c1, t1);
        const ids = Array.from({ length: 30 }, (_, n) => `${m1}-${n}`);
        await Promise.all(ids.map(id => a.coordinator.messenger.send(message(c1, id))));
        expect(messagesOf(b).map(({ messageId }) => messageId)).to.deep.equal(ids);
      });

      core('can be asked what became of it, as the nodes remember', async () => {
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

      core('goes to the new owner after a takeover', async () => {
        await connect(a, c1, t1);
        await connect(b, c1, t2);
        const result = await a.coordinator.messenger.send(message(c1, m1));
        expect(result).to.deep.equal({ outcome: 'delivered', nodeId: 'node-b' });
        expect(messagesOf(b)).to.have.length(1);
        expect(messagesOf(a)).to.deep.equal([]);
      });
    });

    describe('publish', () => {
      core('reaches every node with its id in front, and answers its cursor and the nodes', async () => {
        await listen([a, b], news);
        const result = await a.coordinator.log.publish(publication(news, 'data: x\n\n'));
        expect(result.nodes).to.equal(2);
        const cursor = cursorOf(result);
        for (const { listener } of [a, b]) {
          await until(() => listener.publications.length === 1, 'the publication');
          const [published] = listener.publications;
          expect(published?.topic).to.equal(news);
          expect(published?.text).to.equal(`id: ${formatCursor(cursor)}\ndata: x\n\n`);
          expect(published?.frame.position).to.deep.include({
            ms: cursor.ms,
            sequence: cursor.sequence,
          });
        }
      });

      it('without a topic reaches every node, subscribed or not', async () => {
        await a.coordinator.log.publish(broadcast('x'));
        await until(() => b.listener.publications.length === 1, 'the broadcast');
        expect(b.listener.publications[0]?.topic).to.equal(undefined);
        expect(b.listener.publications[0]?.frame.position).to.not.equal(undefined);
      });

      core('has one order for all nodes, which is the order of the cursors', async () => {
        await listen([a, b], news, sport);
        const topics = [news, undefined, sport];
        const results = await Promise.all(
          Array.from({ length: 45 }, (_, n) =>
            (n % 2 === 0 ? a : b).coordinator.log.publish(publication(topics[n % 3], `data: ${n}\n\n`)),
          ),
        );
        const cursors = results.map(cursorOf).sort((one, other) => (isAfter(one, other) ? 1 : -1));
        for (const { listener } of [a, b]) {
          await until(() => listener.publications.length >= 45, 'all publications');
          expect(listener.publications.map(({ frame }) => frame.position?.sequence)).to.deep.equal(
            cursors.map(({ sequence }) => sequence),
          );
        }
      });

      it('of one node arrives in the order of its calls', async () => {
        await listen([b], news);
        const texts = Array.from({ length: 20 }, (_, n) => `data: ${n}\n\n`);
        await Promise.all(texts.map(text => a.coordinator.log.publish(publication(news, text))));
        await until(() => b.listener.publications.length === 20, 'all publications');
        const arrived = b.listener.publications.map(({ text }) => text.replace(/^id: .*\n/, ''));
        expect(arrived).to.deep.equal(texts);
      });

      core('without retention has no cursor, no id, and is not kept', async () => {
        await listen([a, b], news);
        const before = await head(a);
        const result = await a.coordinator.log.publish({
          ...publication(news, 'data: x\n\n'),
          retention: false,
        });
        expect(result).to.deep.equal({ nodes: 2 });
        await until(() => b.listener.publications.length === 1, 'the publication');
        expect(b.listener.publications[0]?.text).to.equal('data: x\n\n');
        expect(b.listener.publications[0]?.frame.position).to.equal(undefined);
        const page = await replay(b, { topics: [news], after: before });
        expect(page.frames).to.deep.equal([]);
      });

      core('with a key that was used changes nothing and answers as before, on every node', async () => {
        await listen([a, b], news);
        const keyed = { ...publication(news, 'data: 1\n\n'), idempotencyKey: key };
        const first = await a.coordinator.log.publish(keyed);
        expect(await a.coordinator.log.publish(keyed)).to.deep.equal(first);
        expect(await b.coordinator.log.publish(keyed)).to.deep.equal(first);
        await settled(a, b);
        expect(b.listener.publications.filter(({ topic }) => topic === news)).to.have.length(1);
      });

      core('with a key that was used for another topic is published', async () => {
        await b.coordinator.log.subscribe(['orders', 'audit']);
        const cursors = [];
        for (const topic of ['orders', 'audit', undefined]) {
          const keyed = { ...publication('orders', 'data: 1\n\n'), topic, idempotencyKey: 'order-17' };
          cursors.push(cursorOf(await a.coordinator.log.publish(keyed)).sequence);
          await a.coordinator.log.publish({ ...keyed, retention: false, idempotencyKey: 'order-18' });
        }
        expect(new Set(cursors).size).to.equal(3);
        await until(() => b.listener.publications.length === 6, 'the publications');
      });

      it('brings its id to every node, live, and not kept as well', async () => {
        const named = { ...broadcast('x'), id: 'pub_1-A' };
        await a.coordinator.log.publish(named);
        await a.coordinator.log.publish({ ...named, retention: false });
        await a.coordinator.log.publish(broadcast('x'));
        for (const { listener } of [a, b]) {
          await until(() => listener.publications.length === 3, 'the publications');
          expect(listener.publications.map(({ id }) => id)).to.deep.equal(['pub_1-A', 'pub_1-A', undefined]);
        }
      });

      it('with different keys publishes twice', async () => {
        const one = await a.coordinator.log.publish({ ...broadcast('x'), idempotencyKey: `${key}-1` });
        const other = await a.coordinator.log.publish({ ...broadcast('x'), idempotencyKey: `${key}-2` });
        expect(cursorOf(other).sequence).to.be.greaterThan(cursorOf(one).sequence);
      });

      it('without retention and with a key that was used is not delivered again', async () => {
        const keyed: Publication = { ...broadcast('x'), retention: false, idempotencyKey: key };
        await a.coordinator.log.publish(keyed);
        await b.coordinator.log.publish(keyed);
        await settled(a, b);
        expect(b.listener.publications.filter(({ text }) => text.includes('x'))).to.have.length(1);
      });

      it('still arrives when one of two subscriptions is undone', async () => {
        await listen([b], news);
        await listen([b], news);
        b.coordinator.log.unsubscribe([news]);
        await a.coordinator.log.publish(publication(news, 'data: x\n\n'));
        await until(() => b.listener.publications.length === 1, 'the publication');
      });

      it('arrives again after all subscriptions are undone and a new one resolves', async () => {
        await listen([b], news);
        b.coordinator.log.unsubscribe([news]);
        await listen([b], news);
        await a.coordinator.log.publish(publication(news, 'data: x\n\n'));
        await until(() => b.listener.publications.length === 1, 'the publication');
      });

      it('can be subscribed to for several topics at once', async () => {
        await listen([b], news, sport);
        await a.coordinator.log.publish(publication(news, 'data: 1\n\n'));
        await a.coordinator.log.publish(publication(sport, 'data: 2\n\n'));
        await until(() => b.listener.publications.length === 2, 'both publications');
      });
    });

    describe('trace', () => {
      const TRACE = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01 a=1;b="~"';

      it('of a message reaches its owner as it is, on this node and another', async () => {
        await connect(a, c1, t1);
        await connect(b, c2, t1);
        await a.coordinator.messenger.send({ ...message(c1, m1), trace: TRACE });
        await a.coordinator.messenger.send({ ...message(c2, m2), trace: TRACE });
        expect(messagesOf(a)).to.have.length(1);
        expect(messagesOf(b)).to.have.length(1);
        for (const node of [a, b]) expect(messagesOf(node)[0]?.trace).to.equal(TRACE);
      });

      it('of a message with ack none reaches its owner', async () => {
        await connect(b, c1, t1);
        await a.coordinator.messenger.send({ ...message(c1, m1), ack: 'none', trace: TRACE });
        await until(() => messagesOf(b).length === 1, 'the message');
        expect(messagesOf(b)[0]?.trace).to.equal(TRACE);
      });

      core('of a close reaches the owner, and one that cannot be is dropped', async () => {
        for (const trace of [TRACE, undefined, 'x\n']) {
          await connect(b, c1, t1);
          expect(await a.coordinator.messenger.close(c1, 'kicked', trace)).to.deep.equal({ closed: 1, missing: [] });
        }
        await connect(b, c2, t2);
        expect(await a.coordinator.messenger.closeAll('kicked', TRACE)).to.deep.equal({ closed: 1, missing: [] });
        expect(b.listener.closeTraces).to.deep.equal([TRACE, undefined, undefined, TRACE]);
      });

      core('of a revocation reaches every node, and one that cannot be is dropped', async () => {
        const revocation = { id: 'r1', target: c1, topics: [], reason: 'gone', cut: false, ttl: 60_000, age: 5 };
        await a.coordinator.messenger.revoke(revocation, TRACE);
        await a.coordinator.messenger.revoke({ ...revocation, id: 'r2' }, 'x\n');
        for (const { listener } of [a, b]) {
          const traces = listener.revocations.map(({ id, trace }) => `${id} ${trace ?? 'none'}`);
          expect(new Set(traces)).to.deep.equal(new Set([`r1 ${TRACE}`, 'r2 none']));
        }
      });

      core('of a registration reaches the former owner', async () => {
        await connect(b, c1, t1);
        const newer = { connectionId: c1, token: t2, onDuplicate: 'takeover', trace: TRACE } as const;
        expect(await a.coordinator.routes.register(newer)).to.include({ outcome: 'registered' });
        await until(() => takeoversAt(b).length === 1, 'the notification');
        expect(takeoversAt(b)).to.deep.equal([{ connectionId: c1, token: t1, trace: TRACE }]);
      });

      core('of a publication reaches every node, kept or not, and changes nothing else', async () => {
        await listen([a, b], news);
        const kept = publication(news, 'data: 1\n\n');
        await a.coordinator.log.publish({ ...kept, trace: TRACE });
        await a.coordinator.log.publish({ ...kept, topic: undefined, trace: TRACE });
        await a.coordinator.log.publish({ ...kept, retention: false, trace: TRACE });
        for (const { listener } of [a, b]) {
          await until(() => listener.publications.length === 3, 'the publications');
          expect(listener.publications.map(({ trace }) => trace)).to.deep.equal(Array(3).fill(TRACE));
          for (const { text } of listener.publications) expect(text).to.match(/^(id: \S+\n)?data: 1\n\n$/);
        }
      });

      it('is not part of what is replayed', async () => {
        const before = await head(a);
        await a.coordinator.log.publish({ ...publication(news, 'data: 1\n\n'), trace: TRACE });
        const page = await replay(b, { topics: [news], after: before });
        expect(page.frames.map(({ bytes }) => bytes.toString())).to.have.length(1);
        expect(page.frames[0]?.bytes.toString()).to.match(/^id: \S+\ndata: 1\n\n$/);
      });

      it('may be 1,024 characters long', async () => {
        await connect(b, c1, t1);
        await a.coordinator.messenger.send({ ...message(c1, m1), trace: 't'.repeat(1024) });
        expect(messagesOf(b)[0]?.trace).to.equal('t'.repeat(1024));
      });

      for (const [what, trace] of [
        ['too long', 't'.repeat(1025)],
        ['empty', ''],
        ['of several lines', 'a\nb'],
        ['not printable', 'a\u0000b'],
        ['not ASCII', 'tracé'],
      ] as const) {
        it(`that is ${what} is dropped, and the event arrives`, async () => {
          await connect(b, c1, t1);
          await listen([b], news);
          const result = await a.coordinator.messenger.send({ ...message(c1, m1), trace });
          expect(result).to.include({ outcome: 'delivered' });
          expect(messagesOf(b)).to.have.length(1);
          expect(messagesOf(b)[0]?.trace).to.equal(undefined);
          await a.coordinator.log.publish({ ...publication(news, 'data: x\n\n'), trace });
          await until(() => b.listener.publications.length === 1, 'the publication');
          expect(b.listener.publications[0]?.trace).to.equal(undefined);
        });
      }
    });

    describe('replay', () => {
      it('without a cursor answers the head and nothing else', async () => {
        await a.coordinator.log.publish(publication(news, 'data: 1\n\n'));
        const page = await replay(b, { topics: [news] });
        expect(page.frames).to.deep.equal([]);
        expect(page.gap).to.equal(undefined);
        expect(page.completeTo).to.include({ ms: page.head.ms, sequence: page.head.sequence });
      });

      it('the head is the newest entry, for every node', async () => {
        const { cursor } = await a.coordinator.log.publish(broadcast('x'));
        expect(await head(a)).to.deep.equal(cursor);
        expect(await head(b)).to.deep.equal(cursor);
      });

      core('answers the entries after the cursor, of the requested topics and broadcasts, in order', async () => {
        const start = await head(a);
        await publishAll(a, [news, sport, undefined, news, `${news}-other`]);
        const page = await replay(b, { topics: [news, sport], after: start });
        expect(texts(page)).to.deep.equal(['0', '1', '2', '3']);
        expect(page.gap).to.equal(undefined);
        expect(page.completeTo).to.deep.include({ sequence: page.head.sequence });
      });

      it('answers the frames that were delivered', async () => {
        const start = await head(a);
        await a.coordinator.log.publish(broadcast('x'));
        await until(() => b.listener.publications.length === 1, 'the broadcast');
        const page = await replay(a, { topics: [], after: start });
        expect(page.frames[0]?.bytes.toString()).to.equal(b.listener.publications[0]?.text);
        expect(page.frames[0]?.position).to.deep.equal(b.listener.publications[0]?.frame.position);
      });

      it('begins behind the cursor, not at it', async () => {
        const [first] = await publishAll(a, [news, news, news]);
        expect(texts(await replay(a, { topics: [news], after: first }))).to.deep.equal(['1', '2']);
      });

      it('at the head answers nothing', async () => {
        await publishAll(a, [news]);
        const page = await replay(a, { topics: [news], after: await head(a) });
        expect(page.frames).to.deep.equal([]);
        expect(page.gap).to.equal(undefined);
      });

      it('answers a gap and no entry for what a client may have missed that opened without the cluster', async () => {
        await listen([b], 'news', 'sport');
        await publishAll(a, ['news', 'sport']);
        await until(async () => isSame(b.coordinator.log.lastPosition(), await head(a)), 'the newest entry');
        const opened = { openedAt: performance.now(), seen: b.coordinator.log.lastPosition() };
        const nothing = await replay(b, { topics: ['news', 'sport'], opened });
        expect([nothing.frames, nothing.gap]).to.deep.equal([[], undefined]);
        await publishAll(a, ['sport', 'other']);
        const page = await replay(b, { topics: ['news', 'sport'], opened });
        expect(page.frames).to.deep.equal([]);
        expect(page.gap?.reason).to.equal('GAP');
        expect([...(page.gap?.topics?.keys() ?? [])]).to.deep.equal(['sport']);
        expect(page.gap?.resumedFrom).to.deep.include({ sequence: page.head.sequence });
      });

      core('of a topic that is followed since a position has nothing before it, entry or gap', async () => {
        const few = { maxEntries: 1, ttl: 60_000 };
        const [start] = await publishAll(a, [sport]);
        const entries = await publishAll(a, [news, sport, news, sport, news]);
        const since = (cursor: Cursor | undefined) => new Map(cursor && [[news, cursor]]);
        const page = await replay(b, { topics: [news, sport], after: start, since: since(entries[2]) });
        expect([texts(page), page.gap]).to.deep.equal([['1', '3', '4'], undefined]);
        const older = await replay(b, { topics: [news, sport], after: entries[3], since: since(entries[2]) });
        expect(texts(older)).to.deep.equal(['4']);
        const trimmed = await publishAll(
          a,
          Array.from({ length: MUCH }, () => news),
          few,
        );
        const gapSince = async (at: Cursor | undefined) =>
          (await replay(b, { topics: [news], after: start, since: since(at) })).gap;
        expect((await gapSince(entries[4]))?.reason).to.equal('GAP');
        expect(await gapSince(trimmed.at(-1))).to.equal(undefined);
      });

      it('has nothing of a topic that was forgotten but a gap, and everything published afterwards', async () => {
        const [start] = await publishAll(a, [sport, news, news]);
        expect(await a.coordinator.log.kept(news)).to.equal(2);
        await b.coordinator.log.forget(news);
        expect(await a.coordinator.log.kept(news)).to.equal(0);
        const page = await replay(b, { topics: [news], after: start });
        expect(texts(page)).to.deep.equal([]);
        expect([...(page.gap?.topics?.keys() ?? [])]).to.deep.equal([news]);
        const { head: end } = page;
        await publishAll(a, [news]);
        const later = await replay(b, { topics: [news], after: end });
        expect([texts(later), later.gap]).to.deep.equal([['0'], undefined]);
      });

      it('a topic that is named twice is replayed once', async () => {
        const start = await head(a);
        await publishAll(a, [news]);
        const page = await replay(a, { topics: [news, news], after: start });
        expect(texts(page)).to.deep.equal(['0']);
      });

      core('pages cover everything once and in order, the last one reaches the head', async () => {
        const start = await head(a);
        await publishAll(
          a,
          Array.from({ length: 25 }, (_, n) => [news, sport, undefined][n % 3]),
        );
        const pages: ReplayPage[] = [];
        let after: Cursor = start;
        for (;;) {
          const page = await replay(b, { topics: [sport, news], after, limit: 7 });
          pages.push(page);
          expect(page.frames.length).to.be.at.most(7);
          expect(page.gap).to.equal(undefined);
          if (!isAfter(page.head, page.completeTo)) break;
          after = { epoch: page.head.epoch, ...page.completeTo };
        }
        expect(pages.flatMap(texts)).to.deep.equal(Array.from({ length: 25 }, (_, n) => `${n}`));
      });

      it('pages end at the head, none of them empty', async () => {
        const start = await head(a);
        await publishAll(a, [news, news, news]);
        const found: string[] = [];
        for (let after: Cursor = start; ;) {
          const page = await replay(a, { topics: [news], after, limit: 3 });
          expect(page.frames.length).to.be.within(1, 3);
          found.push(...texts(page));
          if (!isAfter(page.head, page.completeTo)) break;
          after = { epoch: page.head.epoch, ...page.completeTo };
        }
        expect(found).to.deep.equal(['0', '1', '2']);
      });

      core('reports a gap when much more was published than is kept, and answers the rest', async () => {
        const retention = { maxEntries: 3, ttl: 60_000 };
        const [first] = await publishAll(a, Array<string>(MUCH).fill(news), retention);
        const page = await replay(b, { topics: [news, sport], after: first });
        expect(gapIn(page)).to.deep.equal({ reason: 'GAP', topics: [news] });
        expect(texts(page).length).to.be.within(3, MUCH - 2);
        expect(texts(page)).to.deep.equal(numbersUpTo(MUCH).slice(-texts(page).length));
      });

      it('reports a gap of broadcast entries for any topics', async () => {
        const retention = { maxEntries: 2, ttl: 60_000 };
        const [first] = await publishAll(a, Array<undefined>(MUCH).fill(undefined), retention);
        const page = await replay(a, { topics: [], after: first });
        // A node may still have what it has delivered.
        const isWhole = texts(page)[0] === '1';
        expect(page.gap?.reason).to.equal(isWhole ? undefined : 'GAP');
        const end = isWhole ? 1 + texts(page).length : MUCH;
        expect(texts(page)).to.deep.equal(numbersUpTo(MUCH).slice(end - texts(page).length, end));
      });

      it('leaves broadcasts out when they are not wanted', async () => {
        const start = await head(a);
        await publishAll(a, [news, undefined, news]);
        const page = await replay(b, { topics: [news], after: start, broadcasts: false });
        expect(texts(page)).to.deep.equal(['0', '2']);
      });

      it('reports a gap when entries are too old', async () => {
        const start = await head(a);
        await publishAll(a, [news], { maxEntries: 100, ttl: 20 });
        const look = (): Promise<ReplayPage> => replay(b, { topics: [news], after: start });
        await until(async () => (await look()).gap !== undefined, 'the gap');
        const page = await look();
        expect(gapIn(page)).to.deep.equal({ reason: 'GAP', topics: [news] });
        expect(page.frames).to.deep.equal([]);
      });

      it('reports no gap to a client that has every trimmed entry', async () => {
        const retention = { maxEntries: 2, ttl: 60_000 };
        const cursors = await publishAll(a, Array<string>(5).fill(news), retention);
        const page = await replay(a, { topics: [news], after: cursors[2] });
        expect(page.gap).to.equal(undefined);
        expect(texts(page)).to.deep.equal(['3', '4']);
      });

      it('reports no gap because of topics that the request does not name', async () => {
        const start = await head(a);
        await publishAll(a, Array<string>(5).fill(sport), { maxEntries: 1, ttl: 60_000 });
        await publishAll(a, [news]);
        const page = await replay(a, { topics: [news, `${news}-never`], after: start });
        expect(page.gap).to.equal(undefined);
        expect(texts(page)).to.deep.equal(['0']);
      });

      it('reports that the cursor is of another epoch, and answers every kept entry', async () => {
        await publishAll(a, [news, sport, undefined]);
        const page = await replay(a, {
          topics: [news],
          after: { epoch: 'other', ms: Date.now(), sequence: 1 },
        });
        expect(gapIn(page)).to.deep.equal({ reason: 'EPOCH', topics: undefined });
        expect(texts(page)).to.deep.equal(['0', '2']);
      });

      it('reports that the cursor is newer than the log', async () => {
        await publishAll(a, [news]);
        const newest = await head(a);
        for (const after of [
          { ...newest, ms: newest.ms + 10_000_000 },
          { ...newest, sequence: newest.sequence + 1 },
        ]) {
          const page = await replay(a, { topics: [news], after });
          expect(gapIn(page)).to.deep.equal({ reason: 'AHEAD', topics: undefined });
          expect(texts(page)).to.deep.equal(['0']);
        }
      });
    });

    describe('a backlog', () => {
      const backlog = (topics: readonly string[], most: Backlog): Promise<ReplayPage> =>
        replay(b, { topics, backlog: { topics, most } });

      core(
        'has the newest entries of its topics together, in order, up to the head, without gap or broadcast',
        async () => {
          const cursors = await publishAll(a, [news, sport, news, undefined, sport, news, `${news}-other`]);
          const page = await backlog([news, sport], 3);
          expect(texts(page)).to.deep.equal(['2', '4', '5']);
          expect(page.gap).to.equal(undefined);
          expect(page.head).to.deep.equal(cursors.at(-1));
          expect(page.completeTo).to.include({ ms: page.head.ms, sequence: page.head.sequence });
          expect(page.frames.map(({ position }) => position)).to.deep.equal([2, 4, 5].map(n => cursors[n]));
          expect(texts(await backlog([news, sport], 1000))).to.deep.equal(['0', '1', '2', '4', '5']);
        },
      );

      core("'latest' has the newest entry of each topic", async () => {
        await publishAll(a, [news, sport, news, sport, news]);
        expect(texts(await backlog([news, sport, `${news}-never`, news], 'latest'))).to.deep.equal(['3', '4']);
      });

      it('has what is kept, and nothing of a topic that has nothing', async () => {
        await publishAll(a, [sport, ...Array<string>(MUCH).fill(news)], { maxEntries: 3, ttl: 60_000 });
        const kept = texts(await backlog([news], 1000));
        expect(kept.length).to.be.within(3, MUCH - 1);
        expect(kept).to.deep.equal(numbersUpTo(MUCH + 1).slice(-kept.length));
        expect((await backlog([`${news}-never`], 5)).frames).to.deep.equal([]);
        await a.coordinator.log.forget(sport);
        expect((await backlog([sport], 'latest')).frames).to.deep.equal([]);
      });

      it('is the newest of many topics and of many entries', async () => {
        const topics = Array.from({ length: 70 }, (_, n) => `${news}-${n}`);
        await publishAll(a, [...topics, ...topics.slice(0, 10), ...topics.slice(60)]);
        expect(texts(await backlog(topics, 25))).to.deep.equal(numbersUpTo(90).slice(-25));
        const latest = [...numbersUpTo(60).slice(10), ...numbersUpTo(90).slice(70)];
        expect(texts(await backlog(topics, 'latest'))).to.deep.equal(latest);
        expect(texts(await backlog(topics, 1000))).to.deep.equal(numbersUpTo(90));
      });

      it('has at most the bytes of a page, the newest ones, but at least one entry', async () => {
        const size = 100_000;
        const publish = (topic: string, bytes: number) =>
          a.coordinator.log.publish(publication(topic, `data: ${'x'.repeat(bytes)}\n\n`));
        for (const topic of [news, sport, news, sport]) await publish(topic, size);
        const last = await publish(news, size);
        const { frames } = await backlog([news, sport], 1000);
        expect(frames.length).to.be.within(2, 3);
        expect(frames.at(-1)?.position).to.deep.equal(last.cursor);
        await publish(news, 300_000);
        expect((await backlog([news, sport], 10)).frames).to.have.length(1);
        const many = Array.from({ length: 40 }, (_, n) => `${news}-${n}`);
        const [first = news] = many;
        for (const topic of [first, first, first]) await publish(topic, size);
        await Promise.all(many.slice(32).map(topic => publish(topic, 20_000)));
        await Promise.all(many.slice(0, 32).map(topic => publish(topic, 1_000)));
        expect((await backlog(many, 1000)).frames).to.have.length(40);
      });

      it('that many ask for at once is the same for all, and ends at the head of each', async () => {
        await publishAll(a, [news, news, news]);
        const asked = Array.from({ length: 20 }, () => backlog([news], 2));
        const result = await a.coordinator.log.publish(broadcast('x'));
        for (const page of await Promise.all(asked)) {
          expect(texts(page)).to.deep.equal(['1', '2']);
          expect(page.head.sequence).to.be.within(cursorOf(result).sequence - 1, cursorOf(result).sequence);
        }
      });
    });

    describe('memory of subscriptions', () => {
      const remember = ({ coordinator }: Node, topic: string, change: 'add' | 'keep' | 'drop', ttl = 60_000) =>
        coordinator.log.remember({ connectionId: c1, topic, change, limit: 2, ttl });
      const recalled = async ({ coordinator }: Node) => Object.fromEntries(await coordinator.log.recall(c1, 60_000));
      const dropped = { kind: 'dropped' };

      core('is the same on every node, each topic since the head when it began', async () => {
        const [first, second] = await publishAll(a, [news, sport]);
        expect(await remember(a, news, 'add')).to.equal(true);
        await publishAll(a, [news]);
        expect(await remember(b, news, 'keep')).to.equal(true);
        const followed = { kind: 'followed', since: second };
        expect(first).to.not.deep.equal(second);
        expect(await recalled(b)).to.deep.equal({ [news]: followed });
        expect(await recalled(a)).to.deep.equal({ [news]: followed });
      });

      core('has nothing of an id whose client begins anew', async () => {
        await remember(a, news, 'add');
        await replay(b, { topics: [] });
        expect(await recalled(a)).to.have.property(news);
        await replay(b, { topics: [], forgets: c1 });
        expect(await recalled(a)).to.deep.equal({});
        await remember(a, news, 'add');
        const opened = { openedAt: performance.now(), seen: undefined };
        await replay(b, { topics: [], opened, forgets: c1 });
        expect(await recalled(a)).to.deep.equal({});
      });

      it('has nothing of an added topic that was dropped, and else that it was', async () => {
        await remember(a, news, 'add');
        await remember(a, news, 'drop');
        await remember(a, sport, 'drop');
        expect(await recalled(b)).to.deep.equal({ [sport]: dropped });
        await remember(a, sport, 'add');
        expect((await recalled(b))[sport]?.kind).to.equal('followed');
        await remember(a, sport, 'drop');
        await remember(a, news, 'keep');
        await remember(a, news, 'drop');
        expect(await recalled(b)).to.deep.equal({ [sport]: dropped, [news]: dropped });
      });

      it('has at most so many topics of one id', async () => {
        expect(await remember(a, news, 'add')).to.equal(true);
        expect(await remember(a, sport, 'drop')).to.equal(true);
        for (const change of ['add', 'keep', 'drop'] as const) {
          expect(await remember(a, `${news}-2`, change)).to.equal(false);
        }
        expect(await remember(a, news, 'keep')).to.equal(true);
        expect(Object.keys(await recalled(a))).to.have.members([news, sport]);
      });

      it('ends after its time, which a question prolongs', async () => {
        await remember(a, news, 'add', 20);
        await until(async () => (await b.coordinator.log.recall(c1, 1)).size === 0, 'the end of the memory');
        await remember(a, news, 'add', 5_000);
        await recalled(b);
        await remember(a, sport, 'add', 60_000);
        expect(Object.keys(await recalled(b))).to.have.members([news, sport]);
      });
    });

    describe('control', () => {
      core('closes a connection at its owner, on another node and on its own', async () => {
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

      it('closes nothing when there is no connection to close', async () => {
        expect(await a.coordinator.messenger.close(c1, 'kicked')).to.deep.equal({ closed: 0, missing: [] });
        await register(b, c1, t1);
        expect(await a.coordinator.messenger.close(c1, 'kicked')).to.deep.equal({ closed: 0, missing: [] });
      });

      core('asks the owner whether a connection has reached a position, on another node and on its own', async () => {
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
        expect(await b.coordinator.messenger.hasReached(c1, position)).to.include({
          outcome: 'buffered',
        });
        a.listener.reached = undefined;
        expect(await b.coordinator.messenger.hasReached(c1, position)).to.equal(undefined);
      });

      core('brings the report of a client to its node, and the answer to a node that waits for it', async () => {
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
      });

      it('an unknown connection has reached no position', async () => {
        expect(await a.coordinator.messenger.hasReached(c1, { ms: 1, sequence: 1 })).to.equal(undefined);
      });

      core('gives a lock to one holder at a time, which prolongs it by acquiring it again in time', async () => {
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
      });

      core('closes all connections of all nodes', async () => {
        await connect(a, 'c1', 't1');
        await connect(b, 'c2', 't2');
        await connect(b, 'c3', 't3');
        expect(await a.coordinator.messenger.closeAll('maintenance')).to.deep.equal({ closed: 3, missing: [] });
        for (const { listener } of [a, b]) {
          await until(() => listener.closedAll.length > 0, 'the command');
          expect(listener.closedAll).to.deep.equal(['maintenance']);
        }
      });

      core('carries a revocation out on all nodes', async () => {
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

      core('subscribes and unsubscribes a connection at its owner', async () => {
        await connect(b, c1, t1);
        expect(await a.coordinator.messenger.subscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
        expect(b.listener.onPresence(news)).to.deep.equal([c1]);
        expect(await a.coordinator.messenger.unsubscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
        expect(b.listener.onPresence(news)).to.deep.equal([]);
        expect(await b.coordinator.messenger.subscribe(c1, sport)).to.deep.equal({ outcome: 'delivered' });
      });

      it('answers not-connected when there is no connection to subscribe', async () => {
        const none = { outcome: 'not-connected' };
        expect(await a.coordinator.messenger.subscribe(c1, news)).to.deep.equal(none);
        expect(await a.coordinator.messenger.unsubscribe(c1, news)).to.deep.equal(none);
      });

      core('ends a source on the node that runs it', async () => {
        const ran = { outcome: 'delivered' };
        b.listener.sources.add('one').add('two');
        a.listener.sources.add('three');
        for (const source of ['one', 'three']) {
          expect(await a.coordinator.messenger.endSource(source)).to.deep.equal(ran);
        }
        expect(await a.coordinator.messenger.endSource('four')).to.deep.equal({ outcome: 'not-connected' });
        expect([...a.listener.sources, ...b.listener.sources]).to.deep.equal(['two']);
      });

      core('lists the subscribed connections of every node', async () => {
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

      it('an unknown topic has no subscribed connections', async () => {
        const nobody = { connections: [], missing: [] };
        expect(await a.coordinator.messenger.presence(news)).to.deep.equal(nobody);
      });
    });

    describe('self-check', () => {
      it('finds nothing where all is well', async () => {
        await connect(a, c1, t1);
        await connect(b, c2, t1);
        const report = await reconcile(a, CHECK);
        expect(report).to.deep.include({ checked: 2, found: {}, repairs: {}, findings: [] });
        expect(report.unknown).to.equal(undefined);
      });

      it('leaves the route of a connection alone that still opens', async () => {
        await register(a, c1, t1);
        expect((await reconcile(a, CHECK)).findings).to.deep.equal([]);
        expect(await b.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
      });

      core('restores the route of a connection that has none', async () => {
        await connect(a, c1, t1);
        await a.coordinator.routes.unregister(c1, t1);
        const { findings } = await reconcile(a, CHECK);
        const finding = { kind: 'missing-route', connectionId: c1, repaired: true };
        expect(findings).to.deep.equal([finding]);
        expect(await b.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
        expect((await reconcile(a, CHECK)).findings).to.deep.equal([]);
      });

      core('removes the route of a connection that is not there', async () => {
        await connect(a, c1, t1);
        a.listener.connections.delete(c1);
        const { found, repairs } = await reconcile(a, CHECK);
        expect([found, repairs]).to.deep.equal([{ ghost: 1 }, { ghost: 1 }]);
        expect(await b.coordinator.routes.locate(c1)).to.equal(undefined);
      });

      it('corrects a route that names an earlier connection of the same id', async () => {
        await connect(a, c1, t1);
        a.listener.connections.set(c1, t2);
        expect((await reconcile(a, CHECK)).repairs).to.deep.equal({ 'wrong-token': 1 });
        expect(await b.coordinator.routes.unregister(c1, t2)).to.equal(false);
        expect(await a.coordinator.routes.unregister(c1, t2)).to.equal(true);
      });

      core('closes a connection whose id another node owns', async () => {
        await connect(a, c1, t1);
        await connect(b, c1, t2);
        await until(() => takeoversAt(a).length === 1, 'the notification of the takeover');
        a.listener.connections.set(c1, t1);
        expect((await reconcile(a, CHECK)).repairs).to.deep.equal({ 'foreign-route': 1 });
        expect(a.listener.connections.has(c1)).to.equal(false);
        expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-b' });
      });

      it('repairs nothing when it only compares, and no more than its limit', async () => {
        for (const id of [c1, c2, c3]) await connect(a, id, `t-${id}`);
        a.listener.connections.clear();
        const seen = await reconcile(a, { ...CHECK, maxRepairs: 0 });
        expect([seen.found, seen.repairs]).to.deep.equal([{ ghost: 3 }, {}]);
        expect(await b.coordinator.routes.count()).to.equal(3);
        expect((await reconcile(a, { ...CHECK, maxRepairs: 2 })).repairs).to.deep.equal({
          ghost: 2,
        });
        expect(await b.coordinator.routes.count()).to.equal(1);
      });

      it('reports no difference that ends before it has lasted', async () => {
        await connect(a, c1, t1);
        a.listener.connections.delete(c1);
        const checked = reconcile(a, { ...CHECK, settle: 100 });
        setTimeout(() => a.listener.connections.set(c1, t1), 50);
        expect((await checked).findings).to.deep.equal([]);
        expect(await a.coordinator.routes.locate(c1)).to.include({ nodeId: 'node-a' });
      });

      core('notifies the other nodes of a repair when asked to, and of nothing else', async () => {
        await connect(a, c1, t1);
        await reconcile(a, { ...CHECK, notify: true });
        a.listener.connections.delete(c1);
        await reconcile(a, { ...CHECK, maxRepairs: 0, notify: true });
        expect(b.listener.syncs).to.equal(0);
        await reconcile(a, { ...CHECK, notify: true });
        await until(() => b.listener.syncs === 1, 'the notification of the repair');
      });

      it('comparing the routes of all nodes finds nothing where all is well', async () => {
        await connect(b, c1, t1);
        const report = await reconcile(a, { ...CHECK, scope: 'cluster' });
        expect(report.findings).to.deep.equal([]);
      });
    });

    if (factory.cut === undefined || factory.heal === undefined) return;
    const cut = factory.cut.bind(factory);
    const heal = factory.heal.bind(factory);

    describe('in an outage', () => {
      afterEach(async () => {
        for (const [nodeId, { coordinator }] of Object.entries({ 'node-a': a, 'node-b': b })) {
          await heal(nodeId);
          // The broken connections of the outage answer no call, so a call that succeeds went over new ones.
          await until(async () => (await codeOf(coordinator.routes.locate(c1))) === undefined, 'an answer');
          await until(() => coordinator.status().reachable, 'the end of the outage');
        }
      });

      it('every method but send, unsubscribe and status rejects with UNAVAILABLE and had no effect', async () => {
        await cut('node-a');
        await until(() => !a.coordinator.status().reachable, 'the outage');
        expect(a.coordinator.status().detail).to.be.a('string');
        for (const call of everyCall(a.coordinator)) {
          const error = await failureOf(call);
          expect(error).to.include({ code: 'UNAVAILABLE', noEffect: 'CLUSTER_UNREACHABLE' });
        }
        a.coordinator.log.unsubscribe([news]);
      });

      it('a send of the node that is cut off answers unavailable', async () => {
        await connect(b, c1, t1);
        await cut('node-a');
        await until(() => !a.coordinator.status().reachable, 'the outage');
        const result = await a.coordinator.messenger.send(message(c1, m1));
        expect(result).to.deep.equal({ outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' });
        expect(messagesOf(b)).to.deep.equal([]);
      });

      it('a send to a node that does not answer is unknown after its deadline', async () => {
        await connect(b, c1, t1);
        await cut('node-b');
        const result = await a.coordinator.messenger.send({ ...message(c1, m1), deadline: 50 });
        expect(result).to.deep.equal({ outcome: 'unknown', nodeId: 'node-b' });
      });

      it('a node that does not answer is missing in the presence', async () => {
        await connect(a, c1, t1);
        await a.coordinator.messenger.subscribe(c1, news);
        await cut('node-b');
        expect(await a.coordinator.messenger.presence(news)).to.deep.equal({
          connections: [{ connectionId: c1, nodeId: 'node-a' }],
          missing: ['node-b'],
        });
      });

      it('a node that does not answer is missing in a close, and a command to it is unknown', async () => {
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

      it('is over once it is healed', async () => {
        await cut('node-a');
        await until(() => !a.coordinator.status().reachable, 'the outage');
        await heal('node-a');
        await until(() => a.coordinator.status().reachable, 'the end of the outage');
        expect(await register(a, c1, t1)).to.include({ outcome: 'registered' });
      });

      it('kept entries that were published meanwhile arrive afterwards, once and in order', async () => {
        await listen([a, b], news);
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

      it('a takeover during the outage is reported afterwards, once', async () => {
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

      it('the route of a connection that ended meanwhile goes afterwards', async () => {
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
  });
}

/** Stands for mocha's `it` where a test is left out. */
function omitted(): void {
  // Its promise does not depend on the topology.
}

/** Begins a test: names that no other test uses, for its connections, tokens, messages, topics, key and lock. */
function ownNames() {
  test.present += 1;
  const own = (name: string): string => `${name}.${test.present}`;
  return {
    c1: own('c1'),
    c2: own('c2'),
    c3: own('c3'),
    t1: own('t1'),
    t2: own('t2'),
    t9: own('t9'),
    m1: own('m1'),
    m2: own('m2'),
    news: own('news'),
    sport: own('sport'),
    key: own('key'),
    lock: own('lock'),
  };
}

/** Registers a connection that is still opening. */
function register(
  { coordinator, listener }: Node,
  connectionId: string,
  token: string,
  onDuplicate: 'takeover' | 'reject' = 'takeover',
): Promise<RegistrationResult> {
  listener.opening.add(`${connectionId} ${token}`);
  return coordinator.routes.register({ connectionId, token, onDuplicate });
}

/** Registers a connection that the node has from then on. */
async function connect(node: Node, connectionId: string, token: string): Promise<void> {
  node.listener.connections.set(connectionId, token);
  await register(node, connectionId, token);
  node.listener.opening.delete(`${connectionId} ${token}`);
}

/** What the connections of a node got. A coordinator may repeat a message; a connection ignores an id that it had before. */
function messagesOf({ listener }: Node): RecordingListener['messages'] {
  const ids = listener.messages.map(({ messageId }) => messageId);
  return listener.messages.filter(({ messageId }, n) => ids.indexOf(messageId) === n);
}

async function names({ coordinator }: Node): Promise<string[]> {
  return (await coordinator.routes.nodes()).map(({ nodeId }) => nodeId);
}

async function listen(nodes: readonly Node[], ...topics: string[]): Promise<void> {
  for (const { coordinator } of nodes) await coordinator.log.subscribe(topics);
}

/** Resolves when what was under way to these nodes has arrived: commands and events come in the order of their cause. */
async function settled(...nodes: readonly Node[]): Promise<void> {
  const marker = `data: settled ${Math.random()}\n\n`;
  for (const { coordinator } of nodes) {
    // After an outage a node may catch up with the log before its other connection is back.
    await until(() => coordinator.status().reachable, 'the node to reach the cluster');
    await coordinator.log.publish({
      topic: undefined,
      body: Buffer.from(marker),
      retention: false,
    });
  }
  for (const { listener } of nodes) {
    await until(
      () => listener.publications.filter(({ text }) => text === marker).length === nodes.length,
      'the marker',
    );
    const others = listener.publications.filter(({ text }) => text !== marker);
    listener.publications.splice(0, Infinity, ...others);
  }
}

function publication(topic: string | undefined, text: string, retention: Retention = KEEP): Publication {
  return { topic, body: Buffer.from(text), retention };
}

function broadcast(text: string): Publication {
  return publication(undefined, `data: ${text}\n\n`);
}

/** Publishes `0`, `1`, … of this test to these topics. */
async function publishAll(
  { coordinator }: Node,
  topics: readonly (string | undefined)[],
  retention: Retention = KEEP,
): Promise<Cursor[]> {
  const cursors: Cursor[] = [];
  for (const [n, topic] of topics.entries()) {
    const result = await coordinator.log.publish(publication(topic, `data: ${test.present} ${n}\n\n`, retention));
    cursors.push(cursorOf(result));
  }
  return cursors;
}

function isSame(position: Cursor | undefined, other: Cursor): boolean {
  return position?.ms === other.ms && position.sequence === other.sequence;
}

async function head(node: Node): Promise<Cursor> {
  return (await replay(node, { topics: [] })).head;
}

/** For coordinators with a self-check. */
async function reconcile({ coordinator }: Node, request: ReconcileRequest): Promise<ReconcileReport> {
  if (coordinator.selfCheck === undefined) throw new Error('there is no self-check');
  return coordinator.selfCheck.reconcile(request);
}

function replay(
  { coordinator }: Node,
  request: Omit<ReplayRequest, 'limit' | 'after'> & {
    readonly limit?: number;
    readonly after?: Cursor | undefined;
  },
): Promise<ReplayPage> {
  const { after, limit = EVERYTHING, ...rest } = request;
  return coordinator.log.replay({ ...rest, limit, ...(after === undefined ? {} : { after }) });
}

/** The numbers of {@link publishAll} in a page. The log also keeps the broadcasts of other tests. */
function texts({ frames }: ReplayPage): string[] {
  return frames
    .map(({ bytes }) => /data: (\d+) (\d+)/.exec(bytes.toString()))
    .flatMap(found => (found?.[1] === `${test.present}` ? [found[2] ?? ''] : []));
}

function numbersUpTo(count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${n}`);
}

function message(connectionId: string, messageId: string, text = 'data: x\n\n') {
  const frame = { bytes: Buffer.from(text) };
  return { connectionId, messageId, frame, ack: 'owner' as const, deadline: 3000 };
}

function fenceOf(result: RegistrationResult): number {
  if (result.outcome !== 'registered') throw new Error(`not registered but ${result.outcome}`);
  return result.fencingToken;
}

function cursorOf({ cursor }: { readonly cursor?: Cursor }): Cursor {
  if (cursor === undefined) throw new Error('not kept');
  return cursor;
}

/** One call of each method that has no rule of its own. */
function everyCall(coordinator: ClusterCoordinator): Promise<unknown>[] {
  return [
    coordinator.routes.register({ connectionId: 'c', token: 't', onDuplicate: 'takeover' }),
    coordinator.routes.unregister('c', 't'),
    coordinator.routes.releaseAll(),
    coordinator.routes.locate('c'),
    coordinator.routes.count(),
    coordinator.routes.nodes(),
    coordinator.log.publish(publication('news', 'data: x\n\n')),
    coordinator.log.subscribe(['news']),
    coordinator.log.remember({ connectionId: 'c', topic: 'news', change: 'add', limit: 1, ttl: 1_000 }),
    coordinator.log.recall('c', 1_000),
    coordinator.log.replay({ topics: [], limit: 1 }),
    coordinator.messenger.hasReached('c', { ms: 1, sequence: 1 }),
    coordinator.messenger.confirm({ connectionId: 'c', token: 't', handled: ['m'], failed: [] }),
    coordinator.messenger.isConfirmed('c', 'm', 100),
    coordinator.locks.acquireLock('thing', 'me', 1000),
    coordinator.locks.lockHolder('thing'),
    coordinator.locks.releaseLock('thing', 'me'),
    coordinator.log.forget('news'),
    coordinator.log.kept('news'),
    coordinator.messenger.endSource('key'),
    coordinator.messenger.outcomeOf({ connectionId: 'c', messageId: 'm', age: 1 }),
    coordinator.messenger.close('c', 'kicked'),
    coordinator.messenger.closeAll('kicked'),
    coordinator.messenger.subscribe('c', 'news'),
    coordinator.messenger.unsubscribe('c', 'news'),
    coordinator.messenger.presence('news'),
    ...(coordinator.selfCheck === undefined ? [] : [coordinator.selfCheck.reconcile(CHECK)]),
  ];
}

/** The reason of the gap in a page and its topics, without positions. */
export function gapIn({
  gap,
}: {
  readonly gap?: Gap | undefined;
}): { reason: Gap['reason']; topics: string[] | undefined } | undefined {
  return gap && { reason: gap.reason, topics: gap.topics && [...gap.topics.keys()] };
}
