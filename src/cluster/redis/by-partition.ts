import type { Registered } from '../../contracts/cluster-listener.js';
import type { Partition } from '../../redis/keys.js';
import type { ClusterNode } from './cluster-node.js';

// Hashing an id takes about a microsecond; the event loop is let go between so many.
const SLICE = 5_000;

/** The registered connections of this node by the partition of their routes. The loop turns in between. */
export async function byPartition({
  gateway: { keys },
  listener,
}: ClusterNode): Promise<ReadonlyMap<Partition, readonly Registered[]>> {
  const groups = new Map<Partition, Registered[]>(keys.partitions.map(each => [each, []]));
  // The connections change while this waits, so their list is taken at once.
  const registered = [...listener.registered()];
  for (const [at, one] of registered.entries()) {
    if (at > 0 && at % SLICE === 0) await new Promise(resolve => setImmediate(resolve));
    groups.get(keys.partitionOf(one.connectionId))?.push(one);
  }
  return groups;
}
