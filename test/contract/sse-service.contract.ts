import { expect } from 'chai';
import type { SseConnection } from '../../src/contracts/connection.js';
import type { ConnectionOptions, SseService } from '../../src/contracts/service.js';
import type { SseOptions } from '../../src/options/sse-options.js';
import { codeOf } from '../support/code-of.js';
import { RecordingSink } from '../support/recording-sink.js';
import { until } from '../support/until.js';
import { describeUsers } from './users.contract.js';

/** Makes the services of a cluster. One cluster serves all tests of a contract. */
export interface ServiceFactory {
  /** A service that has joined the cluster. */
  node(nodeId: string, options?: SseOptions): Promise<SseService>;
  /** Cuts a node off from all others. Left out where that cannot be done. */
  cut?(nodeId: string): void | Promise<void>;
  /** Ends a cut. Does nothing for a node that is not cut off. */
  heal?(nodeId: string): void | Promise<void>;
  /** Closes all services and deletes the cluster. */
  dispose(): Promise<void>;
}

/** A client that got in. */
export interface Client {
  readonly connection: SseConnection;
  readonly sink: RecordingSink;
}

const CUT_OFF = { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };

/** What every implementation of `SseService` does, alone and with others. */
export function sseServiceContract(name: string, factory: ServiceFactory): void {
  describe(`${name} as an SseService`, () => {
    // These two serve all tests. A test that ends a node, or needs other settings, starts another one.
    let here: SseService;
    let there: SseService;
    const others: SseService[] = [];
    const sinks: RecordingSink[] = [];
    // Names that no other test uses.
    let { c1, c2, c3, news, sport, key } = ownNames();

    before(async () => {
      [here, there] = await Promise.all([factory.node('here'), factory.node('there')]);
    });

    beforeEach(() => {
      ({ c1, c2, c3, news, sport, key } = ownNames());
    });

    afterEach(async () => {
      for (const sink of sinks.splice(0)) sink.leave();
      await Promise.all(others.splice(0).map(service => service.close()));
      await until(async () => (await here.getClusterConnectionCount()) === 0, 'the end of all connections');
    });

    after(() => factory.dispose());

    /** A service for one test. It is closed after the test. */
    async function another(nodeId: string, options?: SseOptions): Promise<SseService> {
      const service = await factory.node(nodeId, options);
      others.push(service);
      return service;
    }

    async function connect(
      service: SseService,
      connectionId: string,
      options: ConnectionOptions = {},
      sink = new RecordingSink(),
    ): Promise<Client> {
      sinks.push(sink);
      const connection = await service.createConnection(connectionId, sink, options);
      await until(() => sink.names[0] === 'connected', 'the first event');
      return { connection, sink };
    }

    /** Resolves when the client has got so many events of the application. */
    const got = ({ sink }: Client, count: number): Promise<void> =>
      until(() => sink.data('message').length >= count, `${count} events`);

    describe('a connection', () => {
      it('is open, and its first event names it and its node', async () => {
        const { connection, sink } = await connect(here, c1);
        expect(connection.id).to.equal(c1);
        expect(connection.state).to.deep.equal({ kind: 'open' });
        expect(sink.events[0]?.data).to.equal(`{"connectionId":"${c1}","nodeId":"here"}`);
        expect(here.nodeId).to.equal('here');
      });

      it('is known on every node', async () => {
        await connect(there, c1);
        expect(await here.isConnected(c1)).to.equal(true);
        expect(await here.locate(c1)).to.equal('there');
        expect(here.hasLocal(c1)).to.equal(false);
        expect(there.hasLocal(c1)).to.equal(true);
        expect(await here.isConnected(c2)).to.equal(false);
        expect(await here.locate(c2)).to.equal(undefined);
      });

      it('is counted, here and everywhere', async () => {
        await connect(here, c1);
        await connect(there, c2);
        await connect(there, c3);
        expect(here.getConnectionCount()).to.equal(1);
        expect(await here.getClusterConnectionCount()).to.equal(3);
        expect(await here.nodes()).to.deep.equal([
          { nodeId: 'here', connections: 1, self: true },
          { nodeId: 'there', connections: 2, self: false },
        ]);
      });

      it('is unknown once its client has left', async () => {
        const { sink, connection } = await connect(there, c1);
        sink.leave();
        await until(async () => !(await here.isConnected(c1)), 'the route to go');
        expect(await connection.closed).to.equal('client');
        expect(there.getConnectionCount()).to.equal(0);
      });

      it('that fails has neither opened nor kept the sink', async () => {
        const full = await another('full', { connection: { maxConnections: 1 } });
        await connect(full, c1);
        const cases: [string, ConnectionOptions, string][] = [
          ['', {}, 'INVALID_CONNECTION_ID'],
          [c2, { topics: [`@${c1}`] }, 'INVALID_TOPIC'],
          [c1, { onDuplicate: 'reject' }, 'DUPLICATE_CONNECTION'],
          [c2, {}, 'CONNECTION_LIMIT'],
        ];
        for (const [id, options, code] of cases) {
          const sink = new RecordingSink();
          expect(await codeOf(full.createConnection(id, sink, options))).to.equal(code);
          expect([sink.opened, sink.ended, sink.destroyed]).to.deep.equal([false, false, false]);
        }
      });

      it('whose client has already left is refused', async () => {
        const sink = new RecordingSink();
        sink.leave();
        expect(await codeOf(here.createConnection(c1, sink))).to.equal('CONNECTION_CLOSED');
        expect(await here.isConnected(c1)).to.equal(false);
      });

      it('is taken over by a newer connection on any node', async () => {
        const first = await connect(here, c1);
        const second = await connect(there, c1);
        await until(() => first.sink.gone, 'the end of the former connection');
        expect(first.sink.lastEvent).to.include({
          event: 'sse.closed',
          data: '{"reason":"superseded"}',
        });
        expect(second.connection.fencingToken).to.be.greaterThan(first.connection.fencingToken ?? NaN);
        expect(await here.locate(c1)).to.equal('there');
        expect(await here.getClusterConnectionCount()).to.equal(1);
      });

      it('is taken over five times, and then the newcomer is refused', async () => {
        const back = { lastEventId: 'where it was' };
        await connect(here, c1);
        let owner = await connect(there, c1, back);
        for (const service of [here, there, here, there]) owner = await connect(service, c1, back);
        const sink = new RecordingSink();
        expect(await codeOf(here.createConnection(c1, sink, back))).to.equal('TAKEOVER_STORM');
        expect(owner.connection.state.kind).to.equal('open');
        expect(await here.locate(c1)).to.equal('there');
      });
    });

    describe('a resume', () => {
      it('replays missed events, from any node to any node, each once', async () => {
        const first = await connect(here, c1, { topics: [news] });
        await there.publish(news, 'message', '1');
        await got(first, 1);
        first.sink.leave();
        await here.publish(news, 'message', '2');
        await there.broadcastToCluster('message', '3');
        await there.publish(sport, 'message', 'not mine');
        const lastEventId = first.sink.lastId ?? '';
        const again = await connect(there, c1, { topics: [news], lastEventId });
        await here.publish(news, 'message', '4');
        await got(again, 3);
        expect(again.sink.data('message')).to.deep.equal(['2', '3', '4']);
      });

      it('with an id that is no cursor of the log begins at the head', async () => {
        await here.publish(news, 'message', '1');
        const client = await connect(here, c1, { topics: [news], lastEventId: '__proto__' });
        await here.publish(news, 'message', '2');
        await got(client, 1);
        expect(client.sink.names).to.deep.equal(['connected', 'message']);
      });

      it('that cannot be complete sends sse.reset before any other event', async () => {
        await here.publish(news, 'message', news);
        const client = await connect(here, c1, { topics: [news], lastEventId: 'other.1-1' });
        // The log also has the broadcasts of other tests.
        await until(() => client.sink.data('message').includes(news), 'the event');
        expect(client.sink.names.slice(0, 2)).to.deep.equal(['connected', 'sse.reset']);
        expect(client.sink.data('sse.reset')).to.have.length(1);
        expect(JSON.parse(client.sink.data('sse.reset')[0] ?? '')).to.deep.include({
          reason: 'EPOCH',
          topics: [news],
        });
      });
    });

    describe('a send', () => {
      it('on this node alone answers at once', async () => {
        const client = await connect(here, c1);
        await connect(there, c2);
        const receipt = here.sendMessage(c1, 'message', { a: 1 });
        expect(receipt).to.include({ connectionId: c1, outcome: 'delivered', nodeId: 'here' });
        expect(here.sendMessage(c2, 'message', 'x').outcome).to.equal('not-connected');
        await got(client, 1);
        expect(client.sink.data('message')).to.deep.equal(['{"a":1}']);
      });

      it('to a connection on another node answers the outcome at its owner', async () => {
        const client = await connect(there, c1);
        const receipt = await here.sendMessageToConnection(c1, 'message', 'x');
        expect(receipt).to.include({ connectionId: c1, outcome: 'delivered', nodeId: 'there' });
        expect(receipt.messageId).to.be.a('string');
        expect(receipt.ms).to.be.at.least(0);
        await got(client, 1);
      });

      it('to a slow client is buffered', async () => {
        const client = await connect(there, c1);
        client.sink.block();
        client.connection.send('message', 'fill');
        const receipt = await here.sendMessageToConnection(c1, 'message', 'x');
        expect(receipt).to.include({ outcome: 'buffered', nodeId: 'there' });
        client.sink.unblock();
        await got(client, 2);
      });

      it('to an unknown id is not connected', async () => {
        const receipt = await here.sendMessageToConnection(c1, 'message', 'x');
        expect(receipt).to.include({ outcome: 'not-connected' });
      });

      it('without waiting for the owner is routed', async () => {
        const client = await connect(there, c1);
        const options = { ack: 'none' } as const;
        const receipt = await here.sendMessageToConnection(c1, 'message', 'x', options);
        expect(receipt).to.include({ outcome: 'routed', nodeId: 'there' });
        await got(client, 1);
      });

      it('that is durable, to an unknown id, is stored, and its client gets it on another node', async () => {
        const settings = { mailbox: { enabled: true } };
        const [sender, owner] = await Promise.all([another('sender', settings), another('owner', settings)]);
        const options = { durable: true };
        const receipt = await sender.sendMessageToConnection(c1, 'message', 'x', options);
        expect(receipt).to.include({ outcome: 'stored' });
        const client = await connect(owner, c1);
        await got(client, 1);
        expect(client.sink.data('message')).to.deep.equal(['x']);
      });

      it('that is too large is rejected, and the connection lives on', async () => {
        const small = await another('small', { limits: { maxEventBytes: 10 } });
        const { connection } = await connect(small, c1);
        const receipt = await small.sendMessageToConnection(c1, 'message', 'x'.repeat(11));
        expect(receipt).to.include({ outcome: 'rejected', code: 'EVENT_TOO_LARGE' });
        expect(connection.state.kind).to.equal('open');
      });

      it('over the send buffer bound is rejected', async () => {
        const tight = await another('tight', { sendBuffer: { maxBytes: 100 } });
        const { sink, connection } = await connect(tight, c1);
        sink.block();
        connection.send('message', 'fill');
        const receipt = await here.sendMessageToConnection(c1, 'message', 'x'.repeat(100));
        expect(receipt).to.include({
          outcome: 'rejected',
          code: 'SEND_BUFFER_FULL',
          nodeId: 'tight',
        });
        expect(connection.state).to.deep.equal({ kind: 'closed', reason: 'slow' });
      });

      it('with the same message id is written once', async () => {
        const client = await connect(there, c1);
        const options = { messageId: key };
        const first = await here.sendMessageToConnection(c1, 'message', 'x', options);
        const second = await here.sendMessageToConnection(c1, 'message', 'x', options);
        expect([first.outcome, second.outcome]).to.deep.equal(['delivered', 'delivered']);
        await here.sendMessageToConnection(c1, 'message', 'y');
        await got(client, 2);
        expect(client.sink.data('message')).to.deep.equal(['x', 'y']);
      });

      it('keeps the order of its calls', async () => {
        const client = await connect(there, c1);
        const data = Array.from({ length: 20 }, (_, n) => `${n}`);
        await Promise.all(data.map(text => here.sendMessageToConnection(c1, 'message', text)));
        await got(client, 20);
        expect(client.sink.data('message')).to.deep.equal(data);
      });
    });

    describe('an event for many', () => {
      it('of this node reaches this node', async () => {
        const mine = await connect(here, c1);
        const theirs = await connect(there, c2);
        expect({ ...here.broadcast('message', 'x') }).to.deep.equal({
          delivered: 1,
          buffered: 0,
          rejected: 0,
        });
        await got(mine, 1);
        await there.sendMessageToConnection(c2, 'message', 'last');
        await got(theirs, 1);
        expect(theirs.sink.data('message')).to.deep.equal(['last']);
      });

      it('of the cluster reaches every connection, in one order with publications', async () => {
        const topics = [news];
        const clients = [await connect(here, c1, { topics }), await connect(there, c2, { topics })];
        await Promise.all([
          here.broadcastToCluster('message', '1'),
          there.publish(news, 'message', '2'),
          here.publish(news, 'message', '3'),
          there.broadcastToCluster('message', '4'),
        ]);
        for (const client of clients) await got(client, 4);
        const [mine, theirs] = clients.map(({ sink }) => sink.data('message'));
        expect(mine).to.have.members(['1', '2', '3', '4']);
        expect(theirs).to.deep.equal(mine);
      });

      it('answers how many connections it was for and its id in the log', async () => {
        await connect(here, c1);
        const { id, ...counts } = await here.broadcastToCluster('message', 'x');
        expect(counts).to.deep.equal({ outcome: 'stored', local: 1, nodes: 2 });
        expect(id).to.be.a('string');
        const published = await here.publish(news, 'message', 'x');
        expect(published.topic).to.equal(news);
        expect(published.id).to.be.a('string');
        const unkept = await here.publish(news, 'message', 'x', { history: false });
        expect(unkept).to.deep.equal({ outcome: 'routed', topic: news });
      });

      it('with the same key is published once', async () => {
        const client = await connect(there, c1, { topics: [news] });
        const options = { idempotencyKey: key };
        const first = await here.publish(news, 'message', 'x', options);
        expect(await there.publish(news, 'message', 'x', options)).to.deep.equal(first);
        await here.publish(news, 'message', 'y');
        await got(client, 2);
        expect(client.sink.data('message')).to.deep.equal(['x', 'y']);
      });

      it('reaches exactly the connections subscribed before it was published', async () => {
        const client = await connect(there, c1);
        const bystander = await connect(there, c2);
        expect(await here.subscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
        await here.publish(news, 'message', '1');
        expect(await here.unsubscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
        await here.publish(news, 'message', '2');
        await here.broadcastToCluster('message', '3');
        await got(client, 2);
        await got(bystander, 1);
        expect(client.sink.data('message')).to.deep.equal(['1', '3']);
        expect(bystander.sink.data('message')).to.deep.equal(['3']);
      });

      it('a client that comes back to another node follows what it was subscribed to, also while it was away', async () => {
        const { sink } = await connect(here, c1);
        expect(await there.subscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
        sink.leave();
        await until(async () => !(await there.isConnected(c1)), 'the client to be gone');
        expect(await here.subscribe(c1, `${news}-2`)).to.deep.equal({ outcome: 'stored' });
        await here.publish(news, 'message', '1');
        await here.publish(`${news}-2`, 'message', '2');
        const lastEventId = sink.lastId ?? '';
        const again = await connect(there, c1, { lastEventId });
        await got(again, 2);
        expect(again.sink.data('message')).to.deep.equal(['1', '2']);
        await here.publish(news, 'message', '3');
        await got(again, 3);
        expect(await here.unsubscribe(c1, news)).to.deep.equal({ outcome: 'delivered' });
      });

      it('presence lists the subscribed connections, on every node', async () => {
        await connect(here, c1, { topics: [news] });
        await connect(there, c2, { topics: [news] });
        await connect(there, c3);
        const { connections, missing } = await here.presence(news);
        expect(connections).to.have.deep.members([
          { connectionId: c1, nodeId: 'here' },
          { connectionId: c2, nodeId: 'there' },
        ]);
        expect(missing).to.deep.equal([]);
      });
    });

    describe('users', () => {
      describeUsers({ ...factory, here: () => here, there: () => there, connect });
    });

    describe('a close', () => {
      it('of a connection ends it on any node, with the reason as its last event', async () => {
        for (const service of [here, there]) {
          const { sink } = await connect(service, c1);
          expect(await here.closeConnection(c1, 'kicked')).to.deep.equal({ closed: 1, missing: [] });
          await until(() => sink.gone, 'the end');
          expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"kicked"}' });
          await until(async () => !(await here.isConnected(c1)), 'the route to go');
        }
        expect(await here.closeConnection(c1)).to.deep.equal({ closed: 0, missing: [] });
      });

      it('of all connections stays on this node unless the cluster is meant', async () => {
        const mine = await connect(here, c1);
        const theirs = await connect(there, c2);
        expect(await here.closeAllConnections()).to.deep.equal({ closed: 1, missing: [] });
        await until(() => mine.sink.gone, 'the end here');
        expect(mine.sink.lastEvent?.data).to.equal('{"reason":"closed"}');
        expect(theirs.connection.state.kind).to.equal('open');
        const all = await here.closeAllConnections('maintenance', { cluster: true });
        expect(all).to.deep.equal({ closed: 1, missing: [] });
        await until(() => theirs.sink.gone, 'the end there');
        expect(theirs.sink.lastEvent?.data).to.equal('{"reason":"maintenance"}');
      });

      it('with an invalid reason is refused', async () => {
        const { connection } = await connect(here, c1);
        for (const reason of ['', 'two words', 'x'.repeat(65)]) {
          expect(await codeOf(here.closeConnection(c1, reason))).to.equal('INVALID_REASON');
          expect(await codeOf(here.closeAllConnections(reason))).to.equal('INVALID_REASON');
        }
        expect(connection.state.kind).to.equal('open');
      });
    });

    describe('its life', () => {
      it('a second start changes nothing', async () => {
        const { connection } = await connect(here, c1);
        await here.start();
        expect(connection.state.kind).to.equal('open');
        expect(await there.locate(c1)).to.equal('here');
      });

      it('is healthy', () => {
        expect(here.health()).to.deep.equal({
          live: true,
          ready: true,
          degraded: false,
          reasons: [],
        });
      });

      it('a drain refuses newcomers, closes every connection and leaves the cluster', async () => {
        const leaving = await another('leaving');
        const { sink } = await connect(leaving, c1);
        const drained = leaving.drain();
        expect(leaving.health()).to.include({ live: true, ready: false });
        const refused = new RecordingSink();
        expect(await codeOf(leaving.createConnection(c2, refused))).to.equal('DRAINING');
        await drained;
        expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"draining"}' });
        expect(sink.retries).to.have.length(2);
        expect(await there.isConnected(c1)).to.equal(false);
        expect((await there.nodes()).map(({ nodeId }) => nodeId)).to.deep.equal(['here', 'there']);
        await leaving.drain();
      });

      it('a drain cuts the remaining connections when its time is over', async () => {
        const leaving = await another('leaving');
        const { sink } = await connect(leaving, c1, {}, new RecordingSink(true));
        await leaving.drain({ timeout: 50 });
        expect(sink.destroyed).to.equal(true);
      });

      it('a close ends everything, and twice is harmless', async () => {
        const leaving = await another('leaving');
        const { sink } = await connect(leaving, c1);
        await Promise.all([leaving.close(), leaving.close()]);
        await leaving.close();
        expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"shutdown"}' });
        expect(await there.getClusterConnectionCount()).to.equal(0);
        expect(leaving.health()).to.include({ live: false, ready: false });
      });

      it('after close questions fail with CLOSED', async () => {
        const leaving = await another('leaving');
        await leaving.close();
        const sink = new RecordingSink();
        const calls: (() => unknown)[] = [
          () => leaving.createConnection(c1, sink),
          () => leaving.isConnected(c1),
          () => leaving.hasLocal(c1),
          () => leaving.locate(c1),
          () => leaving.getConnectionCount(),
          () => leaving.getClusterConnectionCount(),
          () => leaving.presence(news),
          () => leaving.nodes(),
          () => leaving.start(),
        ];
        for (const call of calls) {
          expect(await codeOf((async () => call())()), String(call)).to.equal('CLOSED');
        }
        expect(sink.attached).to.equal(false);
      });

      it('after close sends and commands answer unavailable with CLOSED, local ones reach no connection, and bad arguments are refused', async () => {
        const leaving = await another('leaving');
        await leaving.close();
        const closed = { outcome: 'unavailable', code: 'CLOSED' };
        expect(await leaving.sendMessageToConnection(c1, 'message', 'x')).to.include(closed);
        expect(await leaving.publish(news, 'message', 'x')).to.deep.equal({ ...closed, topic: news });
        expect(await leaving.broadcastToCluster('message', 'x')).to.deep.equal({
          ...closed,
          local: 0,
          nodes: 0,
          degraded: true,
        });
        expect(leaving.sendMessage(c1, 'message', 'x')).to.include({ outcome: 'not-connected' });
        expect(leaving.broadcast('message', 'x')).to.deep.equal({ delivered: 0, buffered: 0, rejected: 0 });
        expect(await leaving.subscribe(c1, news)).to.deep.equal(closed);
        expect(await leaving.unsubscribe(c1, news)).to.deep.equal(closed);
        for (const receipt of [await leaving.closeConnection(c1), await leaving.closeAllConnections()]) {
          expect(receipt).to.deep.equal({ closed: 0, missing: [], unavailable: 'CLOSED' });
        }
        expect(await codeOf(leaving.publish('*', 'message', 'x'))).to.equal('INVALID_TOPIC');
        expect(await codeOf(leaving.closeConnection(c1, 'two words'))).to.equal('INVALID_REASON');
      });
    });

    const { cut, heal } = factory;
    if (cut === undefined || heal === undefined) return;

    async function healed(): Promise<void> {
      await heal?.('here');
      await until(() => here.health().ready && there.health().ready, 'the end of the outage');
    }

    describe('in an outage', () => {
      afterEach(healed);

      beforeEach(async () => {
        await connect(there, c2);
        await cut('here');
        await until(() => !here.health().ready, 'the outage to be noticed');
        // The subscription may break first. A call that is under way when the other connection breaks has an unknown end.
        await until(async () => (await codeOf(here.locate(c2))) === 'UNAVAILABLE', 'the end of calls under way');
      });

      it('is live but not ready, and well again afterwards', async () => {
        expect(here.health()).to.include({ live: true, ready: false, degraded: true });
        expect(here.health().reasons.map(({ code }) => code)).to.include('CLUSTER_UNREACHABLE');
        await healed();
        expect(here.health()).to.include({ ready: true, degraded: false });
      });

      it('a send to another node is unavailable within its deadline', async () => {
        const options = { deadline: 1000 };
        const receipt = await here.sendMessageToConnection(c2, 'message', 'x', options);
        expect(receipt).to.include(CUT_OFF);
        // Without it, the deadline is 3,000 ms.
        expect(receipt.ms).to.be.below(2_900);
      });

      it('questions to the cluster reject with UNAVAILABLE', async () => {
        const calls = [
          here.isConnected(c2),
          here.locate(c2),
          here.getClusterConnectionCount(),
          here.presence(news),
          here.nodes(),
        ];
        const codes = await Promise.all(calls.map(call => codeOf(call)));
        expect(new Set(codes)).to.deep.equal(new Set(['UNAVAILABLE']));
      });

      it('publications and commands answer unavailable', async () => {
        expect(await here.publish('news', 'message', 'x')).to.deep.equal({ ...CUT_OFF, topic: 'news' });
        expect(await here.subscribe('c2', 'news')).to.deep.equal(CUT_OFF);
        expect(await here.unsubscribe('c2', 'news')).to.deep.equal(CUT_OFF);
        const closing = [here.closeConnection('c2'), here.closeAllConnections('closed', { cluster: true })];
        for (const receipt of await Promise.all(closing)) {
          expect(receipt).to.deep.equal({ closed: 0, missing: [], unavailable: 'CLUSTER_UNREACHABLE' });
        }
      });
    });

    describe('in an outage, for clients of this node', () => {
      let client: Client;

      afterEach(healed);

      beforeEach(async () => {
        client = await connect(here, c1, { topics: [news] });
        await cut('here');
        await until(() => !here.health().ready, 'the outage to be noticed');
      });

      it('sends and broadcasts go on', async () => {
        const receipt = await here.sendMessageToConnection(c1, 'message', '1');
        expect(receipt).to.include({ outcome: 'delivered', nodeId: 'here' });
        here.broadcast('message', '2');
        const broadcast = await here.broadcastToCluster('message', '3');
        expect(broadcast).to.deep.equal({ ...CUT_OFF, local: 1, nodes: 0, degraded: true });
        await got(client, 3);
        expect(client.sink.data('message')).to.deep.equal(['1', '2', '3']);
      });

      it('they are found, and can be closed', async () => {
        expect(await here.isConnected(c1)).to.equal(true);
        expect(await here.locate(c1)).to.equal('here');
        expect(await here.closeConnection(c1)).to.deep.equal({ closed: 1, missing: [] });
        expect(client.sink.lastEvent?.event).to.equal('sse.closed');
      });

      it('entries published meanwhile reach them afterwards, once and in order', async () => {
        await there.publish(news, 'message', '1');
        await there.broadcastToCluster('message', '2');
        await healed();
        await there.publish(news, 'message', '3');
        await got(client, 3);
        expect(client.sink.data('message')).to.deep.equal(['1', '2', '3']);
      });

      it('a send to them from another node is unknown', async () => {
        const options = { deadline: 50 };
        const receipt = await there.sendMessageToConnection(c1, 'message', 'x', options);
        expect(receipt.outcome).to.equal('unknown');
      });
    });
  });
}

let tests = 0;

/** Names that no other test uses, for connections, topics and a key. */
function ownNames() {
  tests += 1;
  const own = (name: string): string => `${name}.${tests}`;
  return { c1: own('c1'), c2: own('c2'), c3: own('c3'), news: own('news'), sport: own('sport'), key: own('key') };
}
