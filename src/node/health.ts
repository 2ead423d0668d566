import type { CoordinatorStatus, Impairment } from '../contracts/cluster.js';
import type { Health, HealthReason, HealthReasonCode } from '../contracts/service.js';
import type { OperationKind } from '../contracts/policy.js';
import type { Phase, SseNode } from './node.js';

const TROUBLES: Readonly<Record<NonNullable<CoordinatorStatus['trouble']>, HealthReasonCode>> = {
  lease: 'LEASE_LOST',
  feed: 'FEED_BEHIND',
  writes: 'WRITES_REFUSED',
};
const IMPAIRMENTS: Readonly<Record<Impairment['kind'], HealthReasonCode>> = {
  writes: 'WRITES_REFUSED',
  partition: 'PARTITION_UNREACHABLE',
  key: 'KEY_UNREADABLE',
  feed: 'FEED_BEHIND',
  eviction: 'EVICTION_POLICY',
};

/** Health from what this node knows without a call to the cluster. */
export function healthOf(node: SseNode): Health {
  const { phase } = node;
  const blocking = [...phaseReasons(phase), ...(phase === 'started' ? clusterReasons(node) : [])];
  const degrading = [...(phase === 'started' ? circuitReasons(node.cluster, 'replay') : []), ...loadReasons(node)];
  return {
    live: phase !== 'closed',
    ready: blocking.length === 0,
    degraded: blocking.length + degrading.length > 0,
    reasons: [...blocking, ...degrading],
  };
}

function phaseReasons(phase: Phase): HealthReason[] {
  switch (phase) {
    case 'new':
      return [{ code: 'STARTING', message: 'the node has not joined the cluster yet' }];
    case 'draining':
      return [{ code: 'DRAINING', message: 'the node is going away' }];
    case 'closed':
      return [{ code: 'CLOSED', message: 'the service was closed' }];
    case 'started':
      return [];
  }
}

function clusterReasons({ cluster, consistency, options }: SseNode): HealthReason[] {
  const reasons: HealthReason[] = [];
  const { reachable, detail = 'no answer', trouble } = cluster.status();
  if (!reachable) {
    const code = trouble === undefined ? 'CLUSTER_UNREACHABLE' : TROUBLES[trouble];
    reasons.push({ code, message: detail });
  }
  const difference = consistency?.trouble;
  if (difference !== undefined) reasons.push({ code: 'INCONSISTENT', message: difference });
  // The settings have every kind and no other key.
  for (const kind of Object.keys(options.resilience) as OperationKind[]) {
    if (kind !== 'replay') reasons.push(...circuitReasons(cluster, kind));
  }
  return reasons;
}

/** A replay that fails makes clients wait that resume; everything else works. */
function circuitReasons(cluster: SseNode['cluster'], kind: OperationKind): HealthReason[] {
  if (cluster.circuit(kind) !== 'open') return [];
  return [{ code: 'CIRCUIT_OPEN', message: `calls of kind ${kind} fail at once` }];
}

function loadReasons({ phase, cluster, store, options, environment: { budget } }: SseNode): HealthReason[] {
  const { impaired = [] } = phase === 'started' ? cluster.status() : {};
  const reasons = impaired.map(({ kind, detail }): HealthReason => ({ code: IMPAIRMENTS[kind], message: detail }));
  const { maxConnections } = options.connection;
  if (store.size >= maxConnections) {
    const message = `${store.size} of ${maxConnections} connections; new ones are refused`;
    reasons.push({ code: 'CONNECTION_LIMIT', message });
  }
  if (!budget.admits(1)) {
    const message = `${budget.used} of ${budget.limit} bytes wait for slow clients`;
    reasons.push({ code: 'SEND_BUFFER_BUDGET', message });
  }
  return reasons;
}
