import { expect } from 'chai';
import sinon from 'sinon';
import { ClientCursor } from '../../../src/connection/cursor.js';
import { CursorRefresh, Maintenance } from '../../../src/node/maintenance.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { formatCursor } from '../../../src/protocol/cursor.js';
import { SilentTelemetry } from '../../../src/telemetry/telemetry.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const TTL = 1000;

describe('CursorRefresh', () => {
  let clock: sinon.SinonFakeTimers;
  let cluster: TestCluster;
  let node: TestNode;
  let refresh: CursorRefresh;

  beforeEach(async () => {
    clock = sinon.useFakeTimers({
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    cluster = new TestCluster();
    const history = { ttl: TTL };
    node = await cluster.started('a', { options: { history, connection: { timeout: 60_000 } } });
    refresh = new CursorRefresh(node.store, node.coordinator.log, TTL);
  });

  afterEach(async () => {
    refresh.stop();
    const closing = cluster.close();
    await turns();
    await clock.tickAsync(1000);
    await closing;
    clock.restore();
  });

  const present = (): string => formatCursor(cluster.bus.log.head);

  it('moves a quiet client to the head, whose parser drops an event without data', async () => {
    const { sink } = await node.connect('c1');
    await node.service.publish('news', 'message', 'not for it');
    expect(refresh.run()).to.equal(1);
    await turns();
    expect(sink.lastId).to.equal(present());
    expect(sink.names).to.deep.equal(['connected', 'sse.position']);
  });

  it('moves a client that came back, when others published meanwhile and the log is quiet since, and once', async () => {
    const first = await node.connect('c1', { topics: ['news'] });
    first.sink.leave();
    await node.service.publish('sport', 'message', 'not for it');
    const { sink } = await node.connect('c1', { topics: ['news'], lastEventId: first.sink.lastId ?? '' });
    await turns();
    expect(sink.lastId).to.equal(first.sink.lastId);
    expect([refresh.run(), refresh.run()]).to.deep.equal([1, 0]);
    await turns();
    expect(sink.lastId).to.equal(present());
  });

  it('writes nothing to a client that has just begun at the head', async () => {
    await node.service.publish('news', 'message', 'x');
    await node.connect('c1', { topics: ['news'] });
    expect(refresh.run()).to.equal(0);
  });

  it("writes nothing to a client with ids: 'application'", async () => {
    const { sink } = await node.connect('c1', { ids: 'application', lastEventId: 'row-3' });
    await turns();
    const { text } = sink;
    await node.service.publish('news', 'message', 'not for it');
    refresh.run();
    await turns();
    expect(sink.text).to.equal(text);
  });

  it('runs also where publications are not kept, since mailboxes are in the log', async () => {
    const options = { history: { enabled: false, ttl: TTL }, mailbox: { enabled: true } };
    const other = await cluster.started('b', { options });
    const { store, coordinator } = other;
    const telemetry = new SilentTelemetry().maintenance;
    const resolved = resolveOptions({ node: { id: 'b' }, ...options });
    const maintenance = new Maintenance({
      options: resolved,
      store,
      coordinator,
      logger: new RecordingLogger(),
      telemetry,
    });
    maintenance.start([]);
    const { sink } = await other.connect('c1');
    await other.service.sendMessageToConnection('c2', 'message', 'x', { durable: true });
    await clock.tickAsync(TTL);
    await turns();
    maintenance.stop();
    expect(sink.lastId).to.equal(present());
  });

  it('does not move a client that has the newest entry', async () => {
    const { sink } = await node.connect('c1', { topics: ['news'] });
    await turns();
    await node.service.publish('news', 'message', 'x');
    await turns();
    expect(sink.lastId).to.equal(present());
    expect(refresh.run()).to.equal(0);
  });

  it('does not move a slow client, since its waiting entries carry an id', async () => {
    const { connection, sink } = await node.connect('c1');
    sink.block();
    connection.send('message', 'x');
    await node.service.publish('news', 'message', 'x');
    expect(refresh.run()).to.equal(0);
  });

  it('moves a client to what its node got before it was cut off, and no further', async () => {
    const { sink } = await node.connect('c1');
    await node.service.publish('news', 'message', 'x');
    const delivered = present();
    cluster.bus.cut('a');
    cluster.bus.log.append('news', Buffer.from('data: x\n\n'), { maxEntries: 9, ttl: TTL });
    expect([refresh.run(), refresh.run()]).to.deep.equal([1, 0]);
    await turns();
    expect(sink.lastId).to.equal(delivered);
  });

  it('moves no cursor of a connection opened without the cluster', async () => {
    cluster.bus.cut('a');
    await node.connect('c1');
    cluster.bus.heal('a');
    cluster.bus.log.append('news', Buffer.from('data: x\n\n'), { maxEntries: 9, ttl: TTL });
    expect(refresh.run()).to.equal(0);
  });

  it('moves no cursor of a client that is still in a former log', () => {
    const cursor = new ClientCursor();
    cursor.start({ epoch: 'old', ms: 1, sequence: 1 });
    expect(cursor.moveTo({ epoch: 'new', ms: 2, sequence: 2 })).to.equal(false);
  });

  it('lets a client of a quiet topic resume without a reset, while others get one', async () => {
    const quiet = await node.connect('quiet', { topics: ['news'] });
    const idle = quiet.sink.lastId ?? '';
    await node.service.publish('news', 'message', 'x');
    const last = (): string => quiet.sink.lastId ?? '';
    refresh.start();
    refresh.start();
    for (let n = 0; n < 10; n += 1) {
      await node.service.publish('sport', 'message', 'x');
      await clock.tickAsync(TTL / 2);
    }
    const names = async (id: string, lastEventId: string): Promise<string[]> => {
      const { sink } = await node.connect(id, { topics: ['news'], lastEventId });
      await turns();
      return sink.names;
    };
    expect(await names('again', last())).to.deep.equal(['connected']);
    expect(await names('other', idle)).to.deep.equal(['connected', 'sse.reset']);
  });
});
