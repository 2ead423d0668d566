import { AsyncLocalStorage } from 'node:async_hooks';
import { expect } from 'chai';
import sinon from 'sinon';
import type { Reset, ResetClient } from '../../../src/contracts/connection.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

const options = { history: { maxEntries: 2 } };

describe('onReset', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let other: TestNode;
  let resets: Reset[];

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a', { options });
    other = await cluster.started('b', { options });
    resets = [];
  });

  afterEach(() => cluster.close());

  const publish = async (count: number): Promise<void> => {
    for (let n = 0; n < count; n += 1) await other.service.publish('news', 'message', `${n}`);
  };

  const snapshot = (client: ResetClient, reset: Reset): void => {
    resets.push(reset);
    client.send('snapshot', { for: client.id, of: [...client.topics] });
  };

  /** A client that missed so many events. */
  const comeBack = async (missed: number, onReset: (client: ResetClient, reset: Reset) => void | Promise<void>) => {
    const first = await node.connect('c1', { topics: ['news'] });
    const lastEventId = first.sink.lastId ?? '';
    first.sink.leave();
    await turns();
    await publish(missed);
    return node.connect('c1', { topics: ['news'], lastEventId, onReset });
  };

  it('sends a snapshot to a client that resumes too late, before the replay', async () => {
    const { sink } = await comeBack(4, snapshot);
    await turns();
    expect(sink.names).to.deep.equal(['connected', 'sse.reset', 'snapshot', 'message', 'message']);
    expect(sink.data('snapshot')).to.deep.equal(['{"for":"c1","of":["news"]}']);
    const received = JSON.parse(sink.data('sse.reset')[0] ?? '') as Reset;
    expect(resets).to.deep.equal([received]);
  });

  it('is awaited, while newer events are held', async () => {
    const { sink } = await comeBack(4, async client => {
      await turns();
      await other.service.publish('news', 'message', 'meanwhile');
      await turns();
      client.send('snapshot', 'x');
    });
    await turns();
    expect(sink.names.slice(0, 3)).to.deep.equal(['connected', 'sse.reset', 'snapshot']);
    expect(sink.data('message')).to.deep.equal(['2', '3', 'meanwhile']);
  });

  it('is not called for a client that missed nothing', async () => {
    await comeBack(2, snapshot);
    expect(resets).to.deep.equal([]);
  });

  it('is called for a client whose stream goes on', async () => {
    const { sink } = await node.connect('c1', { topics: ['news'], onReset: snapshot });
    cluster.bus.cut('a');
    await publish(4);
    cluster.bus.heal('a');
    await turns();
    expect(resets).to.have.length(1);
    expect(resets[0]).to.include({ reason: 'GAP' });
    expect(sink.data('snapshot')).to.have.length(1);
    expect(sink.data('message')).to.deep.equal(['2', '3']);
  });

  for (const policy of ['drop-newest', 'drop-oldest'] as const) {
    describe(`under ${policy}`, () => {
      const slow = { ...options, sendBuffer: { policy, maxBytes: 600, maxTotalBytes: 2_000_000 } };

      it('is called once, when its client has drained to the reset, and its snapshot arrives', async () => {
        const reader = await cluster.started('c', { options: slow });
        const { sink, connection } = await reader.connect('c1', { topics: ['news'], onReset: snapshot });
        await turns();
        sink.block();
        await publish(1);
        await turns();
        await publish(79);
        expect([resets.length, connection.state.kind]).to.deep.equal([0, 'open']);
        sink.unblock();
        await turns();
        expect(resets.map(({ reason, topics }) => [reason, topics])).to.deep.equal([['OVERFLOW', ['news']]]);
        expect(sink.names.filter(name => name === 'sse.reset')).to.have.length(1);
        expect(sink.names.at(-1)).to.equal('snapshot');
      });

      it('is called once for all gaps of a client that is slow for a while', async () => {
        const reader = await cluster.started('c', { options: slow });
        const { sink } = await reader.connect('c1', { topics: ['news'], onReset: snapshot });
        await turns();
        sink.block();
        for (let n = 0; n < 40; n += 1) {
          await publish(2);
          sink.gulp();
          await turns();
        }
        await publish(80);
        expect(resets).to.have.length(0);
        sink.unblock();
        await turns();
        expect([resets.length, sink.data('snapshot').length]).to.deep.equal([1, 1]);
      });
    });
  }

  it('runs in the asynchronous context of the connection, as listeners of its signal do', async () => {
    const context = new AsyncLocalStorage<string>();
    const seen: (string | undefined)[] = [];
    const onReset = (): void => void seen.push(context.getStore());
    const { connection } = await context.run('request', () => node.connect('c1', { topics: ['news'], onReset }));
    context.run('request', () => connection.signal.addEventListener('abort', onReset));
    await context.run('publisher', async () => {
      cluster.bus.cut('a');
      await publish(4);
      cluster.bus.heal('a');
      await turns();
      connection.close();
    });
    expect(seen).to.deep.equal(['request', 'request']);
  });

  it('is called again after it has ended for a reset that came meanwhile', async () => {
    const ends: (() => void)[] = [];
    const onReset = (_: ResetClient, reset: Reset): Promise<void> => {
      resets.push(reset);
      return new Promise(resolve => ends.push(resolve));
    };
    await node.connect('c1', { topics: ['news'], onReset });
    for (let n = 0; n < 3; n += 1) {
      cluster.bus.cut('a');
      await publish(4);
      cluster.bus.heal('a');
      await turns();
    }
    expect(resets).to.have.length(1);
    ends[0]?.();
    await turns();
    expect(resets).to.have.length(2);
  });

  it('that fails, costs its client nothing else, and is logged', async () => {
    const { sink, connection } = await comeBack(4, () => {
      throw new Error('no snapshot');
    });
    await turns();
    expect(sink.data('message')).to.deep.equal(['2', '3']);
    expect(connection.state.kind).to.equal('open');
    expect(node.logger.at('error')).to.have.length(1);
  });

  it('that never settles is abandoned after 10 s', async () => {
    const clock = sinon.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const connecting = comeBack(4, () => new Promise(() => undefined));
      await turns();
      await clock.tickAsync(10_000);
      const { sink } = await connecting;
      await turns();
      expect(sink.data('message')).to.deep.equal(['2', '3']);
      expect(node.logger.at('error')).to.have.length(1);
    } finally {
      clock.restore();
    }
  });

  it('gets not-connected when it sends after its client has left', async () => {
    let outcome: string | undefined;
    const left = comeBack(4, async client => {
      node.sinks.at(-1)?.leave();
      await turns();
      ({ outcome } = client.send('snapshot', 'x'));
    });
    await left.catch(() => undefined);
    expect(outcome).to.equal('not-connected');
  });
});
