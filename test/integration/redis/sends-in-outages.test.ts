import { expect } from 'chai';
import type { RedisCoordinator } from '../../../src/cluster/redis/cluster.js';
import type { Message } from '../../../src/contracts/cluster.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { RedisNodes } from '../../support/redis/redis-nodes.js';
import { TcpProxy } from '../../support/redis/tcp-proxy.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const FREEZE_MS = 2_200;

describe('a send while Redis is in trouble', () => {
  const server = withRedis();
  let port = 0;
  const nodes = new RedisNodes(() => ({ url: `redis://127.0.0.1:${port}` }));
  let proxy: TcpProxy;
  let owner: RedisCoordinator;
  let sender: RedisCoordinator;
  let listener: RecordingListener;

  beforeEach(async () => {
    port = server.redis.port;
    owner = await nodes.node('b');
    listener = new RecordingListener();
    await owner.start(listener);
    await owner.routes.register({ connectionId: 'c1', token: 't1', onDuplicate: 'takeover' });
    listener.connections.set('c1', 't1');
    proxy = await TcpProxy.to(server.redis.port);
    port = proxy.port;
    sender = await nodes.node('a');
    await sender.start(new RecordingListener());
  });

  afterEach(async () => {
    server.redis.thaw();
    await nodes.dispose();
    await proxy.close();
  });

  const send = (ack: Message['ack'], deadline = 4_000) =>
    sender.messenger.send({
      connectionId: 'c1',
      messageId: `m-${ack}`,
      frame: { bytes: Buffer.from('data: x\n\n') },
      ack,
      deadline,
    });

  it('is answered by an owner that leaves the cluster as it delivers', async () => {
    const left: Promise<void>[] = [];
    const { onMessage } = listener;
    listener.onMessage = (...message) => {
      left.push(owner.close());
      return onMessage.apply(listener, message);
    };
    expect(await send('owner')).to.deep.equal({ outcome: 'delivered', nodeId: 'b' });
    expect(left).to.have.length(1);
    await left[0];
  });

  it('is not repeated behind itself while Redis is frozen', async () => {
    server.redis.freeze();
    const sent = send('owner', 15_000);
    await new Promise(resolve => setTimeout(resolve, FREEZE_MS));
    server.redis.thaw();
    expect(await sent).to.deep.equal({ outcome: 'delivered', nodeId: 'b' });
    await until(() => sender.status().reachable, 'a Redis that answers');
    // Whatever else is on its way comes before the answer to this.
    expect(await send('owner')).to.include({ outcome: 'delivered' });
    expect(listener.messages).to.have.length(2);
  });

  it('has the answer that came while the event loop stood still, and a publication too', async () => {
    port = server.redis.port;
    sender = await nodes.node('c');
    await sender.start(new RecordingListener());
    const retention = { maxEntries: 9, ttl: 60_000 };
    const publish = () => sender.log.publish({ topic: 't', body: Buffer.from('data: x\n\n'), retention });
    const written = [send('none'), publish()] as const;
    await new Promise(setImmediate);
    // Not written yet when the loop stops.
    const made = [send('none'), publish()] as const;
    const end = performance.now() + 1_300;
    while (performance.now() < end);
    expect(await Promise.all([written[0], made[0]])).to.have.deep.members(
      Array(2).fill({ outcome: 'routed', nodeId: 'b' }),
    );
    for (const published of [written[1], made[1]]) expect(await published).to.have.property('cursor');
  });

  for (const ack of ['owner', 'none'] as const) {
    it(`is unknown, not unavailable, when its connection breaks before the answer (ack ${ack})`, async () => {
      server.redis.freeze();
      const sent = send(ack, 1_500);
      await until(() => sender.status().reachable, 'a connection');
      // It is out by now.
      await new Promise(resolve => setTimeout(resolve, 50));
      proxy.break();
      await until(() => !sender.status().reachable, 'the news that it broke');
      expect((await sent).outcome).to.equal('unknown');
    });
  }
});
