import type { ReconcileRequest } from '../../contracts/self-check.js';
import type { ConsistencyTally } from '../differences.js';
import type { ClusterNode } from './cluster-node.js';
import { nodeIdOf } from './frames.js';
import type { Reaper } from './reaper.js';
import { validateScript } from './scripts/validate-script.js';

const MAX_PER_CALL = 500;

/**
 * Looks at routes of all nodes, chosen at random, and at all leases. Each repair is decided and made within one script, so
 * nothing can change in between.
 */
export class RouteValidation {
  constructor(
    private readonly node: ClusterNode,
    private readonly reaper: Pick<Reaper, 'reap'>,
  ) {}

  /** @throws SseError */
  async run({ sample }: ReconcileRequest, tally: ConsistencyTally): Promise<void> {
    const { gateway, options } = this.node;
    const { partitions } = gateway.keys;
    const count = Math.min(MAX_PER_CALL, Math.ceil(sample / partitions.length));
    // Every heartbeat of every node reaps; whoever is left for so long was forgotten.
    const graceMs = 2 * options.node.lease;
    const dead = new Set<string>();
    const mayRepair = tally.left > 0;
    for (const partition of partitions) {
      const request = { partition, count, mends: tally.left, graceMs };
      const { checked, differences } = await gateway.run(validateScript, request);
      tally.checked += checked;
      for (const { kind, name, mended } of differences) {
        if (kind === 'dead-lease') dead.add(name);
        else if (kind === 'half-lease')
          tally.add({ kind: 'dead-lease', nodeId: nodeIdOf(name), repaired: mended });
        else tally.add({ kind, connectionId: name, repaired: mended });
      }
    }
    if (dead.size > 0 && mayRepair) await this.reaper.reap();
    for (const inc of dead) {
      tally.add({ kind: 'dead-lease', nodeId: nodeIdOf(inc), repaired: mayRepair });
    }
  }
}
