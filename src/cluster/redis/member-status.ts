import type { CoordinatorStatus } from '../../contracts/cluster-coordinator.js';
import { redisErrorCode } from '../../redis/redis-failure.js';
import type { RedisMember } from './redis-member.js';

/** Whether the cluster can be used and heard through this membership, and what is wrong if not. */
export function memberStatus(member: RedisMember): CoordinatorStatus {
  const obstacle = member.obstacle();
  if (obstacle !== undefined) {
    const trouble = troubleOf(member);
    return { reachable: false, detail: obstacle, ...(trouble && { trouble }) };
  }
  const deafness = member.deafness();
  if (deafness === undefined) return { reachable: true };
  return { reachable: false, detail: deafness, trouble: 'feed' };
}

function troubleOf({ reachable, leases }: RedisMember): CoordinatorStatus['trouble'] {
  if (!reachable) return undefined;
  if (leases.silent) return isFull(leases.silence) ? 'memory' : undefined;
  return 'lease';
}

/** Whether Redis refused a write because of its `maxmemory`. */
function isFull(error: unknown): boolean {
  return error instanceof Error && redisErrorCode(error.cause) === 'OOM';
}
