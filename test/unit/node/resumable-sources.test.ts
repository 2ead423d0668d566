import { expect } from 'chai';
import { type SinonFakeTimers, useFakeTimers } from 'sinon';
import type { ResumableSource } from '../../../src/contracts/service.js';
import { SseError } from '../../../src/errors.js';
import { sourceTopic } from '../../../src/protocol/names.js';
import { codeOf } from '../../support/code-of.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestClient, TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';
import { until } from '../../support/until.js';

// Longer than any pause of a busy machine.
const options = { source: { lease: 60_000, maxEntries: 10 } };

describe('ResumableSources', () => {
  let cluster: TestCluster;
  let node: TestNode;
  let other: TestNode;
  let starts: number;
  let release: (item: string | undefined) => void;
  let clock: SinonFakeTimers | undefined;

  beforeEach(async () => {
    cluster = new TestCluster();
    node = await cluster.started('a', { options });
    other = await cluster.started('b', { options });
    starts = 0;
  });

  afterEach(async () => {
    const state = { open: true };
    const closing = cluster.close().finally(() => (state.open = false));
    while (clock !== undefined && state.open) await clock.tickAsync(1_000);
    await closing;
    clock?.restore();
    clock = undefined;
  });

  /** Stops the time of nodes that start from now on. */
  const stopTime = (): SinonFakeTimers =>
    (clock = useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }));
  /** A source that yields what the test releases; `undefined` ends it. */
  const start = async function* ({ signal }: ResumableSource): AsyncGenerator<string> {
    starts += 1;
    const items: (string | undefined)[] = [];
    let wake: () => void = () => undefined;
    release = item => {
      items.push(item);
      wake();
    };
    signal.addEventListener('abort', () => wake());
    while (!signal.aborted) {
      if (items.length === 0) await new Promise<void>(resolve => (wake = resolve));
      const item = items.shift();
      if (item === undefined) return;
      yield item;
    }
  };

  const follow = (
    on: TestNode,
    id: string,
    more: { lastEventId?: string; start?: typeof start } = {},
  ): Promise<TestClient> =>
    on.connect(id, {
      source: { key: 'answer', start: more.start ?? start },
      ...(more.lastEventId === undefined ? {} : { lastEventId: more.lastEventId }),
    });
  const has = (client: TestClient, ...data: string[]): Promise<void> =>
    until(() => client.sink.data('message').join() === data.join(), `${data.join()} at ${client.connection.id}`);
  const ended = async (client: TestClient): Promise<void> => {
    await until(() => client.sink.ended, 'the end of the stream');
  };
  const began = (): Promise<void> => until(() => starts > 0, 'the source');

  it('run once for all that follow, on any node, from the start', async () => {
    const first = await follow(node, 'c1');
    await began();
    release('0');
    await has(first, '0');
    const second = await follow(other, 'c2');
    const third = await follow(node, 'c3');
    release('1');
    for (const client of [first, second, third]) await has(client, '0', '1');
    expect(starts).to.equal(1);
  });

  it('end for every follower at the same entry, once', async () => {
    const clients = [await follow(node, 'c1'), await follow(other, 'c2')];
    await began();
    release('0');
    release(undefined);
    for (const client of clients) {
      await ended(client);
      expect(client.sink.names).to.deep.equal(['connected', 'message', 'sse.closed']);
      expect(client.sink.data('sse.closed')).to.deep.equal(['{"reason":"completed"}']);
    }
  });

  it('are replayed whole to a client that connects after the end', async () => {
    const first = await follow(node, 'c1');
    await began();
    release('0');
    release('1');
    release(undefined);
    await ended(first);
    const late = await follow(other, 'late');
    await ended(late);
    expect(late.sink.names).to.deep.equal(['connected', 'message', 'message', 'sse.closed']);
    expect(starts).to.equal(1);
  });

  it('go on where a client was that resumes on another node', async () => {
    const first = await follow(node, 'c1');
    await began();
    release('0');
    await has(first, '0');
    const lastEventId = first.sink.lastId ?? '';
    first.sink.leave();
    release('1');
    const again = await follow(other, 'c1', { lastEventId });
    release('2');
    await has(again, '1', '2');
  });

  it('refuse a client that has every event with 204', async () => {
    const first = await follow(node, 'c1');
    await began();
    release('0');
    release(undefined);
    await ended(first);
    await turns();
    const lastEventId = first.sink.lastId ?? '';
    await until(
      async () => (await codeOf(follow(other, 'c1', { lastEventId }))) === 'SOURCE_ENDED',
      'the end to be known',
    );
  });

  it('go on without followers', async () => {
    const first = await follow(node, 'c1');
    await began();
    first.sink.leave();
    await turns();
    release('0');
    release(undefined);
    await turns();
    const late = await follow(other, 'late');
    await ended(late);
    expect(late.sink.data('message')).to.deep.equal(['0']);
  });

  it('that fail end the streams of all with that reason', async () => {
    const failing = async function* (): AsyncGenerator<string> {
      yield '0';
      await turns();
      throw new Error('no more');
    };
    const first = await follow(node, 'c1', { start: failing as typeof start });
    await ended(first);
    expect(first.sink.data('sse.closed')).to.deep.equal(['{"reason":"failed"}']);
    expect(node.logger.at('error')).to.have.length(1);
  });

  it('that are too long fail', async () => {
    const endless = async function* (): AsyncGenerator<string> {
      for (let n = 0; ; n += 1) yield `${n}`;
    };
    const first = await follow(node, 'c1', { start: endless as typeof start });
    await ended(first);
    expect(first.sink.data('message')).to.have.length(10);
    expect(first.sink.data('sse.closed')).to.deep.equal(['{"reason":"failed"}']);
  });

  it('whose node is gone are reported as lost to all followers, within one and a half leases, once', async () => {
    const time = stopTime();
    const [runner, follower] = [
      await cluster.started('runner', { options }),
      await cluster.started('follower', { options }),
    ];
    const first = await follow(runner, 'c1');
    await began();
    release('0');
    const second = await follow(follower, 'c2');
    await has(second, '0');
    await time.tickAsync(4 * options.source.lease);
    expect(second.sink.names).to.deep.equal(['connected', 'message']);
    cluster.bus.cut('runner');
    await time.tickAsync(1.5 * options.source.lease);
    await ended(second);
    expect(second.sink.names).to.deep.equal(['connected', 'message', 'sse.reset']);
    const reset = JSON.parse(second.sink.data('sse.reset')[0] ?? '') as { reason: string };
    expect(reset).to.deep.include({ reason: 'PRODUCER_LOST', topics: [sourceTopic('answer')] });
    const late = await follow(follower, 'late');
    await ended(late);
    expect(late.sink.names).to.deep.equal(['connected', 'message', 'sse.reset']);
    expect(starts).to.equal(1);
    first.sink.leave();
  });

  /** Begins when its follower has opened. */
  const slowly = (...items: string[]) =>
    async function* (): AsyncGenerator<string> {
      await turns(10);
      yield* items;
    };
  const range = Array.from({ length: 100 }, (_, n) => `${n}`);

  it('go on, in order and each event once, after appends that failed or had no answer', async () => {
    let appends = 0;
    let answers = 0;
    const time = stopTime();
    const flaky = await cluster.started('flaky', {
      wrap: inner =>
        hookedCoordinator(inner, (method, when) => {
          if (method !== 'log.publish') return;
          if (when === 'before') appends += 1;
          else answers += 1;
          // These are kept, and their answers are lost; those after them are refused, and so are their repetitions at first.
          if (when === 'after' && answers > 10 && answers <= 15) throw new SseError('UNAVAILABLE', 'no answer');
          if (when === 'before' && appends > 15 && appends <= 35) {
            throw new SseError('UNAVAILABLE', 'refused', { noEffect: 'WRITES_REFUSED' });
          }
        }),
    });
    const client = await flaky.connect('c1', { source: { key: 'long', start: slowly(...range) } });
    while (!client.sink.ended) await time.tickAsync(10);
    expect(client.sink.data('message')).to.deep.equal(range);
    expect(client.sink.data('sse.closed')).to.deep.equal(['{"reason":"completed"}']);
  });

  it('go on after a cut that is shorter than their lease', async () => {
    const lasting = await cluster.started('lasting');
    const client = await follow(lasting, 'c1');
    await began();
    release('0');
    await has(client, '0');
    cluster.bus.cut('lasting');
    release('1');
    release('2');
    await turns();
    cluster.bus.heal('lasting');
    release(undefined);
    await ended(client);
    expect(client.sink.data('message')).to.deep.equal(['0', '1', '2']);
    expect(client.sink.data('sse.closed')).to.deep.equal(['{"reason":"completed"}']);
  });

  it('append several events at once', async () => {
    let underWay = 0;
    let most = 0;
    const far = await cluster.started('far', {
      wrap: inner =>
        hookedCoordinator(inner, async (method, when) => {
          if (method !== 'log.publish') return;
          if (when === 'before') most = Math.max(most, (underWay += 1));
          else await turns(3);
          if (when === 'after') underWay -= 1;
        }),
    });
    const client = await far.connect('c1', { source: { key: 'long', start: slowly(...range) } });
    await ended(client);
    expect(client.sink.data('message')).to.deep.equal(range);
    expect(most).to.be.within(2, 32);
  });

  it('run again, with every event, once a short ttl is over', async () => {
    const time = stopTime();
    const brief = await cluster.started('brief', { options: { source: { lease: 200, ttl: 250 } } });
    for (const id of ['c1', 'c2']) {
      const client = await brief.connect(id, { source: { key: 'brief', start: slowly('0', '1') } });
      await ended(client);
      expect(client.sink.data('message')).to.deep.equal(['0', '1']);
      await until(
        async () => (await brief.coordinator.locks.lockHolder('run brief')) === undefined,
        'the end of the run',
      );
      await time.tickAsync(250);
    }
  });

  it('of a node that closes are lost at once', async () => {
    await follow(other, 'c1');
    await began();
    release('0');
    const second = await follow(node, 'c2');
    await has(second, '0');
    await other.service.close();
    await ended(second);
    expect(second.sink.names.at(-1)).to.equal('sse.reset');
  });

  it('of a node that drains may finish', async () => {
    await follow(other, 'c1');
    await began();
    const second = await follow(node, 'c2');
    const drained = other.service.drain();
    release('0');
    release(undefined);
    await ended(second);
    expect(second.sink.data('sse.closed')).to.deep.equal(['{"reason":"completed"}']);
    await drained;
  });

  it('that are stopped end for all followers as completed, on whatever node they run', async () => {
    const first = await follow(node, 'c1');
    await began();
    release('0');
    await has(first, '0');
    const second = await follow(other, 'c2');
    expect(await other.service.stopSource('answer')).to.deep.equal({ outcome: 'delivered' });
    for (const client of [first, second]) {
      await ended(client);
      expect(client.sink.data('message')).to.deep.equal(['0']);
      expect(client.sink.lastEvent).to.include({ event: 'sse.closed', data: '{"reason":"completed"}' });
    }
    const lastEventId = first.sink.lastId ?? '';
    expect(await codeOf(follow(other, 'c1', { lastEventId }))).to.equal('SOURCE_ENDED');
    expect(await node.service.stopSource('answer')).to.deep.equal({ outcome: 'not-connected' });
  });

  it('that are forgotten run again, without the events of the former run', async () => {
    const first = await follow(node, 'c1');
    await began();
    release('0');
    await has(first, '0');
    expect(await other.service.forgetSource('answer')).to.deep.equal({ outcome: 'delivered' });
    await ended(first);
    starts = 0;
    const second = await follow(other, 'c2');
    await began();
    release('1');
    await has(second, '1');
    expect(second.sink.names).to.not.include('sse.reset');
    const third = await follow(node, 'c3');
    await has(third, '1');
    expect(await node.service.forgetSource('never')).to.deep.equal({ outcome: 'delivered' });
    cluster.bus.cut('a');
    const none = { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };
    expect(await node.service.forgetSource('answer')).to.deep.equal(none);
  });

  it('at rest ask the cluster as often as few of them, on the node that runs them and on others', async () => {
    let calls = 0;
    const counted = (id: string) =>
      cluster.started(id, {
        options: { source: { lease: 100 } },
        wrap: inner =>
          hookedCoordinator(inner, (method, when) => {
            if (when === 'before' && method.startsWith('locks.')) calls += 1;
          }),
      });
    const time = stopTime();
    const [runner, follower] = [await counted('runner'), await counted('follower')];
    for (let n = 0; n < 100; n += 1) {
      await runner.connect(`r-${n}`, { source: { key: `answer-${n}`, start } });
      await follower.connect(`f-${n}`, { source: { key: `answer-${n}`, start } });
    }
    // The follower finds out who runs them.
    await time.tickAsync(100);
    calls = 0;
    await time.tickAsync(500);
    // Ten times one question about the runner, and two about each of a few sources.
    expect(calls).to.be.within(10, 10 * 35);
  });

  it('run once, however many ask for it at once', async () => {
    const clients = await Promise.all(['c1', 'c2', 'c3'].map(id => follow(node, id)));
    await began();
    release('0');
    release(undefined);
    for (const client of clients) {
      await ended(client);
      expect(client.sink.names).to.deep.equal(['connected', 'message', 'sse.closed']);
    }
    expect(starts).to.equal(1);
  });

  it('that never begin do not keep their node from closing', async () => {
    let asked = false;
    const start = (): Promise<AsyncGenerator<string>> => {
      asked = true;
      return new Promise(() => undefined);
    };
    const client = await node.connect('c1', { source: { key: 'stuck', start } });
    await until(() => asked, 'the source to be asked for');
    client.sink.leave();
    await node.service.close();
  });

  it('count against the limit of connections before and after they begin', async () => {
    const small = await cluster.started('small', {
      options: { ...options, connection: { maxConnections: 1 } },
    });
    const opened = await Promise.all(['c1', 'c2', 'c3'].map(id => codeOf(follow(small, id))));
    expect(opened.filter(code => code === 'CONNECTION_LIMIT')).to.have.length(2);
    expect(small.store.size).to.equal(1);
  });

  it('that are requested just before a drain begin on the node to which the refused client comes back', async () => {
    const calls: string[] = [];
    let reached: (() => void) | undefined;
    const leaving = await cluster.started('leaving', {
      options: { ...options, reconnect: { rate: 20 } },
      wrap: inner =>
        hookedCoordinator(inner, async (method, when) => {
          calls.push(method);
          if (method !== 'locks.acquireLock' || when === 'before' || reached !== undefined) return;
          await new Promise<void>(resolve => (reached = resolve));
        }),
    });
    for (const id of ['d1', 'd2', 'd3', 'd4']) await leaving.connect(id);
    calls.length = 0;
    const opening = codeOf(follow(leaving, 'c1'));
    await until(() => reached !== undefined, 'the lock');
    const drained = leaving.service.drain();
    reached?.();
    expect(await opening).to.equal('DRAINING');
    expect(calls).to.not.include('routes.register');
    await drained;
    expect(starts).to.equal(0);
    const again = await follow(other, 'c1');
    await began();
    release('0');
    await has(again, '0');
  });

  it('cannot be followed while the cluster cannot be reached', async () => {
    cluster.bus.cut('a');
    expect(await codeOf(follow(node, 'c1'))).to.equal('UNAVAILABLE');
    expect(starts).to.equal(0);
  });

  it('have topics that no application can publish to', async () => {
    const publishing = node.service.publish(sourceTopic('answer'), 'message', 'x');
    expect(await codeOf(publishing)).to.equal('INVALID_TOPIC');
  });

  it('need a key', async () => {
    const connecting = node.connect('c1', { source: { key: '', start } });
    expect(await codeOf(connecting)).to.equal('INVALID_EVENT_ID');
  });
});
