/** Why a node is not ready, or works with losses. */
export type HealthReasonCode =
  /** `start` has not succeeded yet. */
  | 'STARTING'
  /** A drain is under way or done. */
  | 'DRAINING'
  /** The service was closed. */
  | 'CLOSED'
  /** The cluster cannot be reached; local delivery goes on. */
  | 'CLUSTER_UNREACHABLE'
  /** The cluster answers, but counts this node as gone until it has joined again. */
  | 'LEASE_LOST'
  /** The cluster answers, but publications reach this node late: it is restoring its subscriptions or catching up. */
  | 'FEED_BEHIND'
  /** The store of the cluster is full and refuses writes. */
  | 'OUT_OF_MEMORY'
  /** A check found this node and the cluster to differ, under `consistency.inconsistencyHandlingStrategy: 'fail_fast'`. */
  | 'INCONSISTENT'
  /** A circuit of the resilience policy is open. */
  | 'CIRCUIT_OPEN'
  /** `connection.maxConnections` is reached; still ready, since present clients are served. */
  | 'CONNECTION_LIMIT'
  /** The send buffers of slow clients hold the whole process budget; still ready. */
  | 'SEND_BUFFER_BUDGET';

export interface HealthReason {
  readonly code: HealthReasonCode;
  readonly message: string;
}

/** The state of a node for load balancers and operators. */
export interface Health {
  /** False only when a restart is the cure. */
  readonly live: boolean;
  /** Whether new connections should come here. */
  readonly ready: boolean;
  /** Serves, but not everything works. */
  readonly degraded: boolean;
  /** Empty when all is well. */
  readonly reasons: readonly HealthReason[];
}
