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
  /**
   * The store of the cluster is full, read-only or lacks replicas, and refuses writes; still ready: messages to connected
   * clients go on. Not ready where it refuses all calls.
   */
  | 'WRITES_REFUSED'
  /** The routes of some connection ids cannot be reached; still ready, since all others can. */
  | 'PARTITION_UNREACHABLE'
  /** Data of the cluster cannot be read; still ready, since everything else works. The message names the key. */
  | 'KEY_UNREADABLE'
  /**
   * The store of the cluster deletes entries, routes and locks when its memory is full (`maxmemory-policy`); still ready. A
   * client that resumes gets `sse.reset` for entries that were deleted.
   */
  | 'EVICTION_POLICY'
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
