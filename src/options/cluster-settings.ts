import type { OperationKind } from '../contracts/policy.js';

/** This process as a member of the cluster. */
export interface NodeSettings {
  /**
   * Name of this process, unique in the cluster: 1 to 80 characters of `A-Z a-z 0-9 _ . -`.
   * Default: host name, process id and six random characters.
   */
  readonly id: string;
  /**
   * Milliseconds without a heartbeat after which the node counts as dead; longer than `heartbeat`.
   * Default 15000.
   */
  readonly lease: number;
  /** Milliseconds between two proofs of life. Default 5000. */
  readonly heartbeat: number;
}

/** The Redis that nodes meet in. */
export interface RedisSettings {
  /**
   * Whether nodes meet in Redis; false: the node is alone, and works. Default: true when `url` or
   * `client` is given.
   */
  readonly enabled: boolean;
  /** Begins every key; at most 128 characters, none of them `{` or `}`. Default `sse:`. */
  readonly prefix: string;
  /** Seconds a route lives unless refreshed. Default 3600. */
  readonly connectionTtl: number;
  /** Pub/Sub channel of broadcasts, 1 to 256 characters. Default `sse:events`. */
  readonly channel: string;
  /** `redis://` or `rediss://` address; not together with `client`. No default. */
  readonly url: string | undefined;
  /**
   * A client of the application's own; duplicated, never reconfigured, frozen or closed. Not from
   * the environment.
   */
  readonly client: object | undefined;
  /** Redis ACL user. No default. */
  readonly username: string | undefined;
  /** Redis password; never printed. No default. */
  readonly password: string | undefined;
  /** Hash slots the keys are spread over, 1 to 16. Default: chosen by topology. */
  readonly partitions: number | undefined;
  /**
   * `sharded` needs Redis 7 and keeps Pub/Sub traffic of a Redis Cluster to one shard. Default
   * `classic`.
   */
  readonly pubsub: 'classic' | 'sharded';
}

/** Retries of scripts that are not about the registry (those: {@link AtomicOperationSettings}). */
export interface ScriptSettings {
  /** Further tries of a send or a publication after a failed one; 0: none. Default 3. */
  readonly retryCount: number;
  /** Milliseconds between two tries, give or take half. Default 100. */
  readonly retryInterval: number;
  /** Whether scripts are called by digest instead of being sent each time. Default true. */
  readonly scriptCacheEnabled: boolean;
}

/**
 * Which registry operations are one script. The others read with plain commands and then write, for
 * a Redis that lets no scripts do that: what another node does in between is not noticed, until the
 * next comparison (see {@link ConsistencySettings}) puts it right.
 */
export interface AtomicOperationSettings {
  /** Whether any is; false overrules the three below. Default true. */
  readonly redisAtomicEnabled: boolean;
  /** Further tries of a registration, a replay or the like after a failed one; 0: none. Default 3. */
  readonly luaScriptRetryCount: number;
  /** Milliseconds between two tries, give or take half. Default 100. */
  readonly luaScriptRetryInterval: number;
  /** Registering a connection; else two nodes may both believe to own an id. Default true. */
  readonly connectionRegistrationAtomic: boolean;
  /** Unregistering a connection; else a registration in between may be removed. Default true. */
  readonly connectionUnregistrationAtomic: boolean;
  /** Removing the routes of dead nodes; without it, one may be removed twice. Default true. */
  readonly expiredConnectionCleanupAtomic: boolean;
}

/** Comparison of what this node holds with what the cluster believes. */
export interface ConsistencySettings {
  /**
   * Whether it is done. Without it routes are still refreshed, and repaired after outages. Default true.
   */
  readonly enabled: boolean;
  /** Milliseconds between two comparisons of this node's connections, give or take a tenth. Default 30000. */
  readonly statusCheckInterval: number;
  /**
   * `auto_correct`: a difference that lasts two seconds is repaired. `fail_fast`: it is left as it is, the node is not
   * ready (`INCONSISTENT`) and takes no new connection until a later comparison finds nothing. Default `auto_correct`.
   */
  readonly inconsistencyHandlingStrategy: 'auto_correct' | 'fail_fast';
  /** Whether nodes tell each other that they repaired something, and those who hear it compare soon. Default true. */
  readonly interNodeSyncEnabled: boolean;
  /** Milliseconds between two looks at 200 routes of any nodes, chosen at random, and at all leases. Default 60000. */
  readonly routeValidationInterval: number;
}

/** Bounds of one kind of call to the cluster. */
export interface OperationLimits {
  /**
   * Milliseconds one try of a call may take, and a call may wait for its turn. Default 2000; of `send` 600000, since each
   * send has a deadline of its own (`send.deadline`).
   */
  readonly timeout: number;
  /** Calls at once. At least 1. Default 256; of `send` 10000, which is also the default of `send.maxPending`. */
  readonly concurrency: number;
  /** Calls that may wait for their turn; further ones fail at once. Default 10000. */
  readonly queue: number;
  /** Failures in a row after which calls fail at once. At least 1. Default 5. */
  readonly breakerFailures: number;
  /** Milliseconds until one call is let through after that. Default 1000. */
  readonly breakerCooldown: number;
}

/** Bounds per kind of call, so that trouble in one does not starve the others. */
export type ResilienceSettings = Readonly<Record<OperationKind, OperationLimits>>;

/**
 * The limits of one kind of call, with the repetitions that `script.retry*`, `atomicOperation.luaScriptRetry*` and
 * `reliability.cleanupRetry*` ask for.
 */
export interface ResolvedOperationLimits extends OperationLimits {
  /** Further tries of a call that failed with a retryable error; 0: none. */
  readonly retries: number;
  /** Milliseconds between two tries, give or take half. */
  readonly retryPause: number;
}

/** Commands between nodes. */
export interface ControlSettings {
  /** Signs the commands, at least 16 characters; never printed. Default: unsigned. */
  readonly secret: string | undefined;
}
