import { expect } from 'chai';
import sinon from 'sinon';
import { ExpiryCleanup } from '../../../src/node/maintenance.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const SETTINGS = { enabled: true, interval: 1000, connectionTtl: 5000 };

describe('ExpiryCleanup', () => {
  let clock: sinon.SinonFakeTimers;
  let cluster: TestCluster;
  let node: TestNode;
  let logger: RecordingLogger;
  let cleanup: ExpiryCleanup;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    cluster = new TestCluster();
    node = cluster.node('a', { options: { connection: { timeout: 60_000 } } });
    logger = new RecordingLogger();
    cleanup = new ExpiryCleanup(node.store, SETTINGS, logger, node.telemetry.maintenance);
  });

  afterEach(async () => {
    cleanup.stop();
    const closing = cluster.close();
    await turns();
    await clock.tickAsync(1000);
    await closing;
    clock.restore();
  });

  it('removes connections without progress for the time to live, and no others', async () => {
    const quiet = await node.connect('quiet');
    const busy = await node.connect('busy');
    await turns();
    await clock.tickAsync(4000);
    busy.connection.send('news', 'x');
    await clock.tickAsync(1001);
    expect(cleanup.run()).to.equal(1);
    expect(quiet.connection.state).to.deep.include({ reason: 'idle' });
    expect(quiet.sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"idle"}' });
    expect(busy.connection.state.kind).to.equal('open');
  });

  it('removes nobody because the wall clock steps', async () => {
    const { connection, sink } = await node.connect('quiet');
    await turns();
    sink.block();
    connection.send('news', 'x');
    clock.setSystemTime(Date.now() + 7_200_000);
    await clock.tickAsync(2_000);
    expect([cleanup.run(), connection.state.kind]).to.deep.equal([0, 'open']);
  });

  it('a connection lives for the whole of its time', async () => {
    await node.connect('quiet');
    await turns();
    await clock.tickAsync(5000);
    expect(cleanup.run()).to.equal(0);
  });

  it('counts a blocked client from the last byte it took, whatever waits for it', async () => {
    const { connection, sink } = await node.connect('slow');
    await turns();
    await clock.tickAsync(4000);
    sink.block();
    connection.send('news', 'x');
    // The watchdog looks once a second, and sees only then which bytes were written before.
    await clock.tickAsync(6001);
    connection.send('news', 'y');
    expect(cleanup.run()).to.equal(1);
  });

  it('sends each removed client a reconnection time', async () => {
    const { sink } = await node.connect('quiet');
    await turns();
    await clock.tickAsync(5001);
    const before = sink.retries.length;
    cleanup.run();
    expect(sink.retries).to.have.length(before + 1);
  });

  it('removes the route as well', async () => {
    await node.connect('quiet');
    await turns();
    await clock.tickAsync(5001);
    cleanup.run();
    await turns();
    expect(await node.coordinator.routes.locate('quiet')).to.equal(undefined);
  });

  it('closes a connection that hangs while it opens', async () => {
    const opening = new TestCluster().node('a', {
      wrap: coordinator =>
        hookedCoordinator(coordinator, method => (method === 'log.replay' ? new Promise(() => undefined) : undefined)),
    });
    const sink = new RecordingSink();
    void opening.service.createConnection('c1', sink).catch(() => undefined);
    await turns();
    expect(opening.store.opening).to.equal(1);
    await clock.tickAsync(5001);
    expect(new ExpiryCleanup(opening.store, SETTINGS, logger, opening.telemetry.maintenance).run()).to.equal(1);
    expect(opening.store.opening).to.equal(0);
    expect(sink.opened).to.equal(false);
  });

  it('reports how many it removed, and nothing when there were none', async () => {
    cleanup.run();
    expect(logger.lines).to.deep.equal([]);
    await node.connect('c1');
    await node.connect('c2');
    await turns();
    await clock.tickAsync(5001);
    cleanup.run();
    expect(logger.lines.map(({ level, fields }) => [level, fields])).to.deep.equal([['info', { count: 2 }]]);
  });

  it('runs every interval once started, however often, until it is stopped', async () => {
    const connect = async (id: string) => {
      const { connection } = await node.connect(id);
      await turns();
      return connection;
    };
    const first = await connect('c1');
    cleanup.start();
    cleanup.start();
    await clock.tickAsync(5000);
    expect(first.state.kind).to.equal('open');
    await clock.tickAsync(1000);
    expect(first.state.kind).to.not.equal('open');
    const second = await connect('c2');
    cleanup.stop();
    cleanup.stop();
    await clock.tickAsync(60_000);
    expect(second.state.kind).to.equal('open');
  });

  it('does nothing when it is switched off', async () => {
    const off = new ExpiryCleanup(node.store, { ...SETTINGS, enabled: false }, logger, node.telemetry.maintenance);
    const { connection } = await node.connect('c1');
    off.start();
    await clock.tickAsync(60_000);
    expect(connection.state.kind).to.equal('open');
    off.stop();
  });

  it('does not keep the process alive', () => {
    clock.restore();
    const timers = (): number => process.getActiveResourcesInfo().filter(kind => kind === 'Timeout').length;
    const before = timers();
    cleanup.start();
    expect(timers()).to.equal(before);
    cleanup.stop();
    clock = sinon.useFakeTimers({ toFake: ['setTimeout'] });
  });
});
