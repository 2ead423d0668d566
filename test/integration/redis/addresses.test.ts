import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect } from 'chai';
import { Cluster, Redis } from 'ioredis';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { selfSigned } from '../../support/certificate.js';
import { DemoProcess } from '../../support/demo-process.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { freePort } from '../../support/redis/free-port.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { RedisSentinel } from '../../support/redis/redis-sentinel.js';
import { RedisServer } from '../../support/redis/redis-server.js';
import { needsTls, withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

type RedisSettings = Parameters<typeof nodesAt>[0];

const PASSWORD = 'correct-horse';

/** Two started nodes; the first has the connection `c1`. */
async function nodesAt(where: () => { url?: string; client?: object }) {
  const nodes = new RedisNodes(where);
  const [a, b] = await Promise.all([nodes.node('a'), nodes.node('b')]);
  const listener = new RecordingListener();
  listener.connections.set('c1', 't1');
  await a.start(listener);
  await b.start(new RecordingListener());
  await a.routes.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
  return { nodes, a, b };
}

function send(from: RedisCoordinator, messageId: string) {
  const frame = { bytes: Buffer.from('data: x\n\n') };
  return from.messenger.send({
    connectionId: 'c1',
    messageId,
    frame,
    ack: 'owner',
    deadline: 3_000,
  });
}

/** That two nodes meet there: one sends to a connection of the other, which answers. */
async function meet(where: RedisSettings): Promise<void> {
  const { nodes, b } = await nodesAt(where);
  try {
    expect(await send(b, 'm1')).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
  } finally {
    await nodes.dispose();
  }
}

describe('nodes meet', () => {
  const server = withRedis();
  const clients: (Redis | Cluster)[] = [];
  const own = <T extends Redis | Cluster>(client: T): T => {
    client.on('error', () => undefined);
    clients.push(client);
    return client;
  };
  afterEach(() => {
    for (const client of clients.splice(0)) client.disconnect();
  });

  it('in the database of a URL, as its user with its password', async () => {
    const { admin, port } = server.redis;
    await admin.acl('SETUSER', 'ann', 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
    const { nodes, b } = await nodesAt(() => ({
      url: `redis://ann:${PASSWORD}@127.0.0.1:${port}/3`,
    }));
    try {
      expect(await send(b, 'm1')).to.include({ outcome: 'delivered' });
      const list = (await admin.client('LIST')) as string;
      const theirs = list.split('\n').filter(line => line.includes('user=ann'));
      // Of each node: commands, subscriptions, and reads of the log.
      expect(theirs).to.have.length(6);
      // Messages are of no database; the subscriptions need none.
      expect(theirs.filter(line => / db=3 /.test(line))).to.have.length(6);
      const third = own(admin.duplicate({ db: 3 }));
      expect(await third.dbsize()).to.be.greaterThan(0);
      expect(await admin.keys(`${nodes.prefix}*`)).to.deep.equal([]);
    } finally {
      await nodes.dispose();
    }
  });

  describe('over TLS', () => {
    let redis: RedisServer | undefined;
    let folder = '';
    let port = 0;
    let ca = '';
    before(async function () {
      needsTls(this);
      const certificate = await selfSigned();
      ca = certificate.cert;
      folder = await mkdtemp(join(tmpdir(), 'sse-tls-'));
      await writeFile(join(folder, 'key.pem'), certificate.key);
      await writeFile(join(folder, 'cert.pem'), ca);
      port = await freePort();
      const [cert, key] = [join(folder, 'cert.pem'), join(folder, 'key.pem')];
      const files = ['--tls-cert-file', cert, '--tls-key-file', key, '--tls-ca-cert-file', cert];
      const args = ['--tls-port', String(port), '--tls-auth-clients', 'no', ...files];
      redis = await RedisServer.start({ args });
    });
    after(async () => {
      await redis?.stop();
      await rm(folder, { recursive: true, force: true });
    });

    it('behind a client of the application that trusts the certificate', async () => {
      const client = own(new Redis(port, 'localhost', { tls: { ca } }));
      await meet(() => ({ client }));
    });

    it('at a rediss URL, when Node trusts the certificate', async () => {
      const node = await DemoProcess.start({
        REDIS_URL: `rediss://localhost:${port}`,
        NODE_EXTRA_CA_CERTS: join(folder, 'cert.pem'),
      });
      try {
        const ready = async (): Promise<boolean> => (await fetch(`${node.url}/health/ready`)).status === 200;
        await until(ready, 'the node to be ready');
      } finally {
        await node.stop('SIGKILL');
      }
    });

    it('and not where the certificate is not trusted', async () => {
      const nodes = new RedisNodes(() => ({ url: `rediss://localhost:${port}` }));
      try {
        const node = await nodes.node('a');
        await node.start(new RecordingListener());
        expect(node.status()).to.include({ reachable: false });
      } finally {
        await nodes.dispose();
      }
    });
  });

  it('behind Sentinels that ask for a password, and follow their failover', async function () {
    const settings = { args: ['--masterauth', PASSWORD], password: PASSWORD };
    const servers = [await RedisServer.start(settings), await RedisServer.start(settings)] as const;
    const [master, replica] = servers;
    let sentinel: RedisSentinel | undefined;
    try {
      await replica.admin.replicaof('127.0.0.1', master.port);
      const replicated = async (): Promise<boolean> =>
        (await master.admin.info('replication')).includes('connected_slaves:1');
      await until(replicated, 'the replica');
      const watched = { name: 'main', port: master.port, password: PASSWORD };
      const started = await RedisSentinel.start(watched);
      sentinel = started;
      await until(async () => (await started.replicas('main')) === 1, 'the Sentinel to see it');
      const client = own(
        new Redis({
          sentinels: [{ host: '127.0.0.1', port: started.port }],
          name: 'main',
          sentinelPassword: PASSWORD,
          password: PASSWORD,
        }),
      );
      const { nodes, b } = await nodesAt(() => ({ client }));
      try {
        expect(await send(b, 'm1')).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
        await master.stop();
        const again = async (): Promise<boolean> => (await send(b, 'm2')).outcome === 'delivered';
        await until(again, 'the nodes to meet at the other master', 30_000);
        expect(await replica.admin.info('replication')).to.include('role:master');
      } finally {
        await nodes.dispose();
      }
    } finally {
      await sentinel?.stop();
      await Promise.all(servers.map(each => each.stop()));
    }
  });

  describe('in a Redis Cluster', () => {
    const cluster = withRedisCluster();

    it('as the user of the client of the application, on every connection', async () => {
      for (const { admin } of cluster.redis.servers) {
        await admin.acl('SETUSER', 'ann', 'on', `>${PASSWORD}`, '~*', '&*', '+@all');
      }
      const places = cluster.redis.servers.map(({ port }) => ({ host: '127.0.0.1', port }));
      const redisOptions = { username: 'ann', password: PASSWORD };
      const client = own(new Cluster(places, { redisOptions }));
      const { nodes, b } = await nodesAt(() => ({ client }));
      try {
        expect(await send(b, 'm1')).to.deep.equal({ outcome: 'delivered', nodeId: 'a' });
        client.disconnect();
        const lists = await Promise.all(
          cluster.redis.servers.map(async ({ admin }) => (await admin.client('LIST')) as string),
        );
        const users = lists.map(list => list.split('\n').filter(line => / user=ann /.test(line)));
        for (const lines of users) expect(lines.length).to.be.greaterThan(1);
        expect(users.flat().filter(line => / s?sub=[1-9]/.test(line)).length).to.be.greaterThan(3);
      } finally {
        await nodes.dispose();
      }
    });
  });
});
