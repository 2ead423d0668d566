import type { ConsistencyTally } from '../differences.js';
import type { ClusterNode } from './cluster-node.js';
import type { Partition } from './keys.js';
import type { RouteComparison } from './route-comparison.js';
import { byPartition } from './routes.js';

/** As much as one script call may touch. */
const STRETCH = 500;

/**
 * A look that costs Redis the same however many connections there are: two script calls per partition. It compares how many
 * there are here and there, which tells at once of a route that is missing or too much. Equal numbers can hide a wrong
 * token, or one that is missing behind one that is too much; therefore it also compares the next 500 connections and the
 * next 500 routes one by one. Up to 500 in a partition are all compared each time, n of them in n / 500 looks.
 */
export class RouteGlance {
  /** Where the last stretch of a partition began. */
  readonly #places = new Map<Partition, number>();

  constructor(
    private readonly node: ClusterNode,
    private readonly comparison: Pick<RouteComparison, 'connections' | 'routes'>,
  ) {}

  /** Whether all is well as far as it was looked at. @throws SseError */
  async run(tally: ConsistencyTally): Promise<boolean> {
    for (const [partition, registered] of await byPartition(this.node)) {
      const [from, to] = this.#next(partition, registered.length);
      const page = await this.comparison.routes(partition, from, to - from);
      if (page.owned !== registered.length || page.all !== page.indexed) return false;
      if (page.differences.length > 0) return false;
      tally.checked += page.length;
      if (from === to) continue;
      const stretch = registered.slice(from, to);
      if ((await this.comparison.connections(partition, stretch)).length > 0) return false;
      tally.checked += stretch.length;
    }
    return true;
  }

  /**
   * From the newest connection to the oldest: one that ends moves those behind it, which were looked at already, so that
   * none is passed over.
   */
  #next(partition: Partition, length: number): readonly [from: number, to: number] {
    const place = this.#places.get(partition) ?? 0;
    const to = place === 0 ? length : Math.min(place, length);
    const from = Math.max(0, to - STRETCH);
    this.#places.set(partition, from);
    return [from, to];
  }
}
