import { expect } from 'chai';
import sinon from 'sinon';
import type { ClusterCoordinator } from '../../../src/contracts/cluster.js';
import type { CloseReceipt } from '../../../src/contracts/events.js';
import type { ConnectionOptions } from '../../../src/contracts/service.js';
import type { ResiliencePolicy } from '../../../src/contracts/policy.js';
import { SseError } from '../../../src/errors.js';
import { resolveOptions, type SseOptions } from '../../../src/options/sse-options.js';
import { parseCursor } from '../../../src/protocol/cursor.js';
import { CockatielPolicy } from '../../../src/resilience/policies.js';
import { codeOf } from '../../support/code-of.js';
import { type Hook, hookedCoordinator } from '../../support/hooked-coordinator.js';
import { SubscriptionCounter } from '../../support/subscription-counter.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

/** Every moment at which something else can happen while a connection opens. */
const MOMENTS = [
  'before start',
  'after start',
  'before log.subscribe',
  'after log.subscribe',
  'before log.replay',
  'after log.replay',
  'before routes.register',
  'after routes.register',
] as const;

type Moment = (typeof MOMENTS)[number];

/** Gives up calls that fail much earlier than usual, and late enough for a call on a busy machine. */
const SOON = { register: { timeout: 500 } };

describe('ConnectionOpener', () => {
  let cluster: TestCluster;
  let other: TestNode;
  let subscriptions: SubscriptionCounter;
  let onMoment: (moment: Moment) => void | Promise<void>;

  /** A node whose calls to the cluster a test can interrupt. */
  function interruptible(options: SseOptions = {}, policy?: ResiliencePolicy): TestNode {
    const hook: Hook = (method, when) => {
      const moment = MOMENTS.find(name => name === `${when} ${method}`);
      return moment === undefined ? undefined : onMoment(moment);
    };
    const wrap = (inner: ClusterCoordinator): ClusterCoordinator => hookedCoordinator(subscriptions.count(inner), hook);
    return cluster.node('a', { options, wrap, ...(policy && { policy }) });
  }

  async function expectNothingLeft(node: TestNode): Promise<void> {
    await turns();
    expect(node.store.size + node.store.opening).to.equal(0);
    expect([...node.store.topics()]).to.deep.equal([]);
    expect(cluster.bus.route('c1')).to.equal(undefined);
    expect(subscriptions.balance).to.deep.equal({});
  }

  beforeEach(async () => {
    cluster = new TestCluster();
    subscriptions = new SubscriptionCounter();
    onMoment = () => undefined;
    other = await cluster.started('other');
  });

  afterEach(() => cluster.close());

  describe('a call that fails while the cluster is well', () => {
    it('is made again, and the connection opens like any other', async () => {
      const node = interruptible();
      let failures = 2;
      onMoment = moment => {
        if (moment === 'before log.replay' && failures-- > 0)
          throw new SseError('UNAVAILABLE', 'too late', { retryable: false });
      };
      const { sink } = await node.connect('c1', { topics: ['news'] });
      expect(parseCursor(sink.lastEvent?.id ?? '')).to.not.equal(undefined);
      expect(cluster.bus.route('c1')).to.include({ nodeId: 'a' });
      sink.leave();
      await expectNothingLeft(node);
    });

    it('refuses the connection when it fails for longer than a registration may take', async () => {
      const node = interruptible({ resilience: { register: { timeout: 50 } } });
      onMoment = moment => {
        if (moment === 'before log.replay') throw new SseError('UNAVAILABLE', 'too late', { retryable: false });
      };
      expect(await codeOf(node.connect('c1', { topics: ['news'] }))).to.equal('UNAVAILABLE');
      await expectNothingLeft(node);
    });

    it('of clients that resume never keeps out one that begins at the present', async () => {
      const node = interruptible({ resilience: { register: { timeout: 50 } } }, new CockatielPolicy(resolveOptions()));
      const { sink } = await other.connect('c0', { topics: ['news'] });
      const lastEventId = sink.lastId ?? '';
      onMoment = moment => {
        if (moment === 'before log.replay') throw new SseError('UNAVAILABLE', 'too late', { retryable: false });
      };
      for (const id of ['r1', 'r2', 'r3']) {
        expect(await codeOf(node.connect(id, { topics: ['news'], lastEventId }))).to.equal('UNAVAILABLE');
      }
      expect(node.service.health()).to.include({ ready: true, degraded: true });
      onMoment = () => undefined;
      const fresh = await node.connect('c1', { topics: ['news'] });
      expect(parseCursor(fresh.sink.lastEvent?.id ?? '')).to.not.equal(undefined);
      expect(cluster.bus.route('c1')).to.include({ nodeId: 'a' });
    });
  });

  describe('the options', () => {
    const refusals: [string, string, ConnectionOptions, string][] = [
      ['an empty connection id', '', {}, 'INVALID_CONNECTION_ID'],
      ['a connection id with a line break', 'a\nb', {}, 'INVALID_CONNECTION_ID'],
      ['an empty topic', 'c1', { topics: [''] }, 'INVALID_TOPIC'],
      ['a reserved topic', 'c1', { topics: ['*'] }, 'INVALID_TOPIC'],
      ['too many topics', 'c1', { topics: ['1', '2', '3'] }, 'INVALID_TOPIC'],
    ];
    for (const [title, id, options, code] of refusals) {
      it(`${title} is refused with ${code}, and the sink is not touched`, async () => {
        const node = cluster.node('a', { options: { limits: { maxTopicsPerConnection: 2 } } });
        const sink = new RecordingSink();
        expect(await codeOf(node.connect(id, options, sink))).to.equal(code);
        expect(sink.attached).to.equal(false);
        expect(sink.opened).to.equal(false);
      });
    }

    it('counts a topic that is named twice once', async () => {
      const node = cluster.node('a', { options: { limits: { maxTopicsPerConnection: 1 } } });
      const { connection } = await node.connect('c1', { topics: ['news', 'news'] });
      expect([...connection.topics]).to.deep.equal(['news']);
    });

    it('a client that is gone ends no process whose code does not wait', async () => {
      const [sink, node] = [new RecordingSink(), cluster.node('a')];
      sink.leave();
      const unhandled = sinon.stub();
      process.on('unhandledRejection', unhandled);
      void node.service.createConnection('c1', sink);
      await turns();
      process.off('unhandledRejection', unhandled);
      expect(unhandled.callCount).to.equal(0);
    });

    it('a client that is gone already is not registered', async () => {
      const sink = new RecordingSink();
      sink.leave();
      const node = interruptible();
      expect(await codeOf(node.connect('c1', {}, sink))).to.equal('CONNECTION_CLOSED');
      expect(sink.attached).to.equal(false);
      await expectNothingLeft(node);
    });

    it('keeps the last event id for the application, bounded', async () => {
      const node = await cluster.started('a');
      const short = await node.connect('c1', { lastEventId: 'x'.repeat(256) });
      const long = await node.connect('c2', { lastEventId: 'x'.repeat(257) });
      const empty = await node.connect('c3', { lastEventId: '' });
      expect(short.connection.lastEventId).to.equal('x'.repeat(256));
      expect(long.connection.lastEventId).to.equal(undefined);
      expect(empty.connection.lastEventId).to.equal(undefined);
    });
  });

  describe('a successful opening', () => {
    it('ends with an open, registered and subscribed connection', async () => {
      const node = interruptible();
      const { connection, sink } = await node.connect('c1', { topics: ['news'] });
      expect(connection.state.kind).to.equal('open');
      expect(sink.opened).to.equal(true);
      expect(node.store.get('c1')).to.equal(connection);
      expect(cluster.bus.route('c1')).to.include({
        nodeId: 'a',
        fencingToken: connection.fencingToken,
      });
      expect(subscriptions.balance).to.deep.equal({ news: 1 });
    });

    it('opens the sink only when the id is registered', async () => {
      const sink = new RecordingSink();
      const opened: [Moment, boolean][] = [];
      onMoment = moment => {
        opened.push([moment, sink.opened]);
      };
      await interruptible().connect('c1', { topics: ['news'] }, sink);
      expect(opened).to.deep.equal(MOMENTS.map(moment => [moment, false]));
    });

    it('releases its resources when the connection ends', async () => {
      const node = interruptible();
      const { sink } = await node.connect('c1', { topics: ['news', 'sport'] });
      sink.leave();
      await expectNothingLeft(node);
    });

    it('releases its resources for any close reason of the application', async () => {
      for (const reason of ['superseded', 'draining', 'shutdown', 'slow']) {
        const node = interruptible();
        const { connection } = await node.connect('c1', { topics: ['news'] });
        connection.close(reason);
        await expectNothingLeft(node);
        await node.service.close();
      }
    });
  });

  describe('events while it opens', () => {
    it('a client that resumes gets each event once and in order, whenever it is published', async () => {
      await other.service.publish('news', 'message', 'before the cursor');
      const { id: lastEventId = '' } = await other.service.publish('news', 'message', 'at it');
      const expected: string[] = [];
      let n = 0;
      const publish = async (): Promise<void> => {
        for (const topic of ['news', 'sport']) {
          n += 1;
          expected.push(`${n}`);
          await other.service.publish(topic, 'message', `${n}`);
        }
        n += 1;
        expected.push(`${n}`);
        await other.service.broadcastToCluster('message', `${n}`);
      };
      onMoment = publish;
      await publish();
      const { sink } = await interruptible().connect('c1', {
        topics: ['news', 'sport'],
        lastEventId,
      });
      await publish();
      await turns();
      expect(expected).to.have.length((MOMENTS.length + 2) * 3);
      expect(sink.data('message')).to.deep.equal(expected);
    });

    for (const moment of MOMENTS) {
      it(`a client that begins now gets everything after its first id, published ${moment}`, async () => {
        onMoment = async now => {
          if (now !== moment) return;
          for (let n = 0; n < 3; n += 1) await other.service.publish('news', 'message', `${n}`);
        };
        const { sink } = await interruptible().connect('c1', { topics: ['news'] });
        await other.service.publish('news', 'message', 'last');
        await turns();
        const sequences = sink.events.map(({ id = '' }) => parseCursor(id)?.sequence ?? -1);
        const [first = -1] = sequences;
        const all = Array.from({ length: 4 }, (_, n) => n + 1);
        expect(sequences.slice(1)).to.deep.equal(all.filter(sequence => sequence > first));
      });
    }

    it('direct sends wait until it is open', async () => {
      const outcomes: string[] = [];
      onMoment = async moment => {
        if (moment !== 'after routes.register') return;
        const receipt = await other.service.sendMessageToConnection('c1', 'message', 'held');
        outcomes.push(receipt.outcome);
      };
      const { sink } = await interruptible().connect('c1');
      await turns();
      expect(outcomes).to.deep.equal(['buffered']);
      expect(sink.names).to.deep.equal(['connected', 'message']);
    });

    it('more of them than the send buffer holds end the opening', async () => {
      const sink = new RecordingSink();
      onMoment = async moment => {
        if (moment === 'before routes.register') {
          await other.service.broadcastToCluster('message', 'x'.repeat(2000));
        }
      };
      const node = interruptible({ sendBuffer: { maxBytes: 1000 } });
      expect(await codeOf(node.connect('c1', {}, sink))).to.equal('SEND_BUFFER_FULL');
      expect(sink.opened).to.equal(false);
      await expectNothingLeft(node);
    });
  });

  describe('a client that leaves', () => {
    for (const moment of MOMENTS) {
      it(`${moment} leaves nothing behind`, async () => {
        const sink = new RecordingSink();
        onMoment = now => {
          if (now === moment) sink.leave();
        };
        const node = interruptible();
        const opening = node.connect('c1', { topics: ['news', 'sport'] }, sink);
        expect(await codeOf(opening)).to.equal('CONNECTION_CLOSED');
        expect(sink.opened).to.equal(false);
        await expectNothingLeft(node);
      });
    }
  });

  describe('a failure of the cluster', () => {
    for (const moment of MOMENTS.filter(name => name !== 'after log.subscribe')) {
      it(`${moment} is the caller's, leaves nothing behind, and the next try succeeds`, async () => {
        const sink = new RecordingSink();
        onMoment = now => {
          if (now === moment) throw new SseError('UNAVAILABLE', 'cut off');
        };
        const node = interruptible({ onUnavailable: 'reject', resilience: SOON });
        const opening = node.connect('c1', { topics: ['news', 'sport'] }, sink);
        expect(await codeOf(opening)).to.equal('UNAVAILABLE');
        expect(sink.opened).to.equal(false);
        expect(sink.destroyed).to.equal(false);
        await expectNothingLeft(node);
        onMoment = () => undefined;
        const { connection } = await node.connect('c1', { topics: ['news', 'sport'] }, sink);
        expect(connection.state.kind).to.equal('open');
        expect(subscriptions.balance).to.deep.equal({ news: 1, sport: 1 });
      });
    }
  });

  describe('the end of the node', () => {
    for (const moment of MOMENTS) {
      it(`a drain that begins ${moment} refuses the client and leaves nothing behind`, async () => {
        const sink = new RecordingSink();
        let drained: Promise<void> | undefined;
        const node = interruptible();
        onMoment = now => {
          if (now === moment) drained = node.service.drain({ timeout: 1000 });
        };
        const opening = node.connect('c1', { topics: ['news'] }, sink);
        expect(await codeOf(opening)).to.be.oneOf(['DRAINING', 'CLOSED']);
        await drained;
        expect(sink.opened).to.equal(false);
        expect(drained).to.not.equal(undefined);
        await expectNothingLeft(node);
      });

      it(`a close that comes ${moment} refuses the client and leaves nothing behind`, async () => {
        const sink = new RecordingSink();
        let closed: Promise<void> | undefined;
        const node = interruptible();
        onMoment = now => {
          if (now === moment) closed = node.service.close();
        };
        const opening = node.connect('c1', { topics: ['news'] }, sink);
        expect(await codeOf(opening)).to.be.oneOf(['DRAINING', 'CLOSED']);
        await closed;
        expect(sink.opened).to.equal(false);
        expect(closed).to.not.equal(undefined);
        await expectNothingLeft(node);
      });
    }
  });

  describe('a close by id while it opens', () => {
    for (const moment of ['before log.replay', 'before routes.register', 'after routes.register'] as const) {
      it(`${moment} refuses the client`, async () => {
        const sink = new RecordingSink();
        const node = interruptible();
        let closed: CloseReceipt | undefined;
        onMoment = async now => {
          if (now !== moment) return;
          const service = now === 'after routes.register' ? other.service : node.service;
          closed = await service.closeConnection('c1', 'kicked');
        };
        expect(await codeOf(node.connect('c1', {}, sink))).to.equal('CONNECTION_CLOSED');
        expect(closed).to.deep.equal({ closed: 1, missing: [] });
        expect(sink.opened).to.equal(false);
        await expectNothingLeft(node);
      });
    }

    it('closes the present owner and leaves the newcomer alone when there is one', async () => {
      const node = interruptible();
      const former = await node.connect('c1');
      onMoment = async moment => {
        if (moment === 'before routes.register') await node.service.closeConnection('c1', 'kicked');
      };
      const { connection } = await node.connect('c1');
      expect(former.sink.lastEvent?.data).to.equal('{"reason":"kicked"}');
      expect(connection.state.kind).to.equal('open');
    });

    it('closeAllConnections refuses it as well', async () => {
      const node = interruptible();
      onMoment = async moment => {
        if (moment === 'before routes.register') await node.service.closeAllConnections('maintenance');
      };
      expect(await codeOf(node.connect('c1'))).to.equal('CONNECTION_CLOSED');
      await expectNothingLeft(node);
    });
  });

  describe('takeover', () => {
    it("the former connection's last event says superseded, on this node and on another", async () => {
      const node = await cluster.started('a');
      const first = await node.connect('c1');
      const second = await node.connect('c1');
      const third = await other.connect('c1');
      await turns();
      for (const { sink, connection } of [first, second]) {
        expect(sink.lastEvent).to.include({
          event: 'sse.closed',
          data: '{"reason":"superseded"}',
        });
        expect(sink.gone).to.equal(true);
        expect(await connection.closed).to.equal('superseded');
      }
      expect(third.connection.state.kind).to.equal('open');
      expect(cluster.bus.route('c1')).to.include({ nodeId: 'other' });
      expect(node.store.size).to.equal(0);
    });

    it('later sends reach the newcomer alone', async () => {
      const node = await cluster.started('a');
      const former = await node.connect('c1');
      const newcomer = await node.connect('c1');
      await other.service.sendMessageToConnection('c1', 'message', 'x');
      await turns();
      expect(former.sink.data('message')).to.deep.equal([]);
      expect(newcomer.sink.data('message')).to.deep.equal(['x']);
    });

    it('the connection that opened first loses to one that overtakes it', async () => {
      const node = interruptible();
      onMoment = async moment => {
        if (moment !== 'after routes.register') return;
        onMoment = () => undefined;
        await other.connect('c1');
      };
      const sink = new RecordingSink();
      expect(await codeOf(node.connect('c1', {}, sink))).to.equal('DUPLICATE_CONNECTION');
      expect(sink.opened).to.equal(false);
      expect(cluster.bus.route('c1')).to.include({ nodeId: 'other' });
      expect(node.store.opening).to.equal(0);
    });

    it('a registration whose answer comes late does not displace a later one', async () => {
      let answerFirst: () => void = () => undefined;
      const inner = { superseded: 0 };
      const node = cluster.node('a', {
        wrap: coordinator => {
          const hooked = hookedCoordinator(coordinator, async (method, when) => {
            if (method !== 'routes.register' || when !== 'after' || inner.superseded > 0) return;
            inner.superseded += 1;
            await new Promise<void>(resolve => (answerFirst = resolve));
          });
          // The news of the takeover is late as well.
          return {
            ...hooked,
            start: listener =>
              hooked.start(
                Object.assign(Object.create(listener) as typeof listener, {
                  onSuperseded: () => undefined,
                }),
              ),
          };
        },
      });
      const first = codeOf(node.connect('c1'));
      await turns();
      const second = await node.connect('c1');
      answerFirst();
      expect(await first).to.equal('DUPLICATE_CONNECTION');
      expect(second.connection.state.kind).to.equal('open');
      expect(node.store.get('c1')).to.equal(second.connection);
      await turns();
      expect(cluster.bus.route('c1')).to.include({ fencingToken: second.connection.fencingToken });
    });

    it('a newcomer that fails leaves the present owner alone', async () => {
      const node = interruptible({ onUnavailable: 'reject', resilience: SOON });
      const owner = await node.connect('c1');
      onMoment = moment => {
        if (moment === 'before routes.register') throw new SseError('UNAVAILABLE', 'cut off');
      };
      expect(await codeOf(node.connect('c1'))).to.equal('UNAVAILABLE');
      await turns();
      expect(owner.connection.state.kind).to.equal('open');
      expect(cluster.bus.route('c1')).to.include({ fencingToken: owner.connection.fencingToken });
    });

    it('is refused with DUPLICATE_CONNECTION when so asked, on this node and on another', async () => {
      const node = await cluster.started('a', {
        options: { connection: { onDuplicate: 'reject' } },
      });
      const { connection, sink } = await node.connect('c1');
      expect(await codeOf(node.connect('c1'))).to.equal('DUPLICATE_CONNECTION');
      const refused = new RecordingSink();
      const asked = other.connect('c1', { onDuplicate: 'reject' }, refused);
      expect(await codeOf(asked)).to.equal('DUPLICATE_CONNECTION');
      expect(refused.opened).to.equal(false);
      expect(connection.state.kind).to.equal('open');
      expect(sink.names).to.deep.equal(['connected']);
      const overruled = await node.connect('c1', { onDuplicate: 'takeover' });
      expect(overruled.connection.state.kind).to.equal('open');
    });
  });

  describe('a storm', () => {
    const back = { lastEventId: 'where it was' };
    let clock: sinon.SinonFakeTimers;
    let node: TestNode;

    beforeEach(async () => {
      clock = sinon.useFakeTimers({ toFake: ['Date', 'performance'] });
      node = await cluster.started('a');
    });

    afterEach(() => {
      clock.restore();
    });

    const advice = () => [...node.logger.at('warn'), ...other.logger.at('warn')].map(({ fields }) => fields);

    it('begins with the sixth takeover by clients that come back within 30 s, across nodes; the owner stays', async () => {
      await node.connect('c1');
      let owner = await other.connect('c1', back);
      for (const next of [node, other, node, other]) owner = await next.connect('c1', back);
      for (const next of [node, other]) {
        const sink = new RecordingSink();
        expect(await codeOf(next.connect('c1', back, sink))).to.equal('TAKEOVER_STORM');
        expect(sink.opened).to.equal(false);
        expect(next.store.opening).to.equal(0);
      }
      await other.service.sendMessageToConnection('c1', 'message', 'x');
      await turns();
      expect(owner.sink.names).to.deep.equal(['connected', 'message']);
      expect(owner.connection.state.kind).to.equal('open');
    });

    it('of page loads begins with the twentieth takeover, may pass, and leaves those that come back their count', async () => {
      for (let load = 0; load <= 19; load += 1) await node.connect('c1');
      expect(await codeOf(node.connect('c1'))).to.equal('RATE_LIMITED');
      for (let takeover = 1; takeover <= 5; takeover += 1) await node.connect('c1', back);
      expect(await codeOf(node.connect('c1', back))).to.equal('TAKEOVER_STORM');
    });

    it('is logged once per node, with the id', async () => {
      for (let load = 0; load <= 22; load += 1) await node.connect('c1').catch(() => undefined);
      expect(advice()).to.deep.equal([{ connectionId: 'c1' }]);
    });

    it('that is slow is logged as well: an id that changes its owner again and again', async () => {
      await node.connect('c1');
      for (let takeover = 1; takeover <= 10; takeover += 1) {
        clock.tick(20_000);
        await node.connect('c1', back);
      }
      expect(advice()).to.deep.equal([{ connectionId: 'c1' }]);
    });

    it('is none when a client comes back now and then', async () => {
      await node.connect('c1');
      for (let takeover = 1; takeover <= 10; takeover += 1) {
        clock.tick(61_000);
        await node.connect('c1', back);
      }
      expect(advice()).to.deep.equal([]);
    });
  });

  describe('the limit of connections', () => {
    const options: SseOptions = { connection: { maxConnections: 3 } };

    it('refuses the connection over the limit and evicts none', async () => {
      const node = await cluster.started('a', { options });
      const clients: TestClient[] = [];
      for (const id of ['c1', 'c2', 'c3']) clients.push(await node.connect(id));
      const sink = new RecordingSink();
      expect(await codeOf(node.connect('c4', {}, sink))).to.equal('CONNECTION_LIMIT');
      expect(sink.attached).to.equal(false);
      expect(clients.map(({ connection }) => connection.state.kind)).to.deep.equal(Array(3).fill('open'));
      clients[0]?.sink.leave();
      await turns();
      expect((await node.connect('c4')).connection.state.kind).to.equal('open');
    });

    it('allows a takeover when the node is full', async () => {
      const node = await cluster.started('a', { options });
      for (const id of ['c1', 'c2', 'c3']) await node.connect(id);
      expect((await node.connect('c2')).connection.state.kind).to.equal('open');
      expect(node.store.size).to.equal(3);
    });

    it('is not exceeded by clients that come at once', async () => {
      let most = 0;
      const node = interruptible(options);
      onMoment = async () => {
        most = Math.max(most, node.store.size + node.store.opening);
        await turns(1);
      };
      const codes = await Promise.all(
        Array.from({ length: 8 }, (_, n) => codeOf(node.connect(`c${n}`, { topics: ['news'] }))),
      );
      expect(codes.filter(code => code === undefined)).to.have.length(3);
      expect(codes.filter(code => code === 'CONNECTION_LIMIT')).to.have.length(5);
      expect(most).to.equal(3);
      expect(node.store.size).to.equal(3);
    });

    it('is not exceeded when the connection to be displaced closes meanwhile', async () => {
      const node = interruptible(options);
      const clients: TestClient[] = [];
      for (const id of ['c1', 'c2', 'c3']) clients.push(await node.connect(id));
      let newcomer: string | undefined;
      onMoment = async moment => {
        if (moment !== 'before routes.register') return;
        onMoment = () => undefined;
        clients[0]?.sink.leave();
        newcomer = await codeOf(node.connect('c4'));
      };
      await node.connect('c1');
      expect(newcomer).to.equal('CONNECTION_LIMIT');
      expect(node.store.size).to.equal(3);
    });
  });
});
