import type { ReconcileRequest } from '../../contracts/self-check.js';
import { type ConsistencyTally, lastingDifferences } from '../differences.js';
import type { ClusterNode } from './cluster-node.js';
import type { NodeLeases } from './leases.js';
import { lostLease, RouteComparison, type RouteDifference } from './route-comparison.js';
import { RouteGlance } from './route-glance.js';
import type { RouteMend } from './route-mend.js';
import { byPartition } from './routes.js';

const ROUTES_PER_CALL = 200;

/**
 * Compares the connections of this node with its routes: by a {@link RouteGlance}, and one by one, in both directions, when
 * that shows a difference. A route that is missing, another node's, or too much, and an entry of the index without a route
 * are found by the next check, however many connections there are. Those of them that keep the numbers equal, and a wrong
 * token, are found by the next check where a partition has at most 500 connections of this node, else within
 * connections / 500 checks.
 */
export class RouteCheck {
  readonly #comparison: RouteComparison;
  readonly #glance: RouteGlance;
  /** Whether a glance is not enough: this is the first check, or the last one failed or found something. */
  #wary = true;

  constructor(
    private readonly node: ClusterNode,
    private readonly leases: NodeLeases,
    private readonly mend: RouteMend,
  ) {
    this.#comparison = new RouteComparison(node, leases);
    this.#glance = new RouteGlance(node, this.#comparison);
  }

  /** @throws SseError, also when a lease was lost meanwhile: what was compared with was not this node's any more */
  async run(request: ReconcileRequest, tally: ConsistencyTally): Promise<void> {
    const wary = this.#wary;
    // Until this check is over, in case that it fails.
    this.#wary = true;
    const well = !wary && (await this.#glance.run(tally));
    this.#wary = !well && (await this.#compare(request, tally));
  }

  /** Compares everything and repairs what differs. Returns whether anything did. */
  async #compare({ settle }: ReconcileRequest, tally: ConsistencyTally): Promise<boolean> {
    const generations = this.#generations();
    const differences = await lastingDifferences(() => this.#look(tally), settle);
    if (this.#generations() !== generations) throw lostLease();
    for (const difference of differences) {
      const repaired = tally.left > 0 && (await this.#repair(difference));
      const { kind, connectionId } = difference;
      tally.add({ kind, connectionId, repaired });
    }
    return differences.length > 0;
  }

  /** The leases that the node holds, as one value. */
  #generations(): string {
    return this.node.gateway.keys.partitions.map(each => this.leases.generation(each)).join(' ');
  }

  async #look(tally: ConsistencyTally): Promise<RouteDifference[]> {
    const found: RouteDifference[] = [];
    tally.checked = 0;
    for (const [partition, registered] of await byPartition(this.node)) {
      for (let from = 0; from < registered.length; from += ROUTES_PER_CALL) {
        const batch = registered.slice(from, from + ROUTES_PER_CALL);
        found.push(...(await this.#comparison.connections(partition, batch)));
      }
      tally.checked += registered.length;
      const here = new Set(registered.map(({ connectionId }) => connectionId));
      for (let offset = 0; ; offset += ROUTES_PER_CALL) {
        const page = await this.#comparison.routes(partition, offset, ROUTES_PER_CALL);
        // Of those that are here, the comparison of the connections has told already.
        found.push(...page.differences.filter(({ connectionId }) => !here.has(connectionId)));
        tally.checked += page.length;
        if (page.length < ROUTES_PER_CALL) break;
      }
    }
    return found;
  }

  async #repair({ kind, connectionId, token, state }: RouteDifference): Promise<boolean> {
    if (state !== undefined) {
      return (await this.mend.connection({ connectionId, token }, state)) !== undefined;
    }
    const removed = await this.mend.ghost(connectionId, token);
    // Of an entry of the index alone there is no route to remove.
    return removed || kind === 'index';
  }
}
