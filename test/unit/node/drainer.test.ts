import { expect } from 'chai';
import sinon from 'sinon';
import type { SseConnection } from '../../../src/contracts/connection.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('Drainer', () => {
  let clock: sinon.SinonFakeTimers;
  let cluster: TestCluster;
  let other: TestNode;

  beforeEach(async () => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    cluster = new TestCluster();
    other = await cluster.started('other');
  });

  afterEach(async () => {
    clock.restore();
    await cluster.close();
  });

  async function connect(node: TestNode, count: number): Promise<TestClient[]> {
    const clients: TestClient[] = [];
    for (let n = 0; n < count; n += 1) clients.push(await node.connect(`c${n}`));
    await turns();
    return clients;
  }

  /** How long it took, in milliseconds of the clock. */
  async function duration(drained: Promise<void>): Promise<number> {
    const start = Date.now();
    const progress = { done: false };
    void drained.then(() => (progress.done = true));
    for (;;) {
      await turns();
      if (progress.done) return Date.now() - start;
      await clock.tickAsync(10);
    }
  }

  /** A source that ends when the test says so. */
  function pipe(connection: SseConnection): { finish: () => void; piped: Promise<void> } {
    let finish: () => void = () => undefined;
    const finished = new Promise<void>(resolve => (finish = resolve));
    const source = async function* (): AsyncGenerator<string> {
      yield 'first';
      await finished;
      yield 'last';
    };
    return { finish, piped: connection.pipe(source()) };
  }

  const open = (clients: readonly TestClient[]): number =>
    clients.filter(({ connection }) => connection.state.kind === 'open').length;

  it('ends at once without connections', async () => {
    const node = await cluster.started('a');
    expect(await duration(node.service.drain())).to.equal(0);
    expect(node.service.health().reasons[0]?.code).to.equal('CLOSED');
  });

  it('begins after reconnect.drainDelay, in which the node is not ready and serves the clients it has', async () => {
    const node = await cluster.started('a', { options: { reconnect: { drainDelay: 5_000 } } });
    const [client] = await connect(node, 1);
    const drained = duration(node.service.drain());
    await clock.tickAsync(4_900);
    expect(node.service.health().ready).to.equal(false);
    expect(client?.connection.state.kind).to.equal('open');
    expect(await other.service.sendMessageToConnection('c0', 'note', 1)).to.include({ outcome: 'delivered' });
    expect(await codeOf(node.connect('late'))).to.equal('DRAINING');
    await clock.tickAsync(200);
    expect(client?.connection.state.kind).to.not.equal('open');
    expect(await drained).to.be.within(5_000, 6_000);
  });

  it('begins after half of its time at the latest', async () => {
    const node = await cluster.started('a', { options: { reconnect: { drainDelay: 60_000 } } });
    await connect(node, 1);
    expect(await duration(node.service.drain({ timeout: 2_000 }))).to.be.within(1_000, 2_000);
  });

  it('ends at once when the node has not joined the cluster', async () => {
    const node = cluster.node('a');
    expect(await duration(node.service.drain())).to.equal(0);
    expect(node.logger.lines).to.deep.equal([]);
  });

  it('refuses newcomers from the first moment', async () => {
    const node = await cluster.started('a');
    await connect(node, 1);
    const drained = node.service.drain();
    const sink = new RecordingSink();
    expect(await codeOf(node.connect('late', {}, sink))).to.equal('DRAINING');
    expect(sink.attached).to.equal(false);
    await duration(drained);
  });

  it('refuses a newcomer of the same moment', async () => {
    const node = await cluster.started('a', { options: { reconnect: { rate: 20 } } });
    await connect(node, 3);
    const opening = codeOf(node.connect('late'));
    const drained = node.service.drain();
    expect(await opening).to.equal('DRAINING');
    await duration(drained);
  });

  it('releases the routes before it closes a socket', async () => {
    const ends: string[] = [];
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, (method, when) => {
          if (method !== 'routes.releaseAll') return;
          ends.push(`${when}: ${cluster.bus.count} routes, ${open(clients)} open`);
        }),
    });
    const clients: TestClient[] = [];
    clients.push(...(await connect(node, 2)));
    await duration(node.service.drain());
    expect(ends).to.deep.equal(['before: 2 routes, 2 open', 'after: 0 routes, 2 open']);
  });

  it('asks for the release once, not for each connection', async () => {
    const calls: string[] = [];
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, (method, when) => {
          if (when === 'before') calls.push(method);
        }),
    });
    await connect(node, 5);
    calls.length = 0;
    await duration(node.service.drain());
    expect(calls).to.deep.equal(['routes.releaseAll', 'close']);
  });

  it('goes on when the routes cannot be released, and logs that', async () => {
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, method => {
          if (method === 'routes.releaseAll') throw new SseError('UNAVAILABLE', 'cut off');
        }),
    });
    const clients = await connect(node, 2);
    await duration(node.service.drain());
    expect(open(clients)).to.equal(0);
    expect(node.logger.at('warn')).to.have.length(1);
  });

  it('sends each client a random reconnection time and the reason', async () => {
    const node = await cluster.started('a', {
      options: { reconnect: { retry: 1000, jitter: 4000 } },
    });
    const clients = await connect(node, 20);
    await duration(node.service.drain());
    const retries = clients.map(({ sink }) => sink.retries.at(-1) ?? 0);
    expect(new Set(retries).size).to.be.greaterThan(10);
    expect(retries.every(retry => retry >= 1000 && retry <= 5000)).to.equal(true);
    for (const { sink } of clients) {
      expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"draining"}' });
      expect(sink.destroyed).to.equal(false);
    }
  });

  it('closes idle clients in waves at the rate of the settings', async () => {
    const node = await cluster.started('a', { options: { reconnect: { rate: 100 } } });
    const clients = await connect(node, 20);
    const drained = node.service.drain();
    const left: number[] = [];
    for (let wave = 0; wave < 4; wave += 1) {
      await turns();
      left.push(open(clients));
      await clock.tickAsync(50);
    }
    expect(left).to.deep.equal([15, 10, 5, 0]);
    await duration(drained);
  });

  it('closes faster when the rate would take too long', async () => {
    const node = await cluster.started('a', {
      options: { reconnect: { rate: 1 }, connection: { maxConnections: 400 } },
    });
    const clients = await connect(node, 400);
    const took = await duration(node.service.drain({ timeout: 1000 }));
    expect(took).to.be.at.most(800);
    expect(clients.every(({ sink }) => sink.ended && !sink.destroyed)).to.equal(true);
  });

  it('takes less than ten seconds with healthy clients, whatever the timeout', async () => {
    const node = await cluster.started('a', {
      options: { reconnect: { rate: 1 }, connection: { maxConnections: 500 } },
    });
    await connect(node, 500);
    expect(await duration(node.service.drain({ timeout: 600_000 }))).to.be.below(10_000);
  });

  it('ends promptly when all clients have left', async () => {
    const node = await cluster.started('a', { options: { reconnect: { rate: 20 } } });
    const clients = await connect(node, 100);
    const drained = node.service.drain();
    await turns();
    for (const { sink } of clients) sink.leave();
    expect(await duration(drained)).to.be.at.most(50);
  });

  it('goes on delivering to clients of later waves', async () => {
    const node = await cluster.started('a', { options: { reconnect: { rate: 20 } } });
    const clients = await connect(node, 3);
    const drained = node.service.drain();
    await turns();
    await other.service.broadcastToCluster('message', 'x');
    await duration(drained);
    expect(clients.map(({ sink }) => sink.data('message'))).to.deep.equal([[], ['x'], ['x']]);
  });

  it('answers not-connected to sends from other nodes', async () => {
    const node = await cluster.started('a', { options: { reconnect: { rate: 20 } } });
    await connect(node, 3);
    const drained = node.service.drain();
    await turns();
    const { outcome } = await other.service.sendMessageToConnection('c2', 'message', 'x');
    expect(outcome).to.equal('not-connected');
    await duration(drained);
  });

  it('lets sources finish', async () => {
    const node = await cluster.started('a');
    const clients = await connect(node, 2);
    const [busy] = clients;
    if (busy === undefined) throw new Error('no client is connected');
    const { finish, piped } = pipe(busy.connection);
    const drained = node.service.drain({ timeout: 10_000 });
    await turns();
    await clock.tickAsync(5000);
    expect(open(clients)).to.equal(1);
    finish();
    await piped;
    expect(await duration(drained)).to.be.at.most(50);
    expect(busy.sink.names).to.deep.equal(['connected', 'message', 'message', 'sse.closed']);
  });

  it('lets a source finish that began while the waves went on', async () => {
    const node = await cluster.started('a', { options: { reconnect: { rate: 20 } } });
    const clients = await connect(node, 3);
    const [, , last] = clients;
    if (last === undefined) throw new Error('no client is connected');
    const drained = node.service.drain({ timeout: 10_000 });
    await turns();
    const { finish, piped } = pipe(last.connection);
    await clock.tickAsync(2000);
    expect(last.connection.state.kind).to.equal('open');
    finish();
    await piped;
    await duration(drained);
    expect(last.sink.data('message')).to.deep.equal(['first', 'last']);
  });

  it('ends sources that do not finish before the deadline', async () => {
    const node = await cluster.started('a');
    const [client] = await connect(node, 1);
    if (client === undefined) throw new Error('no client is connected');
    const { piped } = pipe(client.connection);
    const took = await duration(node.service.drain({ timeout: 1000 }));
    await piped;
    expect(took).to.be.within(700, 900);
    expect(client.sink.lastEvent?.data).to.equal('{"reason":"draining"}');
    expect(client.sink.destroyed).to.equal(false);
  });

  it('cuts sockets that are stuck when nine tenths of the time are over, and not before', async () => {
    const node = await cluster.started('a');
    const stuck = new RecordingSink(true);
    await node.connect('stuck', {}, stuck);
    await connect(node, 3);
    const drained = node.service.drain({ timeout: 1000 });
    await turns();
    await clock.tickAsync(890);
    expect(stuck.destroyed).to.equal(false);
    expect(await duration(drained)).to.be.at.most(10);
    expect(stuck.destroyed).to.equal(true);
  });

  it('waits for a slow socket that takes its last bytes in time', async () => {
    const node = await cluster.started('a');
    const { sink, connection } = await node.connect('slow');
    await turns();
    sink.block();
    connection.send('message', 'x');
    const drained = node.service.drain({ timeout: 1000 });
    await turns();
    await clock.tickAsync(500);
    sink.unblock();
    expect(await duration(drained)).to.equal(0);
    expect(sink.names).to.deep.equal(['connected', 'message', 'sse.closed']);
    expect(sink.destroyed).to.equal(false);
  });

  it('uses reliability.gracefulShutdownTimeout by default', async () => {
    const node = await cluster.started('a', {
      options: { reliability: { gracefulShutdownTimeout: 400 } },
    });
    await node.connect('stuck', {}, new RecordingSink(true));
    expect(await duration(node.service.drain())).to.equal(360);
  });
});
