import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { PARTITION_TAGS } from '../../src/cluster/redis/keys.js';
import type { EventStreamClient } from '../support/event-stream-client.js';
import { OutageGround, RECOVERY, ROOM, type WayToRedis } from '../support/outage-ground.js';
import { freePort } from '../support/redis/free-port.js';
import { until } from '../support/until.js';

const ROUTES = `sse:{${PARTITION_TAGS[0]}}:r`;
const LEASE = 1_500;
const HEARTBEAT = 300;
/** Less than Redis is waited for. */
const AT_ONCE_MS = 900;
/** The time within which a node says that Redis is away. */
const NOTICED = 2_000 + ROOM;

const PAGE = new URL('../../../docs/cluster.md', import.meta.url);
const names: string[] = [];

/**
 * Rows of the table in docs/cluster.md, under their names there. They share nodes and run one after the other; what
 * one call lists runs beside what the others list.
 */
function rows(way: WayToRedis, all: Readonly<Record<string, (ground: OutageGround) => Promise<void>>>): void {
  const results = new Map<string, Promise<void>>();
  let ground = new OutageGround(way);
  let last: Promise<unknown> = Promise.resolve();
  before(() => {
    for (const [name, row] of Object.entries(all)) {
      const result = last.then(() => row(ground)).then(() => ground.clear());
      results.set(name, result);
      // What a failed row has left is no other row's.
      last = result.catch(async () => {
        await ground.close();
        ground = new OutageGround(way);
      });
    }
  });
  for (const name of Object.keys(all)) it(name, () => results.get(name)).timeout(120_000);
  // Rows run also where their tests are not chosen.
  after(() => last.then(() => ground.close()));
  names.push(...Object.keys(all));
}

/** A row that needs nodes of its own. */
function alone(row: (ground: OutageGround) => Promise<void>): () => Promise<void> {
  return async () => {
    const ground = new OutageGround('direct');
    try {
      await row(ground);
      await ground.clear();
    } finally {
      await ground.close();
    }
  };
}

const has = (client: EventStreamClient, ...data: string[]): Promise<void> =>
  until(() => client.data('note').length >= data.length, data.join(), RECOVERY).then(() =>
    expect(client.data('note')).to.deep.equal(data),
  ) as Promise<void>;

describe('the outage contract', () => {
  it('has a test for each row of the table in docs/cluster.md, and a row for each test', () => {
    const [table = ''] = /^\| what happens [^]*?\n\n/m.exec(readFileSync(PAGE, 'utf8')) ?? [];
    const named = [...table.matchAll(/^\| (.+?) +\|/gm)].map(([, name]) => name).slice(2);
    expect(names).to.deep.equal(named);
    expect(named).to.have.length.greaterThan(10);
  });

  rows('direct', {
    'Redis is down at the start': async ground => {
      const node = await ground.node('a');
      expect(await node.unready(NOTICED)).to.include('CLUSTER_UNREACHABLE');
      const client = await node.connect('me');
      expect(await node.send('me', 'own')).to.include({ outcome: 'delivered' });
      expect(await node.send('nobody')).to.include({ outcome: 'unavailable' });
      await ground.redis();
      await node.ready();
      await node.counts(1, RECOVERY);
      expect(await node.publish('after')).to.equal(202);
      await until(() => client.data('note').includes('after'), 'what follows', RECOVERY);
      expect(client.data('sse.reset')).to.deep.equal([]);
    },

    'Redis is down at the start, `onUnavailable` is `reject`': alone(async ground => {
      const node = await ground.node('a', { SSE_ON_UNAVAILABLE: 'reject' });
      const refused = await node.connect('me');
      expect(refused.status).to.equal(503);
      expect(Number(refused.headers['retry-after'])).to.be.greaterThan(0);
      await ground.redis();
      await node.ready();
      expect((await node.connect('me')).status).to.equal(200);
    }),

    'Redis is down for a while': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      expect(await other.publish('before')).to.equal(202);
      await has(client, 'before');
      const folder = await ground.snapshot(redis);
      await redis.stop();
      expect(await node.unready(NOTICED)).to.include('CLUSTER_UNREACHABLE');
      // Longer than the leases, so that each node must join again.
      for (const end = performance.now() + 2 * LEASE; performance.now() < end;) {
        expect(await node.send('me', 'own')).to.include({ outcome: 'delivered' });
        const { outcome, ms } = await other.send('me');
        expect(outcome).to.equal('unavailable');
        expect(ms).to.be.lessThan(1_000 + ROOM);
        expect(await other.publish('refused')).to.equal(503);
        client.events.splice(0);
      }
      await ground.redis(['--dir', folder]);
      await Promise.all([node.ready(), other.ready()]);
      expect(await other.send('me', 'far')).to.include({ outcome: 'delivered', nodeId: 'a' });
      expect(await other.publish('after')).to.equal(202);
      await has(client, 'far', 'after');
      expect(client.data('sse.reset')).to.deep.equal([]);
      await node.counts(1, RECOVERY);
    },

    'Redis comes back empty': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      expect(await other.publish('before')).to.equal(202);
      const { id = '' } = await client.event('note');
      await redis.stop();
      await Promise.all([node.unready(NOTICED), other.unready(NOTICED)]);
      expect((await node.get('/sse/connections')).body).to.deep.include({ local: 1, cluster: null, degraded: true });
      const late = await other.connect('late');
      await ground.redis();
      await Promise.all([node.ready(), other.ready()]);
      // It is adopted in place.
      await until(async () => (await node.send('late', 'found')).outcome === 'delivered', 'the adoption', RECOVERY);
      await until(() => client.data('sse.reset').length === 1, 'the reset', RECOVERY);
      const [reset] = client.events.filter(({ event }) => event === 'sse.reset');
      expect(JSON.parse(reset?.data ?? '')).to.include({ reason: 'EPOCH', resumedFrom: reset?.id });
      expect(await other.send('me', 'far')).to.include({ outcome: 'delivered', nodeId: 'a' });
      expect(await other.publish('after')).to.equal(202);
      await has(client, 'before', 'far', 'after');
      const returned = await other.connect('you', { 'Last-Event-ID': id });
      expect(JSON.parse((await returned.event('sse.reset')).data)).to.include({ reason: 'EPOCH' });
      await has(returned, 'after');
      await has(late, 'found', 'after');
      await node.counts(3, RECOVERY);
    },

    'Redis comes back with older data': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      await other.publish('kept');
      await has(client, 'kept');
      const folder = await ground.snapshot(redis);
      const lost = await other.post('/sse/topics/news?event=note', 'lost');
      await has(client, 'kept', 'lost');
      await redis.stop();
      await node.unready(NOTICED);
      await ground.redis(['--dir', folder]);
      await Promise.all([node.ready(), other.ready()]);
      const fresh = await other.post('/sse/topics/news?event=note', 'new');
      expect(fresh.body['id']).to.not.equal(lost.body['id']);
      await has(client, 'kept', 'lost', 'new');
      expect(await other.send('me', 'far')).to.include({ outcome: 'delivered' });
    },
  });

  rows('proxied', {
    'Redis fails over and loses writes': async ground => {
      const master = await ground.redis();
      const replica = await ground.replica();
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      await other.publish('kept');
      await has(client, 'kept');
      await until(async () => (await master.admin.wait(1, 100)) === 1, 'the replica');
      // From here on the replica gets nothing: it is promoted, while clients still use its former master.
      await replica.admin.replicaof('NO', 'ONE');
      const young = await node.connect('young');
      const lost = await other.post('/sse/topics/news?event=note', 'lost');
      await has(client, 'kept', 'lost');
      await has(young, 'lost');
      ground.lead(replica);
      await master.stop();
      const began = performance.now();
      await until(
        async () => (await other.send('young', 'far')).outcome === 'delivered',
        'the lost route to be back',
        RECOVERY,
      );
      expect(performance.now() - began).to.be.lessThan(RECOVERY);
      await Promise.all([node.ready(), other.ready()]);
      const fresh = await other.post('/sse/topics/news?event=note', 'new');
      expect(fresh.status).to.equal(202);
      expect(fresh.body['id']).to.not.equal(lost.body['id']);
      // No id is used twice, so the new entry cannot be mistaken for the lost one.
      await has(client, 'kept', 'lost', 'new');
      await has(young, 'lost', 'far', 'new');
      const returned = await other.connect('me', { 'Last-Event-ID': String(lost.body['id']) });
      await has(returned, 'new');
      await node.counts(2, RECOVERY);
    },

    'Redis turns into a replica': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      await redis.admin.replicaof('127.0.0.1', await freePort());
      const refuses = async (): Promise<boolean> => (await node.degraded(HEARTBEAT + ROOM)).includes('WRITES_REFUSED');
      await until(refuses, 'the refusal');
      await node.ready();
      expect(await node.publish('refused')).to.equal(503);
      const { body, ms } = await node.post('/sse/broadcast?event=note', '1');
      expect(body).to.deep.include({ local: 1, nodes: 0, degraded: true });
      expect(ms).to.be.lessThan(1_000 + ROOM);
      expect((await other.send('me', 'sent')).outcome).to.equal('delivered');
      await has(client, '1', 'sent');
      await redis.admin.replicaof('NO', 'ONE');
      await until(async () => (await other.publish('2')) === 202, 'a publication', RECOVERY);
      await has(client, '1', 'sent', '2');
    },

    'Redis does not answer': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      redis.freeze();
      const began = performance.now();
      const own = await node.send('me', 'own');
      expect(own.outcome).to.equal('delivered');
      expect(own.ms).to.be.lessThan(AT_ONCE_MS);
      const { outcome, ms } = await other.send('me', 'perhaps');
      expect(outcome).to.be.oneOf(['unknown', 'unavailable']);
      expect(ms).to.be.lessThan(1_000 + ROOM);
      await node.unready(10_000 + ROOM - (performance.now() - began));
      redis.thaw();
      await Promise.all([node.ready(), other.ready()]);
      expect(await other.send('me', 'far')).to.include({ outcome: 'delivered' });
      await until(() => client.data('note').includes('far'), 'the event');
      // What is unknown comes late, or not at all; never twice.
      expect(client.data('note').filter(data => data !== 'perhaps')).to.deep.equal(['own', 'far']);
      expect(client.data('note').filter(data => data === 'perhaps').length).to.be.at.most(1);
    },

    'Redis is out of memory': async ground => {
      const redis = await ground.redis();
      const [node] = await ground.nodes();
      const client = await node.connect('me');
      await redis.admin.config('SET', 'maxmemory', '1');
      expect(await node.degraded(HEARTBEAT + ROOM)).to.include('WRITES_REFUSED');
      expect(await node.publish('refused')).to.not.equal(202);
      expect(await node.send('me', 'own')).to.include({ outcome: 'delivered' });
      await redis.admin.config('SET', 'maxmemory', '0');
      await node.ready(1_000 + ROOM);
      expect(await node.publish('accepted')).to.equal(202);
      await has(client, 'own', 'accepted');
    },

    'a subscription breaks or dies in silence': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      const everything = Array.from({ length: 30 }, (_, n) => `${n}`);
      for (const n of everything.slice(0, 20)) {
        if (Number(n) % 5 === 0) await redis.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
        await other.publish(n);
      }
      await has(client, ...everything.slice(0, 20));
      ground.proxy('a').cut();
      const began = performance.now();
      for (const n of everything.slice(20)) await other.publish(n);
      const { outcome } = await other.send('me', 'perhaps');
      expect(outcome).to.equal('unknown');
      await node.unready(10_000 + ROOM - (performance.now() - began));
      ground.proxy('a').heal();
      await node.ready();
      await has(client, ...everything);
      expect(client.data('sse.reset')).to.deep.equal([]);
    },
  });

  rows('proxied', {
    'a node is killed': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const [client] = [await node.connect('me'), await node.connect('gone')];
      await other.publish('before');
      const { id = '' } = await client.event('note');
      expect(await redis.admin.hlen(ROUTES)).to.equal(2);
      await node.process.stop('SIGKILL');
      const killed = performance.now();
      const forgets = (): number => LEASE + 2 * HEARTBEAT + ROOM - (performance.now() - killed);
      await client.ended();
      const { outcome, ms } = await other.send('me');
      expect(outcome).to.equal('unavailable');
      expect(ms).to.be.lessThan(1_000 + ROOM);
      await other.publish('meanwhile');
      // It does not wait for the lease of the dead one.
      const returned = await other.connect('me', { 'Last-Event-ID': id });
      await has(returned, 'meanwhile');
      expect(await other.send('me', 'here')).to.include({ outcome: 'delivered', nodeId: 'b' });
      await other.counts(1, forgets());
      await until(async () => (await redis.admin.hlen(ROUTES)) === 1, 'its routes to be gone', forgets());
      expect(await other.send('gone')).to.include({ outcome: 'not-connected' });
    },

    'a node gets a signal to end': async ground => {
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      expect(await node.process.stop('SIGTERM')).to.equal(0);
      expect(await client.closeReason()).to.equal('draining');
      expect(client.text).to.match(/^retry: ?\d+$/m);
      expect((await other.get('/sse/connections')).body).to.deep.include({ cluster: 0 });
      expect(await other.send('me')).to.include({ outcome: 'not-connected' });
    },

    'a node stalls beyond its lease': async ground => {
      const redis = await ground.redis();
      const [node, other] = await ground.nodes();
      const [moved, stayed] = [await node.connect('moved'), await node.connect('stayed')];
      node.process.program.process.kill('SIGSTOP');
      const stalled = performance.now();
      await other.counts(0, LEASE + 2 * HEARTBEAT + ROOM);
      // Until then a send goes to the node that stalls, and would arrive when it wakes.
      const left = LEASE + 2 * HEARTBEAT + ROOM - (performance.now() - stalled);
      await until(async () => (await redis.admin.hlen(ROUTES)) === 0, 'its routes to be gone', left);
      expect(await other.send('stayed')).to.include({ outcome: 'not-connected' });
      await other.connect('moved');
      node.process.program.process.kill('SIGCONT');
      expect(await moved.closeReason()).to.equal('superseded');
      await other.counts(2, RECOVERY);
      expect(await other.send('stayed', 'back')).to.include({ outcome: 'delivered', nodeId: 'a' });
      await has(stayed, 'back');
      expect(await node.send('moved')).to.include({ outcome: 'delivered', nodeId: 'b' });
    },

    'a node is cut off from Redis': async ground => {
      const [node, other] = await ground.nodes();
      const client = await node.connect('me');
      ground.proxy('a').cut();
      const own = await node.send('me', 'local');
      expect(own.outcome).to.equal('delivered');
      expect(own.ms).to.be.lessThan(AT_ONCE_MS);
      await node.unready(10_000 + ROOM);
      await other.counts(0, LEASE + 2 * HEARTBEAT + ROOM);
      await other.publish('meanwhile');
      ground.proxy('a').heal();
      await node.ready();
      await until(() => client.data('note').includes('meanwhile'), 'what it missed', RECOVERY);
      await until(
        async () => (await other.send('me', 'far')).outcome === 'delivered',
        'its routes to be back',
        RECOVERY,
      );
      await has(client, 'local', 'meanwhile', 'far');
    },
  });
});
