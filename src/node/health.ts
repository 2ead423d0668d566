import type { CoordinatorStatus } from '../contracts/cluster.js';
import type { Health, HealthReason, HealthReasonCode } from '../contracts/health.js';
import type { OperationKind } from '../contracts/policy.js';
import type { Phase } from './lifecycle.js';
import type { SseNode } from './node.js';

const TROUBLES: Readonly<Record<NonNullable<CoordinatorStatus['trouble']>, HealthReasonCode>> = {
  lease: 'LEASE_LOST',
  feed: 'FEED_BEHIND',
  memory: 'OUT_OF_MEMORY',
};

/** What a load balancer and an operator need to know about this node, from what it knows without asking anybody. */
export function healthOf(phase: Phase, node: SseNode): Health {
  const blocking = [...phaseReasons(phase), ...(phase === 'started' ? clusterReasons(node) : [])];
  const degrading = loadReasons(node);
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

function clusterReasons({ coordinator, policy, consistency, options }: SseNode): HealthReason[] {
  const reasons: HealthReason[] = [];
  const { reachable, detail = 'no answer', trouble } = coordinator.status();
  if (!reachable) {
    const code = trouble === undefined ? 'CLUSTER_UNREACHABLE' : TROUBLES[trouble];
    reasons.push({ code, message: detail });
  }
  const difference = consistency?.trouble;
  if (difference !== undefined) reasons.push({ code: 'INCONSISTENT', message: difference });
  // The settings have every kind and no other key.
  for (const kind of Object.keys(options.resilience) as OperationKind[]) {
    if (policy.circuit(kind) !== 'open') continue;
    reasons.push({ code: 'CIRCUIT_OPEN', message: `calls of kind ${kind} fail at once` });
  }
  return reasons;
}

function loadReasons({ store, options, environment: { budget } }: SseNode): HealthReason[] {
  const reasons: HealthReason[] = [];
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
