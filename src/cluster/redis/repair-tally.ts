import type { ConsistencySummary } from '../../contracts/telemetry.js';

/**
 * A difference between this node and the cluster, and what was done: a route that was missing is restored, a connection
 * whose route is another node's is closed, a route without its connection is removed.
 */
export type RepairKind = 'missing-route' | 'foreign-route' | 'ghost';

/** What one comparison looked at and repaired. */
export class RepairTally implements ConsistencySummary {
  checked = 0;
  readonly repairs: Partial<Record<RepairKind, number>> = {};

  repaired(kind: RepairKind, count = 1): void {
    if (count > 0) this.repairs[kind] = (this.repairs[kind] ?? 0) + count;
  }
}
