import { expect } from 'chai';
import { Container } from 'inversify';
import { sseModule } from '../../../src/container.js';
import { type Health, SseService } from '../../../src/contracts/service.js';
import { pause } from '../../../src/time.js';
import { RecordingLogger } from '../../support/recording-logger.js';
import { RecordingSink } from '../../support/recording-sink.js';
import { randomPrefix } from '../../support/redis/gateway-options.js';
import { withRedis } from '../../support/redis/with-redis.js';
import { until } from '../../support/until.js';

const LEASE_MS = 600;
const REFUSALS = {
  NOREPLICAS: {
    set: ['CONFIG', 'SET', 'min-replicas-to-write', '1'],
    back: ['CONFIG', 'SET', 'min-replicas-to-write', '0'],
  },
  OOM: { set: ['CONFIG', 'SET', 'maxmemory', '1'], back: ['CONFIG', 'SET', 'maxmemory', '0'] },
  // Its master cannot be reached.
  READONLY: { set: ['REPLICAOF', '127.0.0.1', '1'], back: ['REPLICAOF', 'NO', 'ONE'] },
} as const;

describe('a Redis that refuses writes', () => {
  const server = withRedis();
  let prefix = '';
  let containers: Container[] = [];
  let sinks: RecordingSink[] = [];
  let a: SseService;
  let b: SseService;

  async function start(id: string): Promise<SseService> {
    const container = new Container();
    containers.push(container);
    const redis = { url: server.redis.url, prefix, channel: `${prefix}events` };
    const node = { id, heartbeat: 200, lease: LEASE_MS };
    container.load(sseModule({ node, redis, connection: { heartbeat: false } }, { logger: new RecordingLogger() }));
    const service = container.get<SseService>(SseService);
    await service.start();
    await until(() => service.health().ready, `node ${id}`);
    return service;
  }

  async function connect(service: SseService, id: string, topics: readonly string[] = []): Promise<RecordingSink> {
    const sink = new RecordingSink();
    sinks.push(sink);
    await service.createConnection(id, sink, { topics });
    return sink;
  }

  const run = ([command, ...args]: readonly [string, ...string[]]) => server.redis.admin.call(command, ...args);
  const refuses = (service: SseService): boolean =>
    service.health().reasons.some(({ code }) => code === 'WRITES_REFUSED');

  beforeEach(async () => {
    prefix = randomPrefix();
    [a, b] = await Promise.all([start('a'), start('b')]);
  });

  afterEach(async () => {
    for (const { back } of Object.values(REFUSALS)) await run(back);
    for (const sink of sinks.splice(0)) sink.leave();
    await Promise.all(containers.splice(0).map(container => container.get(SseService).close()));
    containers = [];
    sinks = [];
  });

  for (const [code, { set, back }] of Object.entries(REFUSALS)) {
    it(`with ${code} serves the connected clients for longer than any lease, and takes new ones`, async () => {
      const known = await connect(b, 'known', ['news']);
      await run(set);
      await until(() => refuses(a) && refuses(b), 'the refusal to be known');
      const end = performance.now() + 3 * LEASE_MS;
      let sends = 0;
      while (performance.now() < end) {
        const receipt = await a.sendMessageToConnection('known', 'note', sends);
        sends += 1;
        expect(receipt.outcome).to.equal('delivered');
        expect(await a.locate('known')).to.equal('b');
        expect(await a.getClusterConnectionCount()).to.equal(1);
        for (const service of [a, b]) expect(service.health()).to.include({ ready: true, degraded: true });
        await pause(100);
      }
      expect(known.data('note')).to.have.length(sends);
      await a.publish('news', 'unkept', 'x', { history: false });
      await until(() => known.data('unkept').length === 1, 'the event that is not kept');

      const fresh = await connect(a, 'fresh', ['news']);
      expect(fresh.lastEvent).to.include({ event: 'connected' });
      const receipt = await a.broadcastToCluster('all', 'y');
      expect(receipt).to.include({ local: 1, degraded: true });
      await until(() => fresh.data('all').length > 0, 'the broadcast');
      expect(fresh.data('all')).to.deep.equal(['y']);

      await run(back);
      const well = ({ reasons }: Health): boolean => reasons.length === 0;
      await until(() => well(a.health()) && well(b.health()), 'the end of the refusal');
      await until(async () => (await b.locate('fresh')) === 'a', 'the adoption');
      await b.publish('news', 'kept', 'z');
      await until(() => fresh.data('kept').length === 1, 'what follows');
      expect(fresh.data('sse.reset')).to.deep.equal([]);
      expect(fresh.data('sse.closed')).to.deep.equal([]);
    });
  }

  it('or that evicts keys is a reason in health, and a client that resumes gets a reset for what was evicted', async () => {
    const { admin } = server.redis;
    await admin.config('SET', 'maxmemory-policy', 'volatile-ttl');
    try {
      const c = await start('c');
      expect(c.health()).to.include({ ready: true, degraded: true });
      expect(c.health().reasons.map(({ code }) => code)).to.deep.equal(['EVICTION_POLICY']);
      const known = await connect(c, 'known', ['news']);
      known.leave();
      await c.publish('news', 'kept', 'x');
      await c.publish('sport', 'kept', 'y');
      await admin.del(`${prefix}{log}:t:news`, `${prefix}{log}:p:news`);
      await admin.set('victim', 'x'.repeat(1_000_000), 'PX', 30_000);
      const used = /used_memory:(\d+)/.exec(await admin.info('memory'))?.[1];
      await admin.config('SET', 'maxmemory-samples', '64');
      await admin.config('SET', 'maxmemory', String(Number(used) - 500_000));
      await until(async () => (await admin.exists('victim')) === 0, 'the eviction');
      await admin.config('SET', 'maxmemory', '0');
      // Another node, since this one still has the event.
      const d = await start('d');
      const again = new RecordingSink();
      sinks.push(again);
      await d.createConnection('known', again, { topics: ['news'], lastEventId: known.lastId ?? '' });
      await until(() => again.names.includes('sse.reset'), 'the reset');
      expect(again.names).to.deep.equal(['connected', 'sse.reset']);
      expect(again.data('sse.reset')[0]).to.include('"reason":"GAP"');
    } finally {
      await admin.config('SET', 'maxmemory', '0');
      await admin.config('SET', 'maxmemory-policy', 'noeviction');
    }
  });

  it('opens no circuit, however many calls it refuses', async () => {
    await run(REFUSALS.NOREPLICAS.set);
    await Promise.all(Array.from({ length: 30 }, (_, n) => connect(a, `c${n}`)));
    await Promise.allSettled(Array.from({ length: 30 }, () => a.publish('news', 'kept', 'x')));
    expect(a.health().reasons.map(({ code }) => code)).to.deep.equal(['WRITES_REFUSED']);
    expect(a.health()).to.include({ ready: true, degraded: true });
  });
});
