import { expect } from 'chai';
import type { OperationKind, ResiliencePolicy } from '../../../src/contracts/policy.js';
import { SseError } from '../../../src/errors.js';
import { codeOf } from '../../support/code-of.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { hookedCoordinator } from '../../support/hooked-coordinator.js';
import { TestCluster } from '../../support/test-cluster.js';
import type { TestNode } from '../../support/test-node.js';
import { turns } from '../../support/turns.js';

describe('health', () => {
  let cluster: TestCluster;

  beforeEach(() => {
    cluster = new TestCluster();
  });

  afterEach(() => cluster.close());

  const codes = ({ service }: TestNode): string[] => service.health().reasons.map(({ code }) => code);

  it('is live but not ready before it has started, and after a start that failed', async () => {
    const node = cluster.node('a', {
      wrap: inner =>
        hookedCoordinator(inner, method => {
          if (method === 'start') throw new SseError('UNAVAILABLE', 'not there');
        }),
    });
    for (let look = 0; look < 2; look += 1) {
      expect(node.service.health()).to.include({ live: true, ready: false });
      expect(codes(node)).to.deep.equal(['STARTING']);
      expect(await codeOf(node.service.start())).to.equal('UNAVAILABLE');
    }
  });

  it('is not ready while the cluster cannot be reached, and says what the coordinator says', async () => {
    const node = await cluster.started('a');
    cluster.bus.cut('a');
    const health = node.service.health();
    expect(health).to.include({ live: true, ready: false, degraded: true });
    expect(health.reasons).to.deep.equal([{ code: 'CLUSTER_UNREACHABLE', message: node.coordinator.status().detail }]);
    cluster.bus.heal('a');
    expect(node.service.health().ready).to.equal(true);
  });

  for (const [trouble, code] of [
    ['lease', 'LEASE_LOST'],
    ['feed', 'FEED_BEHIND'],
    ['writes', 'WRITES_REFUSED'],
  ] as const) {
    it(`is live but not ready, with reason ${code}, when the coordinator says so`, async () => {
      const node = await cluster.started('a', {
        wrap: inner =>
          alteredCoordinator(inner, {
            status: () => ({ reachable: false, detail: 'why', trouble }),
          }),
      });
      expect(node.service.health()).to.deep.equal({
        live: true,
        ready: false,
        degraded: true,
        reasons: [{ code, message: 'why' }],
      });
    });
  }

  for (const [kind, code] of [
    ['writes', 'WRITES_REFUSED'],
    ['partition', 'PARTITION_UNREACHABLE'],
    ['key', 'KEY_UNREADABLE'],
  ] as const) {
    it(`is ready and degraded, with reason ${code}, when the coordinator says so`, async () => {
      const node = await cluster.started('a', {
        wrap: inner =>
          alteredCoordinator(inner, {
            status: () => ({ reachable: true, impaired: [{ kind, detail: 'why' }] }),
          }),
      });
      expect(node.service.health()).to.deep.equal({
        live: true,
        ready: true,
        degraded: true,
        reasons: [{ code, message: 'why' }],
      });
    });
  }

  it('is not ready while a circuit is open, and names its kind', async () => {
    const states = new Map<OperationKind, 'half-open' | 'open'>([
      ['send', 'open'],
      ['publish', 'half-open'],
    ]);
    const policy: ResiliencePolicy = {
      execute: (_kind, operation) => operation(new AbortController()),
      circuit: kind => states.get(kind) ?? 'closed',
    };
    const node = await cluster.started('a', { policy });
    expect(node.service.health()).to.include({ live: true, ready: false });
    expect(codes(node)).to.deep.equal(['CIRCUIT_OPEN']);
    expect(node.service.health().reasons[0]?.message).to.include('send');
  });

  it('is degraded but ready when it is full', async () => {
    const node = await cluster.started('a', { options: { connection: { maxConnections: 2 } } });
    const { sink } = await node.connect('c1');
    expect(codes(node)).to.deep.equal([]);
    await node.connect('c2');
    expect(node.service.health()).to.include({ live: true, ready: true, degraded: true });
    expect(codes(node)).to.deep.equal(['CONNECTION_LIMIT']);
    sink.leave();
    expect(codes(node)).to.deep.equal([]);
  });

  it('is degraded but ready when slow clients hold all the memory they may', async () => {
    const bounds = { maxBytes: 1000, maxTotalBytes: 1000 };
    const node = await cluster.started('a', {
      options: {
        sendBuffer: { ...bounds, policy: 'drop-newest' },
        limits: { maxEventBytes: 1000 },
      },
    });
    const { sink, connection } = await node.connect('c1');
    await turns();
    sink.block();
    connection.send('message', 'x'.repeat(992));
    expect(codes(node)).to.deep.equal(['SEND_BUFFER_BUDGET']);
    expect(node.service.health()).to.include({ live: true, ready: true, degraded: true });
    sink.unblock();
    expect(codes(node)).to.deep.equal([]);
  });

  it('is live but not ready while it drains, and neither once it has closed', async () => {
    const node = await cluster.started('a');
    await node.connect('c1');
    const drained = node.service.drain();
    expect(node.service.health()).to.include({ live: true, ready: false });
    expect(codes(node)).to.deep.equal(['DRAINING']);
    await drained;
    expect(node.service.health()).to.include({ live: false, ready: false });
    expect(codes(node)).to.deep.equal(['CLOSED']);
  });
});
