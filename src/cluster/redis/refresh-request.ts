import type { Registered } from '../../contracts/cluster-listener.js';
import type { Partition } from '../../redis/keys.js';
import type { RefreshRequest } from '../../redis/scripts/refresh-script.js';
import type { ClusterNode } from './cluster-node.js';
import type { NodeLeases } from './node-leases.js';
import { routeTimes } from './route-times.js';

/** Asks for the routes of some connections of this node, all in one partition, and renews those that are its own. */
export function refreshRequest(
  { inc, options }: Pick<ClusterNode, 'inc' | 'options'>,
  leases: Pick<NodeLeases, 'generation'>,
  partition: Partition,
  registered: readonly Registered[],
): RefreshRequest {
  return {
    partition,
    inc,
    gen: leases.generation(partition),
    ...routeTimes(options),
    connections: registered.map(({ connectionId, token }) => ({ conn: connectionId, tok: token })),
  };
}
