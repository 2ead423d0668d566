import { readFileSync } from 'node:fs';
import { expect } from 'chai';
import { Cluster, Redis } from 'ioredis';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import type { RedisServer } from '../../support/redis/redis-server.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

type Place = ConstructorParameters<typeof RedisNodes>[0];

const PASSWORD = 'password';
const RETENTION = { maxEntries: 10, ttl: 5_000 };
const LIMITS = {
  limits: [
    { name: 'ann/', most: 1, perMinute: 100 },
    { name: '@192.0.2.1', most: 1 },
  ],
  maxConnections: 10,
};

/** The arguments of `ACL SETUSER` in docs/redis.md, for an application and its prefix. */
function leastAccount(name: string, sharded: boolean): [user: string, ...rules: string[]] {
  const text = readFileSync('docs/redis.md', 'utf8');
  const [, block = ''] = /```\nuser ([^`]+)```/.exec(text) ?? [];
  const [, more = ''] = /In a Redis Cluster add `([^`]+)`/.exec(text) ?? [];
  const [, ...rules] = `${block} ${sharded ? more : ''}`.trim().split(/\s+/);
  return [name, ...rules.map(rule => rule.replace('sse:', `${name}:`))];
}

/** Two nodes that use all kinds of calls, with limits; the second one is cut off from none of them. */
async function useEverything(nodes: RedisNodes): Promise<void> {
  const [a, b] = await Promise.all([nodes.node('a'), nodes.node('b')]);
  const listener = new RecordingListener();
  listener.connections.set('ann/1', 't1');
  await a.start(listener);
  await b.start(new RecordingListener());
  await until(() => a.status().reachable && b.status().reachable, 'both nodes');
  const first = { connectionId: 'ann/1', token: 't1', onDuplicate: 'takeover', ...LIMITS } as const;
  expect((await a.routes.register(first)).outcome).to.equal('registered');
  expect((await b.routes.register({ ...first, connectionId: 'ann/2', token: 't2' })).outcome).to.equal('full');
  const frame = { bytes: Buffer.from('data: x\n\n') };
  const message = { connectionId: 'ann/1', messageId: 'm1', frame, ack: 'owner', deadline: 3_000 } as const;
  expect(await b.messenger.send(message)).to.include({ outcome: 'delivered' });
  await a.log.publish({ topic: undefined, body: frame.bytes, retention: RETENTION });
  await b.log.publish({ topic: undefined, body: frame.bytes, retention: false, idempotencyKey: 'k' });
  await until(() => listener.publications.length === 2, 'both broadcasts');
  await a.log.publish({ topic: 'news', body: frame.bytes, retention: RETENTION, idempotencyKey: 'k' });
  const backlog = { topics: ['news'], most: 5 };
  expect((await b.log.replay({ topics: [], backlog, limit: 1 })).frames).to.have.length(1);
  await b.log.remember({ connectionId: 'ann/1', topic: 'news', change: 'add', limit: 5, ttl: 5_000 });
  expect([...(await a.log.recall('ann/1', 5_000)).keys()]).to.deep.equal(['news']);
  expect(await a.locks.acquireLock('run', 'a', 5_000)).to.equal(true);
  expect(await b.locks.lockHolder('run')).to.equal('a');
  await a.locks.releaseLock('run', 'a');
  const revocation = { id: 'r1', target: 'ann/', topics: [], reason: 'revoked', cut: false, ttl: 5_000, age: 0 };
  expect(await b.messenger.revoke(revocation)).to.deep.include({ missing: [] });
  const check = { scope: 'node', maxRepairs: 10, settle: 1, sample: 10, notify: true } as const;
  expect((await a.selfCheck.reconcile(check)).unknown).to.equal(undefined);
  expect(await a.routes.count()).to.equal(1);
  expect(await a.routes.unregister('ann/1', 't1')).to.equal(true);
}

/** What an application may not do to the keys and channels of another. */
function attacks(key: string, channel: string): [command: string, ...args: string[]][] {
  const inside = (call: string): [string, ...string[]] => ['EVAL', `return redis.call(${call})`, '0'];
  return [
    ['HGETALL', key],
    ['HSET', key, 'f', 'v'],
    ['DUMP', key],
    ['XADD', key, '*', 'm', 'forged'],
    ['PEXPIRE', key, '1'],
    ['SET', key, 'v'],
    ['EVAL', "return redis.call('HGETALL', KEYS[1])", '1', key],
    inside(`'HGETALL', '${key}'`),
    inside(`'PUBLISH', '${channel}', 'forged'`),
    ['PUBLISH', channel, 'forged'],
    ['SUBSCRIBE', channel],
    ['PSUBSCRIBE', '*'],
    ['KEYS', '*'],
    ['SCAN', '0'],
    ['DEL', key],
    ['FLUSHALL'],
    ['CONFIG', 'GET', '*'],
    ['ACL', 'LIST'],
    ['MONITOR'],
    ['SCRIPT', 'FLUSH'],
    ['CLIENT', 'LIST'],
    ['CLIENT', 'KILL', 'TYPE', 'normal'],
    ['PUBSUB', 'CHANNELS'],
  ];
}

/** That one account reaches nothing of another application on this server, not even one whose prefix begins like its own. */
async function expectRefusals(server: RedisServer, name: string, more: [string, ...string[]][] = []): Promise<void> {
  const client = new Redis(server.port, '127.0.0.1', { username: name, password: PASSWORD });
  client.on('error', () => undefined);
  try {
    const tags = ['{log}:m', '{log}:v', '{18}:r', '{18}:l'];
    const own = tags.flatMap(tag => attacks(`sse:${tag}`, 'sse:0:a:nodes'));
    for (const [command, ...args] of [...own, ...attacks(`${name}ping:{log}:m`, `${name}:1:a:nodes`), ...more]) {
      const refusal: unknown = await client.call(command, ...args).catch((error: unknown) => error);
      expect(refusal, `${command} ${args.join(' ')}`).to.be.instanceOf(Error);
      expect(String(refusal)).to.match(/NOPERM|ACL failure in script|The user executing the script can't/);
    }
  } finally {
    client.disconnect();
  }
}

describe('the least account of docs/redis.md', () => {
  const settings = (name: string) => ({ prefix: `${name}:`, channel: `${name}:events` });
  const together = async (where: (name: string) => Place, attack: () => Promise<void>): Promise<void> => {
    const [own, other] = ['sse', 'shop'].map(name => new RedisNodes(where(name)));
    if (own === undefined || other === undefined) throw new Error('two applications were made');
    try {
      await useEverything(own);
      await useEverything(other);
      await attack();
    } finally {
      await Promise.all([own.dispose(), other.dispose()]);
    }
  };

  it('is enough for nodes with limits on a single Redis, and reaches nothing of another application', async () => {
    const { admin, port } = server.redis;
    for (const name of ['sse', 'shop']) await admin.acl('SETUSER', ...leastAccount(name, false));
    const where = (name: string) => () => ({
      url: `redis://${name}:${PASSWORD}@127.0.0.1:${port}`,
      ...settings(name),
    });
    await together(where, () => expectRefusals(server.redis, 'shop'));
  });
  const server = withRedis();

  describe('with sharded Pub/Sub', () => {
    const cluster = withRedisCluster();
    const clients: Cluster[] = [];
    afterEach(() => {
      for (const client of clients.splice(0)) client.disconnect();
    });

    it('is enough for nodes with limits on a Redis Cluster, and reaches nothing of another application', async () => {
      for (const { admin } of cluster.redis.servers) {
        for (const name of ['sse', 'shop']) await admin.acl('SETUSER', ...leastAccount(name, true));
      }
      const places = cluster.redis.servers.map(({ port }) => ({ host: '127.0.0.1', port }));
      const where = (name: string): Place => {
        const client = new Cluster(places, { redisOptions: { username: name, password: PASSWORD } });
        client.on('error', () => undefined);
        clients.push(client);
        return () => ({ client, pubsub: 'sharded', ...settings(name) });
      };
      const more: [string, ...string[]][] = [
        ['SPUBLISH', 'sse:0:t:{log}:news', 'forged'],
        ['SSUBSCRIBE', 'sse:0:t:{log}:news'],
        ['CLUSTER', 'RESET'],
        ['CLUSTER', 'FORGET', '0'.repeat(40)],
      ];
      await together(where, async () => {
        for (const each of cluster.redis.servers) await expectRefusals(each, 'shop', more);
      });
    });
  });
});
