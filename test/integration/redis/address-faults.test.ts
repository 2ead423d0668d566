import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer as createHttpServer } from 'node:http';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Cluster, Redis } from 'ioredis';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { SseError } from '../../../src/errors.js';
import { selfSigned } from '../../support/certificate.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { freePort } from '../../support/redis/free-port.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { RedisSentinel } from '../../support/redis/redis-sentinel.js';
import { RedisServer } from '../../support/redis/redis-server.js';
import { needsTls, needsVersion, withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const PASSWORD = 'correct-horse';

describe('a node whose Redis is given wrongly', () => {
  const server = withRedis();
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  const nodeAt = async (redis: SseOptions['redis']) => {
    const nodes = new RedisNodes(() => redis);
    ends.push(() => nodes.dispose());
    return nodes.node('a');
  };
  /** The error of a start that cannot succeed. */
  const refusal = async (redis: SseOptions['redis']): Promise<SseError> => {
    const failure: unknown = await nodeAt(redis)
      .then(node => node.start(new RecordingListener()))
      .catch((error: unknown) => error);
    if (!SseError.is(failure)) throw new Error(`no SseError: ${String(failure)}`);
    expect(failure).to.include({ code: 'INVALID_OPTION', retryable: false });
    expect(failure.message).to.not.include(PASSWORD);
    return failure;
  };
  /** The reason in the status of a node that waits for its Redis. */
  const waiting = async (redis: SseOptions['redis']) => {
    const node = await nodeAt(redis);
    await node.start(new RecordingListener());
    const { reachable, detail } = node.status();
    expect(reachable).to.equal(false);
    return { node, detail: detail ?? '' };
  };
  const own = <T extends Redis | Cluster>(client: T): T => {
    client.on('error', () => undefined);
    ends.push(() => client.disconnect());
    return client;
  };
  const portOf = async (fake: Server): Promise<number> => {
    await new Promise<void>(resolve => fake.listen(0, '127.0.0.1', resolve));
    const sockets = new Set<Socket>();
    fake.on('connection', (socket: Socket) => sockets.add(socket));
    ends.push(() => {
      for (const socket of sockets) socket.destroy();
      return new Promise(resolve => fake.close(resolve));
    });
    return (fake.address() as AddressInfo).port;
  };
  const account = async (name: string, ...rules: string[]) => {
    await server.redis.admin.acl('SETUSER', name, 'reset', 'on', `>${PASSWORD}`, '~*', '&*', '+@all', ...rules);
    return server.redis.url.replace('//', `//${name}:${PASSWORD}@`);
  };

  describe('says at the start what to change', () => {
    it('when the password is wrong', async () => {
      const url = (await account('ann')).replace(PASSWORD, 'wrong');
      expect((await refusal({ url })).message).to.include('redis.password');
    });

    it('when Redis asks for a password and gets none', async () => {
      const guarded = await RedisServer.start({ password: PASSWORD });
      ends.push(() => guarded.stop());
      expect((await refusal({ url: guarded.url })).message).to.include('redis.password');
    });

    it('when a web server answers', async () => {
      const port = await portOf(createHttpServer((_request, response) => response.end('hello')));
      expect((await refusal({ url: `redis://127.0.0.1:${port}` })).message).to.include('check host and port');
    });

    it('when Redis is in protected mode', async () => {
      // A Redis refuses other machines only, so this is its answer to them.
      const port = await portOf(
        createServer(socket => {
          socket.on('error', () => undefined);
          socket.end('-DENIED Redis is running in protected mode because protected mode is enabled\r\n');
        }),
      );
      expect((await refusal({ url: `redis://127.0.0.1:${port}` })).message).to.include('requirepass');
    });

    it('when a command is not allowed, by its name', async function () {
      needsVersion(this, 7, 'Redis names what an account may not use');
      const xadd = await refusal({ url: await account('bob', '-xadd') });
      expect(xadd.message).to.include('XADD').and.to.include('ACL SETUSER');
      expect((await refusal({ url: await account('bob', '-subscribe') })).message).to.include('SUBSCRIBE');
    });

    it('when keys or channels are not allowed', async function () {
      needsVersion(this, 7, 'Redis names what an account may not use');
      const url = await account('cid', 'resetkeys', '~other:*');
      expect((await refusal({ url })).message).to.include('ACL SETUSER');
      const silent = await account('cid', 'resetchannels', '&other:*');
      expect((await refusal({ url: silent })).message).to.include('PUBLISH');
    });

    it('when the database does not exist', async () => {
      expect((await refusal({ url: `${server.redis.url}/99` })).message).to.include('redis.url');
    });

    it('when a URL leads to a Sentinel', async () => {
      const sentinel = await RedisSentinel.start({ name: 'main', port: server.redis.port, password: PASSWORD });
      ends.push(() => sentinel.stop());
      const url = `redis://:${PASSWORD}@127.0.0.1:${sentinel.port}`;
      expect((await refusal({ url })).message).to.include('sentinels');
    });

    it('when a Cluster of ioredis leads to a single Redis', async () => {
      const client = own(new Cluster([{ host: '127.0.0.1', port: server.redis.port }]));
      expect((await refusal({ client })).message).to.include('redis.url');
    });

    it('when the client is none of ioredis', async () => {
      // As createClient() of the package redis makes it.
      const client = { isOpen: false, options: {}, duplicate: () => client, sendCommand: () => undefined };
      expect((await refusal({ client })).message)
        .to.include('node-redis')
        .and.to.include('ioredis');
    });

    it('when the client has a keyPrefix', async () => {
      const client = own(new Redis(server.redis.url, { keyPrefix: 'shop:', lazyConnect: true }));
      expect((await refusal({ client })).message).to.include('redis.prefix');
    });

    it('when the URL is empty or of another kind', async () => {
      for (const url of ['', 'http://127.0.0.1', '127.0.0.1:6379']) {
        expect((await refusal({ url })).message).to.include('redis.url');
      }
    });
  });

  describe('in a Redis Cluster says at the start what to change', () => {
    const cluster = withRedisCluster();
    const place = () => ({ host: '127.0.0.1', port: cluster.redis.servers[0]?.port ?? 0 });

    it('when a URL leads to one of its nodes, with or without a database', async () => {
      const url = `redis://127.0.0.1:${place().port}`;
      expect((await refusal({ url })).message).to.include('new Cluster');
      // From Valkey 9 on a cluster may have databases, and the one that is missing is noticed first.
      expect((await refusal({ url: `${url}/3` })).message).to.match(/new Cluster|the database must exist/);
    });

    it('when the client has a database', async () => {
      const client = own(new Cluster([place()], { redisOptions: { db: 3 }, lazyConnect: true }));
      expect((await refusal({ client })).message).to.include('redis.prefix');
    });

    it('when sharded Pub/Sub is not there', async () => {
      for (const { admin } of cluster.redis.servers) {
        await admin.acl('SETUSER', 'old', 'on', `>${PASSWORD}`, '~*', '&*', '+@all', '-ssubscribe');
      }
      const redisOptions = { username: 'old', password: PASSWORD };
      const client = own(new Cluster([place()], { redisOptions, lazyConnect: true }));
      expect((await refusal({ client })).message).to.include('SSUBSCRIBE');
    });

    it('when the password is wrong', async () => {
      const redisOptions = { username: 'nobody', password: PASSWORD };
      const client = own(new Cluster([place()], { redisOptions, lazyConnect: true }));
      expect((await refusal({ client })).message).to.include('redis.password');
    });
  });

  describe('waits, and its status says what to change,', () => {
    it('when nothing accepts connections', async () => {
      const { detail } = await waiting({ url: `redis://127.0.0.1:${await freePort()}` });
      expect(detail).to.include('ECONNREFUSED').and.to.include('check host and port');
    });

    it('when Redis has as many clients as it allows, and joins when it has room', async () => {
      const full = await RedisServer.start();
      ends.push(() => full.stop());
      await full.admin.config('SET', 'maxclients', '1');
      const { node, detail } = await waiting({ url: full.url });
      expect(detail).to.include('maxclients');
      await full.admin.config('SET', 'maxclients', '100');
      await until(() => node.status().reachable, 'the node to join');
    });

    it('when the address leads to a replica, and joins when that is promoted', async () => {
      const replica = await RedisServer.start();
      ends.push(() => replica.stop());
      await replica.admin.replicaof('127.0.0.1', server.redis.port);
      await until(async () => (await replica.admin.info('replication')).includes('link_status:up'), 'the replica');
      const { node, detail } = await waiting({ url: replica.url });
      expect(detail).to.include('replica');
      await replica.admin.replicaof('NO', 'ONE');
      await until(() => node.status().reachable, 'the node to join');
    });

    it('when TLS is spoken to a port without it', async () => {
      const failure: unknown = await waiting({ url: server.redis.url.replace('redis:', 'rediss:') }).then(
        ({ detail }) => new Error(detail),
        (error: unknown) => error,
      );
      // Whether Redis answers the first bytes of TLS depends on chance: they may have a line break.
      expect(failure).to.be.instanceOf(Error).with.property('message').that.includes('TLS');
    });

    it('when a port with TLS is reached without it', async function () {
      needsTls(this);
      const folder = await mkdtemp(join(tmpdir(), 'sse-tls-'));
      ends.push(() => rm(folder, { recursive: true, force: true }));
      const certificate = await selfSigned();
      const port = await freePort();
      const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
      await writeFile(key, certificate.key);
      await writeFile(cert, certificate.cert);
      const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert];
      const args = ['--tls-port', String(port), '--tls-auth-clients', 'no', ...files];
      const secure = await RedisServer.start({ args });
      ends.push(() => secure.stop());
      const { detail } = await waiting({ url: `redis://127.0.0.1:${port}` });
      expect(detail).to.include('rediss://');
    });
  });

  describe('works with a client of the application', () => {
    const clients: Readonly<Record<string, () => Redis>> = {
      'that is closed': () => {
        const client = new Redis(server.redis.url, { lazyConnect: true });
        client.disconnect();
        return client;
      },
      'that subscribes': () => {
        const client = new Redis(server.redis.url);
        void client.subscribe('of the application');
        return client;
      },
      'with options of its own': () =>
        new Redis(server.redis.url, {
          enableOfflineQueue: false,
          enableReadyCheck: false,
          enableAutoPipelining: true,
          lazyConnect: true,
          maxRetriesPerRequest: null,
          protocol: 2,
          retryStrategy: null,
          stringNumbers: true,
        }),
    };
    for (const [how, client] of Object.entries(clients)) {
      it(how, async () => {
        const node = await nodeAt({ client: own(client()) });
        await node.start(new RecordingListener());
        expect(node.status()).to.deep.equal({ reachable: true });
      });
    }
  });
});
