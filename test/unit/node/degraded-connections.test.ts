import { expect } from 'chai';
import { SseError } from '../../../src/errors.js';
import { resolveOptions } from '../../../src/options/sse-options.js';
import { formatCursor, parseCursor } from '../../../src/protocol/cursor.js';
import { CockatielPolicy } from '../../../src/resilience/policies.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { until } from '../../support/until.js';

describe('DegradedConnections', () => {
  let cluster: TestCluster;
  let node: TestNode;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a');
    cluster.bus.cut('a');
  });
  afterEach(() => cluster.close());

  it('open while the cluster cannot be reached, with a first event that keeps the client where it is', async () => {
    const sink = new RecordingSink();
    const { connection } = await node.connect('c1', { topics: ['news'] }, sink);
    expect(connection.state.kind).to.equal('open');
    expect(sink.lastEvent).to.include({ event: 'connected' });
    expect(parseCursor(sink.lastEvent?.id ?? '')).to.equal(undefined);
  });

  it('get sends of their node', async () => {
    const { sink } = await node.connect('c1');
    expect(node.service.sendMessage('c1', 'note', 'x').outcome).to.equal('delivered');
    expect(sink.lastEvent).to.include({ event: 'note', data: 'x' });
    expect(await node.service.broadcastToCluster('all', 'y')).to.include({
      local: 1,
      degraded: true,
    });
    await until(() => sink.lastEvent?.event === 'all', 'the broadcast');
  });

  it('displace a connection of the same id', async () => {
    const first = await node.connect('c1');
    await node.connect('c1');
    expect(first.connection.state).to.include({ reason: 'superseded' });
    expect(node.service.getConnectionCount()).to.equal(1);
  });

  it('are adopted in place once the cluster is back: registered, subscribed, with one reset for what they may have missed', async () => {
    const other = await cluster.started('b');
    for (const n of [1, 2, 3]) await other.service.publish('news', 'message', `${n}`);
    const { connection, sink } = await node.connect('c1', { topics: ['news', 'quiet'] });
    for (const n of [4, 5, 6, 7, 8]) await other.service.publish('news', 'message', `${n}`);
    cluster.bus.heal('a');
    await until(() => cluster.bus.route('c1') !== undefined, 'the route');
    for (const n of [9, 10]) await other.service.publish('news', 'message', `${n}`);
    await until(() => sink.data('message').length === 2, 'what follows');
    expect(sink.data('message')).to.deep.equal(['9', '10']);
    expect(sink.data('sse.reset').map(text => JSON.parse(text) as unknown)).to.have.length(1);
    expect(JSON.parse(sink.data('sse.reset')[0] ?? '')).to.deep.include({ reason: 'GAP', topics: ['news'] });
    expect(connection.state.kind).to.equal('open');
    const sent = await other.service.sendMessageToConnection('c1', 'note', 'direct');
    expect(sent.outcome).to.equal('delivered');
  });

  it('get no reset when nothing was published that they follow, and can resume from then on', async () => {
    const other = await cluster.started('b');
    const { sink } = await node.connect('c1', { topics: ['quiet'] });
    await other.service.publish('news', 'message', 'for others');
    cluster.bus.heal('a');
    await until(() => parseCursor(sink.lastId ?? '') !== undefined, 'an id');
    expect(sink.data('sse.reset')).to.deep.equal([]);
  });

  it('register again when the answer to their registration was lost, and get what was published meanwhile', async () => {
    const other = await cluster.started('b');
    let [registrations, removals] = [0, 0];
    const late = await cluster.started('c', {
      wrap: inner =>
        alteredCoordinator(inner, {
          routes: {
            register: async registration => {
              const result = await inner.routes.register(registration);
              registrations += 1;
              if (registrations > 1) return result;
              await other.service.publish('news', 'message', 'meanwhile');
              throw new SseError('UNAVAILABLE', 'no answer', { retryable: false });
            },
            unregister: (id, token) => {
              removals += 1;
              return inner.routes.unregister(id, token);
            },
          },
        }),
    });
    cluster.bus.cut('c');
    const { sink } = await late.connect('c1', { topics: ['news'] });
    cluster.bus.heal('c');
    await until(() => sink.data('message').length === 1, 'what was published');
    expect(sink.data('sse.reset')).to.deep.equal([]);
    // In Redis a route that is released cannot be registered again for a while.
    expect([registrations, removals]).to.deep.equal([2, 0]);
    sink.leave();
    await until(() => cluster.bus.route('c1') === undefined, 'the end of the route');
  });

  it('that brought a last id are given every entry after it, without a reset', async () => {
    const other = await cluster.started('b');
    cluster.bus.heal('a');
    const first = await node.connect('c1', { topics: ['news'] });
    const lastEventId = first.sink.lastId ?? '';
    first.sink.leave();
    cluster.bus.cut('a');
    const { sink } = await node.connect('c1', { topics: ['news'], lastEventId });
    for (const n of [1, 2]) await other.service.publish('news', 'message', `${n}`);
    cluster.bus.heal('a');
    await until(() => sink.data('message').length === 2, 'what was missed');
    await other.service.publish('news', 'message', '3');
    await until(() => sink.data('message').length === 3, 'what follows');
    expect(sink.data('message')).to.deep.equal(['1', '2', '3']);
    expect(sink.data('sse.reset')).to.deep.equal([]);
  });

  it('get what waits in their mailbox', async () => {
    const other = await cluster.started('b', { options: { mailbox: { enabled: true } } });
    const waiting = await cluster.started('c', { options: { mailbox: { enabled: true } } });
    cluster.bus.cut('c');
    const { sink } = await waiting.connect('c1');
    const sent = await other.service.sendMessageToConnection('c1', 'note', 'kept', { durable: true });
    expect(sent.outcome).to.equal('stored');
    cluster.bus.heal('c');
    await until(() => sink.data('note').length === 1, 'the mail');
  });

  it('are closed as superseded only when a newer connection of the same id lives elsewhere', async () => {
    const other = await cluster.started('b');
    await other.connect('older');
    const older = await node.connect('older');
    const newer = await node.connect('newer');
    const { connection } = await other.connect('newer');
    cluster.bus.heal('a');
    await until(() => newer.connection.state.kind !== 'open', 'the end of one');
    expect(newer.connection.state).to.include({ reason: 'superseded' });
    expect(connection.state.kind).to.equal('open');
    await until(() => cluster.bus.route('older')?.nodeId === 'a', 'the route of the other');
    expect(older.connection.state.kind).to.equal('open');
  });

  it('are adopted no faster than a drain closes its clients', async () => {
    const slow = await cluster.started('slow', { options: { reconnect: { rate: 10 } } });
    cluster.bus.cut('slow');
    for (let n = 0; n < 12; n += 1) await slow.connect(`s${n}`);
    const adopted = (): number => cluster.bus.count;
    cluster.bus.heal('slow');
    await until(() => adopted() > 0, 'the first');
    expect(adopted()).to.equal(5);
    await until(() => adopted() > 5, 'the next');
    expect(adopted()).to.equal(10);
    await until(() => adopted() === 12, 'the rest');
  });

  it('get no entries of the log before their adoption, whose ids would hide a gap', async () => {
    cluster.bus.heal('a');
    let away = true;
    const half = await cluster.started('b', {
      wrap: inner =>
        alteredCoordinator(inner, {
          status: () => (away ? { reachable: true, impaired: [{ kind: 'writes', detail: 'full' }] } : inner.status()),
          log: {
            replay: async request => {
              if (away) throw new SseError('UNAVAILABLE', 'half away');
              return inner.log.replay(request);
            },
          },
        }),
    });
    const first = await node.connect('c1', { topics: ['news'] });
    await node.service.publish('news', 'message', 'missed');
    const lastEventId = first.sink.lastId ?? '';
    const { sink } = await half.connect('c1', { topics: ['news'], lastEventId });
    await node.service.publish('news', 'message', 'later');
    await node.service.broadcastToCluster('message', 'to all');
    await node.service.broadcastToCluster('message', 'kept nowhere', { history: false });
    await until(() => sink.data('message').length > 0, 'what has no id');
    expect(sink.data('message')).to.deep.equal(['kept nowhere']);
    expect(sink.lastId).to.equal(lastEventId);
    away = false;
    await until(() => sink.data('message').length > 3, 'everything');
    expect(sink.data('message')).to.deep.equal(['kept nowhere', 'missed', 'later', 'to all']);
  });

  it('are not made by a call that fails while the status is well: the call is repeated', async () => {
    let failures = 2;
    const busy = await cluster.started('b', {
      wrap: inner =>
        hookedCoordinator(inner, (method, when) => {
          if (method !== 'routes.register' || when !== 'before' || failures === 0) return;
          failures -= 1;
          throw new SseError('UNAVAILABLE', 'no answer to one call');
        }),
    });
    const { sink } = await busy.connect('c1', { topics: ['news'] });
    expect(cluster.bus.route('c1')).to.include({ nodeId: 'b' });
    expect(parseCursor(sink.lastEvent?.id ?? '')).to.not.equal(undefined);
  });

  it('are not made when calls fail for the time of a registration: the client is refused', async () => {
    const busy = await cluster.started('b', {
      options: { resilience: { register: { timeout: 200 } } },
      wrap: inner =>
        hookedCoordinator(inner, method => {
          if (method === 'log.replay') throw new SseError('UNAVAILABLE', 'no answer');
        }),
    });
    const refused = await busy.connect('c1').catch((error: unknown) => error);
    expect(refused).to.include({ code: 'UNAVAILABLE' });
  });

  it('are not made by the failing replays of others, whose open circuit no fresh client meets', async () => {
    const policy = new CockatielPolicy(resolveOptions({ resilience: { register: { timeout: 300 } } }));
    const busy = await cluster.started('b', {
      policy,
      options: { resilience: { register: { timeout: 300 } } },
      wrap: inner =>
        alteredCoordinator(inner, {
          log: {
            replay: async request => {
              if (request.after !== undefined) throw new SseError('UNAVAILABLE', 'no answer');
              return inner.log.replay(request);
            },
          },
        }),
    });
    const lastEventId = formatCursor({ epoch: 'e', ms: 1, sequence: 1 });
    const resuming = ['c1', 'c2'].map(id =>
      busy.connect(id, { topics: ['news'], lastEventId }).catch((error: unknown) => error),
    );
    await until(() => policy.circuit('replay') === 'open', 'the circuit of replays');
    const fresh = await busy.connect('c3', { topics: ['news'] });
    expect(policy.circuit('register')).to.equal('closed');
    expect(cluster.bus.route('c3')).to.include({ nodeId: 'b' });
    expect(parseCursor(fresh.sink.lastEvent?.id ?? '')).to.not.equal(undefined);
    for (const refused of await Promise.all(resuming)) expect(refused).to.include({ code: 'UNAVAILABLE' });
  });

  it('are counted and removed like any other', async () => {
    const { sink } = await node.connect('c1');
    expect(node.service.getConnectionCount()).to.equal(1);
    sink.leave();
    expect(node.service.getConnectionCount()).to.equal(0);
  });

  it('do not exist where onUnavailable is reject', async () => {
    const strict = await cluster.started('b', { options: { onUnavailable: 'reject' } });
    cluster.bus.cut('b');
    const refused = await strict.connect('c2').catch((error: unknown) => error);
    expect(refused).to.include({ code: 'UNAVAILABLE' });
  });
});
