import { expect } from 'chai';
import sinon from 'sinon';
import { codeOf } from '../../support/code-of.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import { turns } from '../../support/turns.js';

describe('NodeShutdown', () => {
  let clock: sinon.SinonFakeTimers;
  let cluster: TestCluster;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    cluster = new TestCluster();
  });

  afterEach(async () => {
    clock.restore();
    await cluster.close();
  });

  /** Whether it has settled by now. */
  function watch(promise: Promise<void>): () => boolean {
    let settled = false;
    void promise.finally(() => (settled = true));
    return () => settled;
  }

  it('close ends every stream with the reason and a time to come back', async () => {
    const node = await cluster.started('a');
    const clients = [await node.connect('c1'), await node.connect('c2')];
    await node.service.close();
    for (const { sink } of clients) {
      expect(sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"shutdown"}' });
      expect(sink.retries).to.have.length(2);
      expect(sink.destroyed).to.equal(false);
    }
    expect(cluster.bus.count).to.equal(0);
    expect(cluster.bus.nodes('a')).to.deep.equal([]);
  });

  it('close waits half a second for the last bytes of slow clients and then cuts them', async () => {
    const node = await cluster.started('a');
    const stuck = new RecordingSink(true);
    await node.connect('stuck', {}, stuck);
    const closed = watch(node.service.close());
    await turns();
    await clock.tickAsync(499);
    expect([closed(), stuck.destroyed]).to.deep.equal([false, false]);
    await clock.tickAsync(1);
    await turns();
    expect([closed(), stuck.destroyed]).to.deep.equal([true, true]);
  });

  it('close releases the routes before its clients have left', async () => {
    const node = await cluster.started('a');
    await node.connect('stuck', {}, new RecordingSink(true));
    const closed = watch(node.service.close());
    await turns();
    expect(cluster.bus.count).to.equal(0);
    expect(closed()).to.equal(false);
    await clock.tickAsync(500);
  });

  it('asks for the release once, not for each connection, and closes last', async () => {
    const calls: string[] = [];
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, (method, when) => {
          if (when === 'before') calls.push(method);
        }),
    });
    for (const id of ['c1', 'c2', 'c3']) await node.connect(id);
    calls.length = 0;
    await node.service.close();
    expect(calls).to.deep.equal(['routes.releaseAll', 'close']);
    expect(node.logger.lines).to.deep.equal([]);
  });

  it('a second close is the first one', async () => {
    const node = await cluster.started('a');
    expect(node.service.close()).to.equal(node.service.close());
    await node.service.close();
    expect(node.service.drain()).to.equal(node.service.close());
  });

  it('a second drain is the first one, whatever its timeout', async () => {
    const node = await cluster.started('a');
    await node.connect('stuck', {}, new RecordingSink(true));
    const first = node.service.drain({ timeout: 1000 });
    expect(node.service.drain({ timeout: 1 })).to.equal(first);
    const drained = watch(first);
    await turns();
    await clock.tickAsync(890);
    expect(drained()).to.equal(false);
    await clock.tickAsync(10);
    await first;
  });

  it('a close during a drain ends both at once', async () => {
    const node = await cluster.started('a', { options: { reconnect: { rate: 20 } } });
    const sinks = [new RecordingSink(), new RecordingSink(), new RecordingSink(true)];
    for (const [n, sink] of sinks.entries()) await node.connect(`c${n}`, {}, sink);
    const drained = watch(node.service.drain({ timeout: 60_000 }));
    await turns();
    const closed = watch(node.service.close());
    await turns();
    await clock.tickAsync(500);
    await turns();
    expect([drained(), closed()]).to.deep.equal([true, true]);
    expect(sinks.map(({ lastEvent }) => lastEvent?.data)).to.deep.equal([
      '{"reason":"draining"}',
      '{"reason":"shutdown"}',
      '{"reason":"shutdown"}',
    ]);
    expect(clock.countTimers()).to.equal(0);
  });

  it('a close while the last sockets of a drain end does not leave the drain waiting', async () => {
    const node = await cluster.started('a');
    await node.connect('stuck', {}, new RecordingSink(true));
    const drained = watch(node.service.drain({ timeout: 60_000 }));
    await turns();
    await clock.tickAsync(100);
    const closed = watch(node.service.close());
    await turns();
    await clock.tickAsync(500);
    await turns();
    expect([drained(), closed()]).to.deep.equal([true, true]);
  });

  it('a drain and a close that wait for the same socket end when it is gone', async () => {
    const node = await cluster.started('a');
    const { sink } = await node.connect('c1', {}, new RecordingSink(true));
    const drained = watch(node.service.drain({ timeout: 60_000 }));
    await turns();
    await clock.tickAsync(100);
    const closed = watch(node.service.close());
    await turns();
    sink.leave();
    await turns();
    expect([drained(), closed()]).to.deep.equal([true, true]);
    expect(clock.countTimers()).to.equal(0);
  });

  for (const method of ['routes.releaseAll', 'close'] as const) {
    it(`a drain is over at its deadline though the cluster never answers ${method}`, async () => {
      const never = new Promise<void>(() => undefined);
      const node = cluster.node('a', {
        wrap: inner =>
          hookedCoordinator(inner, (called, when) => (called === method && when === 'before' ? never : undefined)),
      });
      const { sink } = await node.connect('c1');
      const drained = watch(node.service.drain({ timeout: 1000 }));
      await turns();
      await clock.tickAsync(990);
      expect(sink.lastEvent?.data).to.equal('{"reason":"draining"}');
      await clock.tickAsync(10);
      await turns();
      expect(drained()).to.equal(true);
      // The shutdown does not wait for answers that cannot come.
      cluster.nodes.splice(cluster.nodes.indexOf(node), 1);
      sink.leave();
    });
  }

  it('a drain waits for sends that have no answer yet, before the cluster is left', async () => {
    const calls: string[] = [];
    let answer: () => void = () => undefined;
    const owner = await cluster.started('b');
    await owner.connect('far');
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, async (method, when) => {
          calls.push(`${when} ${method}`);
          if (method === 'messenger.send' && when === 'after') {
            await new Promise<void>(resolve => (answer = resolve));
          }
        }),
    });
    await node.service.start();
    const sent = node.service.sendMessageToConnection('far', 'message', 'x');
    const drained = node.service.drain({ timeout: 10_000 });
    await turns();
    await clock.tickAsync(1000);
    expect(calls).to.include('after messenger.send').and.not.include('before close');
    answer();
    expect((await sent).outcome).to.equal('delivered');
    await clock.tickAsync(100);
    await drained;
    expect(calls.at(-1)).to.equal('after close');
  });

  it('without graceful shutdown a drain is a close', async () => {
    const node = await cluster.started('a', {
      options: { reliability: { gracefulShutdown: false } },
    });
    const { sink } = await node.connect('c1');
    await node.service.drain();
    expect(sink.lastEvent?.data).to.equal('{"reason":"shutdown"}');
  });

  it('a close does not wait for a release that is never answered: leaving the cluster releases as well', async () => {
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, method => (method === 'routes.releaseAll' ? new Promise(() => undefined) : undefined)),
    });
    const { sink } = await node.connect('c1');
    const closed = watch(node.service.close());
    await turns();
    sink.leave();
    await turns();
    await clock.tickAsync(500);
    await turns();
    expect(closed()).to.equal(true);
    expect(cluster.bus.nodes('a')).to.deep.equal([]);
  });

  it('without graceful shutdown a drain is over at its deadline as well', async () => {
    const node = cluster.node('a', {
      options: { reliability: { gracefulShutdown: false } },
      wrap: inner =>
        hookedCoordinator(inner, (method, when) =>
          method === 'close' && when === 'before' ? new Promise(() => undefined) : undefined,
        ),
    });
    await node.service.start();
    const drained = watch(node.service.drain({ timeout: 1000 }));
    await turns();
    await clock.tickAsync(1000);
    await turns();
    expect(drained()).to.equal(true);
    cluster.nodes.splice(cluster.nodes.indexOf(node), 1);
  });

  it('leaves no timer behind', async () => {
    const node = await cluster.started('a', {
      options: { connection: { heartbeat: 1000, timeout: 1000, maxAge: 5000 } },
    });
    const { sink, connection } = await node.connect('c1');
    await turns();
    sink.block();
    connection.send('message', 'x');
    expect(clock.countTimers()).to.be.greaterThan(0);
    const closing = node.service.close();
    await turns();
    await clock.tickAsync(500);
    await closing;
    expect(clock.countTimers()).to.equal(0);
  });

  it('a close while the node joins waits for that, and then leaves', async () => {
    let join: () => void = () => undefined;
    const calls: string[] = [];
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, async (method, when) => {
          calls.push(`${when} ${method}`);
          if (method === 'start' && when === 'before') {
            await new Promise<void>(resolve => (join = resolve));
          }
        }),
    });
    const started = codeOf(node.service.start());
    const published = node.service.publish('news', 'message', 'x');
    const closed = watch(node.service.close());
    await turns();
    expect(closed()).to.equal(false);
    join();
    expect(await started).to.equal('CLOSED');
    expect(await published).to.include({ outcome: 'unavailable', code: 'CLOSED' });
    await turns();
    expect(closed()).to.equal(true);
    expect(calls).to.deep.equal(['before start', 'after start', 'before close', 'after close']);
    expect(cluster.bus.nodes('a')).to.deep.equal([]);
  });

  it('a drain while the node joins ends as well', async () => {
    let join: () => void = () => undefined;
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, async (method, when) => {
          if (method === 'start' && when === 'before') {
            await new Promise<void>(resolve => (join = resolve));
          }
        }),
    });
    const opening = codeOf(node.connect('c1'));
    const drained = node.service.drain();
    join();
    expect(await opening).to.equal('CLOSED');
    await drained;
    expect(cluster.bus.nodes('a')).to.deep.equal([]);
  });
});
