import { expect } from 'chai';
import sinon from 'sinon';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { turns } from '../../support/turns.js';

const LIMIT = { takeoverLimit: 5, takeoverWindow: 30_000 };
const KEEP = { maxEntries: 3, ttl: 60_000 };

describe('MemoryBus', () => {
  let clock: sinon.SinonFakeTimers;
  let bus: MemoryBus;
  let a: RecordingListener;
  let b: RecordingListener;

  beforeEach(() => {
    clock = sinon.useFakeTimers({
      now: 1_700_000_000_000,
      toFake: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'Date', 'performance'],
    });
    bus = new MemoryBus();
    a = new RecordingListener();
    b = new RecordingListener();
    bus.join('a', a);
    bus.join('b', b);
  });

  afterEach(() => {
    clock.restore();
  });

  const own = (nodeId: string, listener: RecordingListener, id: string, token: string) => {
    listener.connections.set(id, token);
    return takeOver(nodeId, id, token);
  };
  const takeOver = (nodeId: string, id: string, token: string) =>
    bus.register(nodeId, { connectionId: id, token, onDuplicate: 'takeover' }, LIMIT);
  const publish = (topic: string | undefined, text: string, idempotencyKey?: string) =>
    bus.publish({
      topic,
      body: Buffer.from(`data: ${text}\n\n`),
      retention: KEEP,
      ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
    });

  describe('nodes', () => {
    it('have ids of their own', async () => {
      let error: unknown;
      try {
        bus.join('a', new RecordingListener());
      } catch (thrown) {
        error = thrown;
      }
      expect(SseError.is(error, 'INVALID_OPTION')).to.equal(true);
    });

    it('may join again with the same id', () => {
      bus.leave('a');
      bus.join('a', new RecordingListener());
      expect(bus.nodes('a').map(({ nodeId }) => nodeId)).to.deep.equal(['a', 'b']);
    });

    it('with an unknown id cannot be reached', () => {
      expect(bus.isCut('nobody')).to.equal(true);
      expect(bus.reach('nobody')).to.equal(undefined);
      bus.cut('nobody');
      bus.heal('nobody');
      expect(bus.nodes('a')).to.have.length(2);
    });
  });

  describe('takeovers', () => {
    it('are allowed again once the window has passed', () => {
      takeOver('a', 'c1', 't0');
      for (let n = 1; n <= 5; n += 1) takeOver('a', 'c1', `t${n}`);
      clock.tick(29_999);
      expect(takeOver('b', 'c1', 't6')).to.deep.equal({ outcome: 'storm' });
      clock.tick(1);
      expect(takeOver('b', 'c1', 't7')).to.include({ outcome: 'registered' });
    });

    it('are counted over a window that moves', () => {
      takeOver('a', 'c1', 't0');
      for (let n = 1; n <= 5; n += 1) {
        takeOver('a', 'c1', `t${n}`);
        clock.tick(10_000);
      }
      expect(takeOver('b', 'c1', 't6')).to.include({ outcome: 'registered' });
    });

    it('from a node that is cut off do not count, and are not refused', () => {
      takeOver('a', 'c1', 't0');
      for (let n = 1; n <= 5; n += 1) takeOver('a', 'c1', `t${n}`);
      bus.cut('a');
      expect(takeOver('b', 'c1', 't6')).to.include({ outcome: 'registered' });
      expect(takeOver('b', 'c1', 't7')).to.deep.equal({ outcome: 'storm' });
      clock.tick(30_000);
      bus.heal('a');
      takeOver('a', 'c1', 't8');
      bus.cut('a');
      takeOver('b', 'c1', 't9');
      for (let n = 10; n <= 13; n += 1) expect(takeOver('b', 'c1', `t${n}`)).to.include({ outcome: 'registered' });
      expect(takeOver('b', 'c1', 't14')).to.deep.equal({ outcome: 'storm' });
    });

    it('that were refused do not prolong the storm', () => {
      takeOver('a', 'c1', 't0');
      for (let n = 1; n <= 5; n += 1) takeOver('a', 'c1', `t${n}`);
      clock.tick(20_000);
      for (let n = 6; n <= 10; n += 1) takeOver('b', 'c1', `t${n}`);
      clock.tick(10_000);
      expect(takeOver('b', 'c1', 't11')).to.include({ outcome: 'registered' });
    });
  });

  describe('idempotency keys', () => {
    it('are remembered for a minute', () => {
      const first = publish('news', 'x', 'k');
      clock.tick(59_999);
      expect(publish('news', 'x', 'k')).to.deep.equal(first);
      clock.tick(1);
      expect(publish('news', 'x', 'k').cursor).to.not.deep.equal(first.cursor);
    });

    it('that are used again do not live longer', () => {
      const first = publish('news', 'x', 'k');
      clock.tick(30_000);
      publish('news', 'x', 'k');
      clock.tick(30_000);
      expect(publish('news', 'x', 'k').cursor).to.not.deep.equal(first.cursor);
    });
  });

  it('forgets keys and locks that are over without a further call, and stops its timer then', () => {
    publish('news', 'x', 'k');
    bus.acquireLock('job', 'a', 90_000);
    expect(clock.countTimers()).to.equal(1);
    clock.tick(90_000);
    expect(clock.countTimers()).to.equal(0);
    expect(bus.lockHolder('job')).to.equal(undefined);
  });

  describe('a cut', () => {
    it('reports the newest entry from which the healed node goes on, also when it is cut twice', () => {
      publish('news', '0');
      bus.cut('a');
      publish('news', '1');
      bus.cut('a');
      bus.heal('a');
      expect(a.publications.map(({ text }) => text.slice(-4, -2))).to.deep.equal([' 0', ' 1']);
    });

    it('healing a node that was not cut changes nothing', () => {
      own('a', a, 'c1', 't1');
      publish('news', '0');
      a.connections.clear();
      bus.heal('a');
      expect(bus.route('c1')).to.not.equal(undefined);
      expect(a.publications).to.have.length(1);
    });

    it('carries out the revocations of the time of the cut that are not over', () => {
      bus.cut('a');
      const revocation = { target: 'alice/', topics: [], reason: 'revoked', cut: false, age: 0 };
      bus.revoke({ ...revocation, id: 'short', ttl: 1_000 }, undefined);
      bus.revoke({ ...revocation, id: 'long', ttl: 60_000 }, undefined);
      clock.tick(1_000);
      const revoked = sinon.spy(a, 'onRevoke');
      bus.heal('a');
      expect(revoked.args).to.deep.equal([[{ ...revocation, id: 'long', ttl: 60_000, age: 1_000 }, undefined]]);
    });

    it('does not hold up a takeover', () => {
      own('a', a, 'c1', 't1');
      bus.cut('a');
      expect(takeOver('b', 'c1', 't1')).to.include({ outcome: 'registered' });
      expect(a.superseded).to.deep.equal([]);
    });

    it('returns an id to its former connection when the newer one is gone', () => {
      own('a', a, 'c1', 't1');
      bus.cut('a');
      takeOver('b', 'c1', 't9');
      bus.unregister('b', 'c1', 't9');
      bus.heal('a');
      expect(bus.route('c1')).to.include({ nodeId: 'a', token: 't1' });
      expect(a.superseded).to.deep.equal([]);
    });

    it('gets the gaps of topics that lost entries meanwhile, before the entries that are left', () => {
      bus.cut('a');
      const [first] = [0, 1, 2, 3].map(n => publish('news', `${n}`).cursor);
      publish('sport', 'x');
      bus.heal('a');
      const { epoch = '', ms = 0, sequence = 0 } = first ?? {};
      const until = { ms, sequence };
      const topics = new Map([['news', until]]);
      const gap = { reason: 'GAP', topics, resumedFrom: { epoch, ms, sequence }, until };
      expect(a.gaps).to.deep.equal([{ gap, after: 0 }]);
      expect(a.publications).to.have.length(4);
    });

    it('gets a gap of lost broadcasts for all connections', () => {
      bus.cut('a');
      for (let n = 0; n < 4; n += 1) publish(undefined, `${n}`);
      bus.heal('a');
      expect(a.gaps).to.have.length(1);
      expect([...(a.gaps[0]?.gap.topics?.keys() ?? [])]).to.deep.equal(['*']);
    });

    it('gets no gap of entries that were lost before', () => {
      for (let n = 0; n < 4; n += 1) publish(undefined, `${n}`);
      bus.cut('a');
      publish(undefined, '4');
      bus.heal('a');
      expect(a.gaps).to.deep.equal([]);
      expect(a.publications).to.have.length(5);
    });

    it('a node that leaves while it is cut leaves no route', () => {
      own('a', a, 'c1', 't1');
      bus.cut('a');
      bus.leave('a');
      expect(bus.count).to.equal(0);
      expect(bus.nodes('b')).to.deep.equal([{ nodeId: 'b', connections: 0, self: true }]);
    });
  });

  describe('a send to a node that is cut off', () => {
    it('waits for its deadline before it is unknown', async () => {
      const sender = new LocalCoordinator('c', LIMIT, bus);
      await sender.start(new RecordingListener());
      own('b', b, 'c1', 't1');
      bus.cut('b');
      let outcome: string | undefined;
      const frame = { bytes: Buffer.from('data: x\n\n') };
      const message = { connectionId: 'c1', messageId: 'm', frame, deadline: 2000 };
      void sender.messenger.send({ ...message, ack: 'owner' }).then(result => (outcome = result.outcome));
      await clock.tickAsync(1999);
      await turns();
      expect(outcome).to.equal(undefined);
      await clock.tickAsync(1);
      await turns();
      expect(outcome).to.equal('unknown');
    });

    it('is routed at once with ack none', async () => {
      const sender = new LocalCoordinator('c', LIMIT, bus);
      await sender.start(new RecordingListener());
      own('b', b, 'c1', 't1');
      bus.cut('b');
      const frame = { bytes: Buffer.from('data: x\n\n') };
      const message = { connectionId: 'c1', messageId: 'm', frame, deadline: 2000 };
      const result = await sender.messenger.send({ ...message, ack: 'none' });
      expect(result).to.deep.equal({ outcome: 'routed', nodeId: 'b' });
    });
  });

  describe('a LocalCoordinator', () => {
    it('without a bus of its own is alone', async () => {
      const alone = new LocalCoordinator('a', LIMIT);
      await alone.start(new RecordingListener());
      expect(await alone.routes.nodes()).to.deep.equal([{ nodeId: 'a', connections: 0, self: true }]);
      await alone.close();
    });

    it('that has not started reaches no node', async () => {
      const unstarted = new LocalCoordinator('c', LIMIT, bus);
      expect(await codeOf(unstarted.routes.count())).to.equal('UNAVAILABLE');
      const frame = { bytes: Buffer.from('data: x\n\n') };
      const message = { connectionId: 'c1', messageId: 'm', frame, deadline: 2000 };
      const result = await unstarted.messenger.send({ ...message, ack: 'owner' });
      expect(result).to.deep.equal({ outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' });
    });
  });
});
