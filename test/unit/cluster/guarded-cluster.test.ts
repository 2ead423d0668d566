import { expect } from 'chai';
import { GuardedCluster } from '../../../src/cluster/guarded-cluster.js';
import { MemoryBus } from '../../../src/cluster/memory/bus.js';
import { LocalCoordinator } from '../../../src/cluster/memory/coordinator.js';
import type { ClusterCoordinator, Publication } from '../../../src/contracts/cluster.js';
import type { OperationContext, OperationKind, ResiliencePolicy } from '../../../src/contracts/policy.js';
import { SseError } from '../../../src/errors.js';
import { PassthroughPolicy } from '../../../src/resilience/policies.js';
import { alteredCoordinator } from '../../support/altered-coordinator.js';
import { codeOf } from '../../support/code-of.js';
import { RecordingListener } from '../../support/recording-listener.js';
import { turns } from '../../support/turns.js';

const LIMIT = { takeoverLimit: 5, takeoverWindow: 30_000 };
const PUBLICATION: Publication = {
  topic: 'news',
  body: Buffer.from('data: x\n\n'),
  retention: { maxEntries: 10, ttl: 60_000 },
};
const message = (deadline: number) => ({
  connectionId: 'c1',
  messageId: 'm1',
  frame: { bytes: Buffer.from('data: x\n\n') },
  ack: 'owner' as const,
  deadline,
});
const CUT_OFF = { outcome: 'unavailable', code: 'CLUSTER_UNREACHABLE' };
const NEVER = new Promise<never>(() => undefined);

/** Gives up at once on every operation, which goes on all the same. */
class ImpatientPolicy implements ResiliencePolicy {
  readonly running: Promise<unknown>[] = [];

  execute<T>(_kind: OperationKind, operation: Parameters<ResiliencePolicy['execute']>[1]) {
    this.running.push(operation({ signal: AbortSignal.abort() }));
    return Promise.reject<T>(new SseError('UNAVAILABLE', 'given up', { retryable: false }));
  }

  circuit() {
    return 'closed' as const;
  }
}

describe('GuardedCluster', () => {
  let bus: MemoryBus;
  let listener: RecordingListener;
  let inner: LocalCoordinator;
  let failures: unknown[];

  beforeEach(() => {
    bus = new MemoryBus();
    failures = [];
    listener = new RecordingListener();
    inner = new LocalCoordinator('a', LIMIT, bus);
  });

  const guard = (
    coordinator: ClusterCoordinator = inner,
    policy: ResiliencePolicy = new PassthroughPolicy(),
  ): GuardedCluster =>
    new GuardedCluster(
      coordinator,
      policy,
      () => listener,
      error => failures.push(error),
    );

  describe('joining', () => {
    let joins: { resolve: () => void; reject: (error: Error) => void }[];
    let cluster: GuardedCluster;

    beforeEach(() => {
      joins = [];
      cluster = guard(
        alteredCoordinator(inner, {
          start: () => new Promise((resolve, reject) => joins.push({ resolve, reject })),
        }),
      );
    });

    it('happens once, however many callers ask', async () => {
      const callers = [cluster.join(), cluster.join()];
      expect(cluster.joined).to.equal(false);
      joins[0]?.resolve();
      await Promise.all(callers);
      await cluster.join();
      expect(joins).to.have.length(1);
      expect(cluster.joined).to.equal(true);
    });

    it('that fails rejects every caller, and the next call tries again', async () => {
      const callers = [cluster.join(), cluster.join()];
      joins[0]?.reject(new SseError('UNAVAILABLE', 'not there'));
      for (const caller of callers) expect(await codeOf(caller)).to.equal('UNAVAILABLE');
      expect(cluster.joined).to.equal(false);
      const again = cluster.join();
      joins[1]?.resolve();
      await again;
      expect(cluster.joined).to.equal(true);
    });

    it('ends before the cluster is left, whatever its result', async () => {
      const caller = cluster.join();
      let left = false;
      const leaving = cluster.close().then(() => (left = true));
      await turns();
      expect(left).to.equal(false);
      joins[0]?.reject(new SseError('UNAVAILABLE', 'not there'));
      await leaving;
      expect(await codeOf(caller)).to.equal('UNAVAILABLE');
    });

    it('is over for its callers when the node is closed meanwhile', async () => {
      const callers = [cluster.join(), cluster.routes.count()];
      cluster.beginClose();
      joins[0]?.resolve();
      for (const caller of callers) expect(await codeOf(caller)).to.equal('CLOSED');
      expect(cluster.joined).to.equal(true);
    });

    it('is refused once the node has left the cluster', async () => {
      await cluster.close();
      expect(await codeOf(cluster.join())).to.equal('CLOSED');
      expect(joins).to.deep.equal([]);
    });
  });

  it('joins before the first call', async () => {
    const cluster = guard();
    expect(await cluster.routes.count()).to.equal(0);
    expect(await cluster.messenger.send(message(1000))).to.deep.equal({ outcome: 'not-connected' });
    expect(cluster.joined).to.equal(true);
  });

  it('undoes a registration that succeeds after the policy gave up', async () => {
    const policy = new ImpatientPolicy();
    const cluster = guard(inner, policy);
    await cluster.join();
    const registration = { connectionId: 'c1', token: 't1', onDuplicate: 'takeover' } as const;
    expect(await codeOf(cluster.routes.register(registration))).to.equal('UNAVAILABLE');
    await Promise.all(policy.running);
    await turns();
    expect(await inner.routes.locate('c1')).to.equal(undefined);
  });

  it('undoes a subscription that succeeds after the policy gave up', async () => {
    const policy = new ImpatientPolicy();
    const unsubscribed: string[] = [];
    const cluster = guard(
      alteredCoordinator(inner, {
        log: { unsubscribe: topics => void unsubscribed.push(...topics) },
      }),
      policy,
    );
    await cluster.join();
    expect(await codeOf(cluster.log.subscribe(['news']))).to.equal('UNAVAILABLE');
    await Promise.all(policy.running);
    expect(unsubscribed).to.deep.equal(['news']);
  });

  describe('a call with a deadline', () => {
    it('is unavailable when this node has not joined in time', async () => {
      const cluster = guard(alteredCoordinator(inner, { start: () => NEVER }));
      expect(await cluster.messenger.send(message(10))).to.deep.equal(CUT_OFF);
      expect(await cluster.publish(PUBLICATION, 10)).to.deep.equal(CUT_OFF);
    });

    it('is unknown when it was dispatched and has no answer in time', async () => {
      const cluster = guard(
        alteredCoordinator(inner, {
          messenger: { send: () => NEVER },
          log: { publish: () => NEVER },
        }),
      );
      await cluster.join();
      expect(await cluster.messenger.send(message(10))).to.deep.equal({ outcome: 'unknown' });
      expect(await cluster.publish(PUBLICATION, 10)).to.deep.equal({ outcome: 'unknown' });
    });

    it('says to the policy when its time is over, whether the policy listens or asks', async () => {
      const callers: (OperationContext | undefined)[] = [];
      let heard: unknown;
      const hearing: ResiliencePolicy = {
        execute: (_kind, _operation, caller) => {
          callers.push(caller);
          if (callers.length > 1) return NEVER;
          caller?.signal.addEventListener('abort', () => void (heard = caller.signal.reason));
          return NEVER;
        },
        circuit: () => 'closed',
      };
      const cluster = guard(inner, hearing);
      expect(await cluster.messenger.send(message(10))).to.deep.equal(CUT_OFF);
      expect(SseError.is(heard, 'UNAVAILABLE')).to.equal(true);
      expect(await cluster.messenger.send(message(10))).to.deep.equal(CUT_OFF);
      expect(callers.map(caller => caller?.aborted)).to.deep.equal([true, true]);
      expect(SseError.is(callers[1]?.signal.reason, 'UNAVAILABLE')).to.equal(true);
    });

    it('is unavailable in an outage', async () => {
      const cluster = guard();
      await cluster.join();
      bus.cut('a');
      expect(await cluster.messenger.send(message(10))).to.deep.equal(CUT_OFF);
      expect(await cluster.publish(PUBLICATION, 10)).to.deep.equal(CUT_OFF);
    });

    it('is published with its cursor', async () => {
      const cluster = guard();
      const { cursor } = await inner
        .start(listener)
        .then(() => inner.log.publish({ ...PUBLICATION, idempotencyKey: 'k' }));
      const stored = await cluster.publish({ ...PUBLICATION, idempotencyKey: 'k' }, 1000);
      expect(stored).to.deep.equal({ outcome: 'published', cursor, nodes: 1 });
    });
  });
});
