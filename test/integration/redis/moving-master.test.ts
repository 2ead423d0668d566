import { expect } from 'chai';
import { Cluster, Redis } from 'ioredis';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import type { SseOptions } from '../../../src/options/sse-options.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { RedisServer } from '../../support/redis/redis-server.js';
import { TcpProxy } from '../../support/redis/tcp-proxy.js';
import { withRedis, withRedisCluster } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const RETENTION = { maxEntries: 10, ttl: 5_000 };

/** The lines of connections that subscribe, without those of ioredis' own. */
async function subscriptions({ admin }: RedisServer): Promise<string[]> {
  const list = (await admin.call('CLIENT', 'LIST', 'TYPE', 'pubsub')) as string;
  return list.split('\n').filter(line => / (?:sub|ssub)=[1-9]/.test(line));
}

async function started(nodes: RedisNodes, id: string, listener = new RecordingListener()): Promise<RedisCoordinator> {
  const node = await nodes.node(id);
  await node.start(listener);
  return node;
}

describe('nodes follow their master', () => {
  withRedis();
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  /** Two nodes behind one address that leads to the first of two servers. */
  const ground = async () => {
    const servers = [await RedisServer.start(), await RedisServer.start()] as const;
    for (const server of servers) ends.push(() => server.stop());
    const proxy = await TcpProxy.to(servers[0].port);
    ends.push(() => proxy.close());
    const nodes = new RedisNodes(() => ({ url: `redis://127.0.0.1:${proxy.port}` }));
    ends.push(() => nodes.dispose());
    const listener = new RecordingListener();
    const a = await started(nodes, 'a', listener);
    const b = await started(nodes, 'b');
    return { former: servers[0], next: servers[1], proxy, a, b, listener };
  };
  type Ground = Awaited<ReturnType<typeof ground>>;

  const moved = async ({ former, next, b, listener }: Ground) => {
    const settled = async () =>
      (await subscriptions(former)).length === 0 && (await subscriptions(next)).length === 2 && b.status().reachable;
    await until(settled, 'both nodes to subscribe at the next master', 20_000);
    const before = listener.publications.length;
    await b.log.publish({ topic: undefined, body: Buffer.from('data: x\n\n'), retention: RETENTION });
    await until(() => listener.publications.length > before, 'the publication');
  };

  it('when it is demoted behind one address, and connections to it stay open', async () => {
    const here = await ground();
    const { former, next, proxy } = here;
    await next.admin.replicaof('127.0.0.1', former.port);
    await until(async () => (await next.admin.info('replication')).includes('link_status:up'), 'the replica');
    proxy.point(next.port);
    await next.admin.replicaof('NO', 'ONE');
    await former.admin.replicaof('127.0.0.1', next.port);
    await moved(here);
  });

  it('when only commands arrive at another server', async () => {
    const here = await ground();
    here.proxy.point(here.next.port);
    await here.former.admin.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
    await moved(here);
  });

  it('when only subscriptions arrive at another server', async () => {
    const here = await ground();
    here.proxy.point(here.next.port);
    await here.former.admin.call('CLIENT', 'KILL', 'TYPE', 'pubsub');
    await moved(here);
  });
});

describe('nodes use the password of the moment', () => {
  const server = withRedis();
  const ends: (() => unknown)[] = [];
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end();
  });

  const admit = (password: string, of = server.redis.admin) =>
    of.acl('SETUSER', 'ann', 'reset', 'on', `>${password}`, '~*', '&*', '+@all');
  /** Changes the password and ends every connection that used the old one. */
  const rotate = async (password: string) => {
    await admit(password);
    await server.redis.admin.call('CLIENT', 'KILL', 'USER', 'ann');
  };
  const nodeAt = async (redis: SseOptions['redis']) => {
    const nodes = new RedisNodes(() => redis);
    ends.push(() => nodes.dispose());
    return started(nodes, 'a');
  };
  const own = <T extends Redis | Cluster>(client: T): T => {
    client.on('error', () => undefined);
    ends.push(() => client.disconnect());
    return client;
  };
  const comesBack = async (node: RedisCoordinator) => {
    await until(() => !node.status().reachable, 'the break');
    await until(() => node.status().reachable, 'the node to be back', 20_000);
    expect((await subscriptions(server.redis)).filter(line => line.includes('user=ann'))).to.have.length(1);
  };

  for (const kind of ['an object', 'a promise'] as const) {
    it(`from a function that gives ${kind}`, async () => {
      let password = 'first';
      await admit(password);
      const now = () => ({ username: 'ann', password });
      const credentials = kind === 'an object' ? now : async () => now();
      const node = await nodeAt({ url: server.redis.url, credentials });
      password = 'second';
      await rotate(password);
      await comesBack(node);
    });
  }

  it('from the options of the client of the application', async () => {
    await admit('first');
    const client = own(new Redis(server.redis.url, { username: 'ann', password: 'first', lazyConnect: true }));
    const node = await nodeAt({ client });
    client.options.password = 'second';
    await rotate('second');
    await comesBack(node);
  });

  it('and say why they wait while it is wrong', async () => {
    await admit('first');
    let password = 'first';
    const node = await nodeAt({ url: server.redis.url, credentials: () => ({ username: 'ann', password }) });
    await rotate('second');
    await until(() => node.status().detail?.includes('WRONGPASS') === true, 'the reason');
    expect(node.status()).to.include({ reachable: false });
    expect(node.status().detail).to.include('redis.credentials');
    password = 'second';
    await until(() => node.status().reachable, 'the node to be back', 20_000);
  });

  it('and keep the former one while the function fails', async () => {
    await admit('first');
    let fails = false;
    const credentials = () => {
      if (fails) throw new Error('the vault is locked');
      return { username: 'ann', password: 'first' };
    };
    const node = await nodeAt({ url: server.redis.url, credentials });
    fails = true;
    await server.redis.admin.call('CLIENT', 'KILL', 'USER', 'ann');
    await comesBack(node);
  });

  describe('in a Redis Cluster', () => {
    const cluster = withRedisCluster();

    it('from a function', async () => {
      let password = 'first';
      const all = (work: (server: RedisServer) => Promise<unknown>) => Promise.all(cluster.redis.servers.map(work));
      await all(({ admin }) => admit(password, admin));
      const client = own(
        new Cluster(
          cluster.redis.servers.map(({ port }) => ({ host: '127.0.0.1', port })),
          { lazyConnect: true },
        ),
      );
      const node = await nodeAt({ client, credentials: async () => ({ username: 'ann', password }) });
      password = 'second';
      await all(({ admin }) => admit(password, admin));
      await all(({ admin }) => admin.call('CLIENT', 'KILL', 'USER', 'ann'));
      await until(() => !node.status().reachable, 'the break');
      await until(() => node.status().reachable, 'the node to be back', 30_000);
    });
  });
});
