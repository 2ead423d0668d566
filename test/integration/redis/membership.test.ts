import { mkdtemp, rm } from 'node:fs/promises';
import { connect } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { freePort } from '../../support/redis/free-port.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { RedisServer } from '../../support/redis/redis-server.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

describe('a node of the cluster', () => {
  const server = withRedis();
  const nodes = new RedisNodes(() => ({ url: server.redis.url, partitions: 4 }));
  afterEach(() => nodes.dispose());

  const start = async (id: string, listener = new RecordingListener()): Promise<RedisCoordinator> => {
    const node = await nodes.node(id);
    await node.start(listener);
    return node;
  };
  const idsOf = async (node: RedisCoordinator): Promise<string[]> =>
    (await node.routes.nodes()).map(({ nodeId }) => nodeId);
  const register = (node: RedisCoordinator, n: number) =>
    node.routes.register({ connectionId: `c${n}`, token: `t${n}`, onDuplicate: 'takeover' });

  it('that closes while it joins leaves no lease', async () => {
    const other = await start('other');
    for (let round = 0; round < 20; round += 1) {
      const node = await nodes.node('guest');
      const starting = node.start(new RecordingListener()).catch(() => undefined);
      await delay(round % 7);
      await node.close();
      await starting;
      expect(await idsOf(other)).to.deep.equal(['other']);
    }
  });

  it('that closes while it registers leaves neither lease nor route', async () => {
    const other = await start('other');
    for (let round = 0; round < 10; round += 1) {
      const node = await start('guest');
      const life = new AbortController();
      const registering = (async () => {
        const calls: Promise<unknown>[] = [];
        for (let n = 0; !life.signal.aborted; n += 1) {
          calls.push(register(node, n).catch(() => undefined));
          await new Promise(resolve => setImmediate(resolve));
        }
        await Promise.all(calls);
      })();
      await delay(round % 5);
      await node.close();
      life.abort();
      await registering;
      expect(await idsOf(other)).to.deep.equal(['other']);
      expect(await other.routes.count()).to.equal(0);
    }
  });

  it('with the id of another node warns, and both serve', async () => {
    const listeners = [new RecordingListener(), new RecordingListener()] as const;
    listeners[0].connections.set('c1', 't1');
    listeners[1].connections.set('c2', 't2');
    const first = await start('twin', listeners[0]);
    const second = await start('twin', listeners[1]);
    await until(() => nodes.logger.lines.some(({ message }) => message.includes('node.id')), 'the warning');
    await register(first, 1);
    await register(second, 2);
    expect(await first.routes.nodes()).to.deep.equal([{ nodeId: 'twin', connections: 2, self: true }]);
    expect(await second.routes.locate('c1')).to.include({ nodeId: 'twin' });
    await first.close();
    expect(await second.routes.count()).to.equal(1);
  });

  it('starts while Redis loads its data, and joins when it has', async function () {
    this.timeout(60_000);
    const folder = await mkdtemp(join(tmpdir(), 'sse-load-'));
    const late = new RedisNodes(() => ({ url: `redis://127.0.0.1:${port}` }));
    const port = await freePort();
    let loading: Promise<RedisServer> | undefined;
    try {
      const files = ['--dir', folder, '--rdbcompression', 'no'];
      const before = await RedisServer.start({ args: files });
      // A Redis that loads answers after each 2 MiB.
      for (let n = 0; n < 5; n += 1) await before.admin.set(`k${n}`, 'x'.repeat(2 << 20));
      await before.admin.save();
      await before.stop();
      loading = RedisServer.start({ port, args: [...files, '--key-load-delay', '900000'] });
      await until(() => listens(port), 'Redis to listen');
      const node = await late.node('a');
      const began = performance.now();
      await node.start(new RecordingListener());
      expect(node.status()).to.include({ reachable: false });
      expect(performance.now() - began).to.be.lessThan(15_000);
      await until(() => node.status().reachable, 'the node to join', 30_000);
    } finally {
      await late.dispose();
      await (await loading?.catch(() => undefined))?.stop();
      await rm(folder, { recursive: true, force: true });
    }
  });

  it('starts while Redis does not answer, and joins when it does', async function () {
    const slow = await RedisServer.start();
    const late = new RedisNodes(() => ({ url: slow.url }));
    try {
      slow.freeze();
      const node = await late.node('a');
      const began = performance.now();
      await node.start(new RecordingListener());
      expect(performance.now() - began).to.be.lessThan(15_000);
      expect(node.status()).to.include({ reachable: false });
      slow.thaw();
      await until(() => node.status().reachable, 'the node to join');
      expect(await register(node, 1)).to.include({ outcome: 'registered' });
    } finally {
      slow.thaw();
      await late.dispose();
      await slow.stop();
    }
  });
});

function listens(port: number): Promise<boolean> {
  return new Promise(resolve => {
    const socket = connect(port, '127.0.0.1');
    socket.once('connect', () => resolve(true)).once('error', () => resolve(false));
    socket.once('connect', () => socket.destroy());
  });
}
