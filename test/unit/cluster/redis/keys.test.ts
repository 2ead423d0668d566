import { expect } from 'chai';
import { hashSlot, type KeyLayout, Keys, PARTITION_TAGS, SLOTS } from '../../../../src/cluster/redis/keys.js';
import { SseError } from '../../../../src/errors.js';

const make = (layout: Partial<KeyLayout> = {}) =>
  new Keys({
    prefix: 'sse:',
    database: 0,
    channel: 'sse:events',
    partitions: undefined,
    pubsub: 'classic',
    cluster: false,
    ...layout,
  });

describe('Keys', () => {
  it('names the keys of the Java starter, and channels of its own, on a single Redis', () => {
    const keys = make();
    expect(keys.partitions).to.have.length(1);
    expect(keys.partitions[0]).to.deep.equal({
      number: 0,
      leases: 'sse:{18}:l',
      routes: 'sse:{18}:r',
      index: 'sse:{18}:x',
      channelPrefix: 'sse:0:n:',
    });
    expect(keys.broadcastChannel).to.equal('sse:0:b:sse:events');
    expect(keys.controlChannel).to.equal('sse:0:a:nodes');
    expect(keys.logMeta).to.equal('sse:{log}:m');
    expect(keys.topic('a')).to.deep.equal({ stream: 'sse:{log}:t:a', last: 'sse:{log}:p:a' });
    expect(keys.schema).to.equal('1/1/classic');
  });

  it('makes sixteen partitions in a Redis Cluster, one in each sixteenth of the slots', () => {
    const { partitions } = make({ cluster: true });
    const sixteenths = partitions.map(({ leases }) => Math.floor((hashSlot(leases) * 16) / SLOTS));
    expect(sixteenths).to.deep.equal(PARTITION_TAGS.map((_, number) => number));
  });

  it('spreads any number of partitions, with partition 0 always in one slot', () => {
    for (let count = 1; count <= 16; count += 1) {
      const { partitions } = make({ partitions: count });
      expect(new Set(partitions.map(({ leases }) => leases)).size).to.equal(count);
      expect(partitions[0]?.leases).to.equal('sse:{18}:l');
    }
  });

  it('keeps all keys of a call in one slot, whatever the names in them', () => {
    const keys = make({ cluster: true, pubsub: 'sharded' });
    for (const partition of keys.partitions) {
      const { leases, routes, index, channelPrefix } = partition;
      const tombstone = keys.tombstone(partition, 'a}{b', 't1');
      const names = [leases, routes, index, tombstone, `${channelPrefix}node`];
      expect(new Set(names.map(hashSlot)).size).to.equal(1);
    }
    const topic = keys.topic('}{x}');
    const names = [
      keys.logMeta,
      topic.stream,
      topic.last,
      keys.idempotency('{x}', '{y}'),
      keys.unkeptMark('{x}', '{y}'),
    ];
    const channels = [keys.topicChannel('{z}'), keys.topicChannel('*'), keys.broadcastChannel];
    const probe = keys.probeChannel('me', keys.broadcastChannel);
    expect(new Set([...names, ...channels, probe].map(hashSlot)).size).to.equal(1);
  });

  it('gives each connection id one partition, evenly', () => {
    const keys = make({ cluster: true });
    const counts = new Map<number, number>();
    for (let n = 0; n < 16_000; n += 1) {
      const { number } = keys.partitionOf(`client-${n}`);
      counts.set(number, (counts.get(number) ?? 0) + 1);
    }
    expect([...counts.values()].every(count => count > 800 && count < 1_200)).to.equal(true);
    expect(keys.partitionOf('x')).to.equal(keys.partitionOf('x'));
  });

  it('has one channel for a node, or one in each partition when sharded', () => {
    expect(make({ cluster: true }).nodeChannels('n~1')).to.deep.equal(['sse:0:n:n~1']);
    const sharded = make({ cluster: true, pubsub: 'sharded' });
    expect(sharded.nodeChannels('n~1')).to.have.length(16);
    expect(sharded.nodeMode).to.equal('sharded');
    expect(make({ pubsub: 'sharded' }).nodeMode).to.equal('classic');
  });

  it('begins every channel with prefix, database and one letter for its kind', () => {
    for (const cluster of [false, true]) {
      const keys = make({ database: cluster ? 0 : 7, cluster, pubsub: 'sharded' });
      const channels = {
        a: [keys.controlChannel],
        b: [keys.broadcastChannel, keys.topicChannel('*')],
        n: [...keys.nodeChannels('n~1'), keys.answerChannel('n~1')],
        p: [keys.probeChannel('me'), keys.probeChannel('me', keys.logMeta)],
        t: [keys.topicChannel('news')],
      };
      for (const [letter, names] of Object.entries(channels)) {
        for (const name of names) expect(name).to.match(new RegExp(`^sse:${cluster ? 0 : 7}:${letter}:.`));
      }
    }
  });

  it('has an idempotency key for each topic, of one length', () => {
    const keys = make();
    const long = 'k'.repeat(10_000);
    const names = [
      ...[keys.idempotency('a', 'bc'), keys.idempotency('ab', 'c'), keys.idempotency('a', long)],
      ...[keys.unkeptMark('a', 'bc'), keys.unkeptMark('ab', 'c'), keys.unkeptMark('a', long)],
    ];
    expect(new Set(names).size).to.equal(names.length);
    expect(new Set(names.map(({ length }) => length)).size).to.equal(1);
  });

  it('names another schema for every layout that could not meet', () => {
    const layouts: Partial<KeyLayout>[] = [{ cluster: true }, { partitions: 2 }, { cluster: true, pubsub: 'sharded' }];
    expect(new Set(layouts.map(layout => make(layout).schema)).size).to.equal(3);
  });

  it('refuses braces in the prefix and partitions that there are none of', () => {
    for (const layout of [{ prefix: 'a{b}' }, { partitions: 0 }, { partitions: 17 }, { partitions: 1.5 }]) {
      expect(() => make(layout))
        .to.throw(SseError)
        .with.property('code', 'INVALID_OPTION');
    }
  });

  it('computes slots as Redis does', () => {
    // From CLUSTER KEYSLOT.
    expect(hashSlot('123456789')).to.equal(12_739);
    expect(hashSlot('foo{}{bar}')).to.equal(8_363);
    expect(hashSlot('foo{{bar}}zap')).to.equal(hashSlot('{bar'));
    expect(hashSlot('log')).to.equal(10_591);
  });
});
