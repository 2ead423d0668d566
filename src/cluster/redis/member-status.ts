import type { CoordinatorStatus } from '../../contracts/cluster-coordinator.js';
import { redisErrorCode } from '../../redis/redis-failure.js';

/** What is asked of a membership. */
export interface StatusSource {
  /** Whether there is a connection to Redis. */
  readonly reachable: boolean;
  readonly leases: {
    /** Whether the last heartbeat failed, and why. */
    readonly silent: boolean;
    readonly silence: unknown;
  };
  /** Why nothing can be asked of the cluster, or heard from it. */
  obstacle(): string | undefined;
  deafness(): string | undefined;
}

/** Whether the cluster can be used and heard through this membership, and what is wrong if not. */
export function memberStatus(member: StatusSource): CoordinatorStatus {
  const obstacle = member.obstacle();
  if (obstacle !== undefined) {
    const trouble = troubleOf(member);
    return { reachable: false, detail: obstacle, ...(trouble && { trouble }) };
  }
  const deafness = member.deafness();
  if (deafness === undefined) return { reachable: true };
  return { reachable: false, detail: deafness, trouble: 'feed' };
}

function troubleOf({ reachable, leases }: StatusSource): CoordinatorStatus['trouble'] {
  if (!reachable) return undefined;
  if (leases.silent) return isFull(leases.silence) ? 'memory' : undefined;
  return 'lease';
}

/** Whether Redis refused a write because of its `maxmemory`. */
function isFull(error: unknown): boolean {
  return error instanceof Error && redisErrorCode(error.cause) === 'OOM';
}
