import { expect } from 'chai';
import type { ConnectionOptions } from '../../../src/contracts/service.js';
import { codeOf } from '../../support/code-of.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe("a connection with ids: 'application'", () => {
  let cluster: TestCluster;
  let here: TestNode;
  let there: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    here = await cluster.started('here');
    there = await cluster.started('there');
  });
  afterEach(() => cluster.close());

  const connect = async (id = 'c1', options: ConnectionOptions = {}): Promise<TestClient> => {
    const client = await here.connect(id, { ids: 'application', ...options });
    await turns();
    return client;
  };

  it('keeps the id that its client brought, until the application sends one', async () => {
    const { connection, sink } = await connect('c1', { lastEventId: 'row-3' });
    expect(sink.lastId).to.equal('row-3');
    for (const row of [4, 5]) connection.send('row', { row }, { id: `row-${row}` });
    await turns();
    expect(sink.lastId).to.equal('row-5');
    connection.close();
    await turns();
    expect(sink.lastId).to.equal('row-5');
    const quiet = await connect('c2', { lastEventId: 'row-5' });
    quiet.connection.close();
    await turns();
    expect(quiet.sink.lastId).to.equal('row-5');
  });

  it('takes ids from every kind of direct send', async () => {
    const { connection, sink } = await connect();
    for (const send of [
      async () => here.service.sendMessage('c1', 'row', 1, { id: 'local' }),
      async () => here.service.sendMessageToConnection('c1', 'row', 1, { id: 'owner' }),
      async () => there.service.sendMessageToConnection('c1', 'row', 1, { id: 'remote' }),
    ]) {
      expect(await send()).to.include({ outcome: 'delivered' });
    }
    expect(sink.lastId).to.equal('remote');
    connection.close();
    await turns();
    expect(sink.lastId).to.equal('remote');
  });

  it('gets broadcasts without their ids, once, and no replay of them', async () => {
    await there.service.broadcastToCluster('note', 'before');
    const { connection, sink } = await connect('c1', { lastEventId: await here.service.position() });
    const brought = sink.lastId;
    await there.service.broadcastToCluster('note', 'meanwhile');
    here.service.broadcast('note', 'local');
    await turns();
    expect(sink.data('note')).to.deep.equal(['meanwhile', 'local']);
    expect(sink.lastId).to.equal(brought);
    here.store.get('c1')?.reportGap({
      reason: 'EPOCH',
      topics: undefined,
      resumedFrom: { epoch: 'x', ms: 1, sequence: 1 },
      until: { ms: 1, sequence: 1 },
    });
    await turns();
    expect(sink.data('sse.reset')).to.deep.equal([]);
    connection.close();
    await turns();
    const again = await connect('c1', { ...(brought !== undefined && { lastEventId: brought }) });
    expect(again.sink.data('note')).to.deep.equal([]);
  });

  it('follows no topics, from the start or later, and has no source', async () => {
    for (const options of [
      { topics: ['news'] },
      { onReset: () => undefined },
      { source: { key: 'a', start: () => [] } },
    ]) {
      expect(await codeOf(connect('c2', options))).to.equal('INVALID_OPTION');
    }
    await connect();
    for (const { service } of [here, there]) {
      expect(await service.subscribe('c1', 'news')).to.deep.equal({ outcome: 'rejected', code: 'INVALID_TOPIC' });
    }
  });

  it('is the only one that takes an event with an id', async () => {
    const { connection, sink } = await here.connect('c1');
    await turns();
    const before = sink.lastId;
    const refused = { outcome: 'rejected', code: 'INVALID_EVENT_ID' };
    expect(connection.send('row', 1, { id: 'row-1' })).to.include(refused);
    expect(here.service.sendMessage('c1', 'row', 1, { id: 'row-1', messageId: 'm' })).to.include(refused);
    expect(await there.service.sendMessageToConnection('c1', 'row', 1, { id: 'row-1' })).to.include(refused);
    await turns();
    expect(sink.data('row')).to.deep.equal([]);
    connection.close();
    await turns();
    expect(sink.lastId).to.equal(before);
  });
});

describe('position', () => {
  it('is the id after which a stream gets all that is published, on any node', async () => {
    const cluster = new TestCluster();
    const one = await cluster.started('one');
    const other = await cluster.started('other');
    await one.service.publish('news', 'note', 'on the page');
    const lastEventId = await one.service.position();
    await other.service.publish('news', 'note', 'missed in between');
    const { sink } = await other.connect('c1', { topics: ['news'], lastEventId });
    await one.service.publish('news', 'note', 'live');
    await turns();
    expect(sink.data('note')).to.deep.equal(['missed in between', 'live']);
    await cluster.close();
    expect(await codeOf(one.service.position())).to.equal('CLOSED');
  });
});
