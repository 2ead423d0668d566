import type { Inconsistency, ReconcileReport } from '../contracts/self-check.js';

/**
 * The kinds of inconsistency that the coordinators of this library find.
 *
 * - `missing-route`: a connection without a route. Repaired by registering it again, unless another node has its id.
 * - `foreign-route`: a connection whose id another node owns. Repaired by closing it as superseded.
 * - `wrong-token`: a connection whose route names an earlier one of the same id. Repaired by writing its own.
 * - `ghost`: a route of this node without a connection. Removed, if it still carries the token that was seen.
 * - `orphan`: a route that ran out, or whose owner has no live lease. Removed.
 * - `index`: routes and their index name different connections or owners. The index is put right.
 * - `dead-lease`: the lease of a node that died was not removed. Removed with its routes.
 */
export type InconsistencyKind =
  'missing-route' | 'foreign-route' | 'wrong-token' | 'ghost' | 'orphan' | 'index' | 'dead-lease';

/** A connection and its route that do not say the same, as one look showed them. */
export interface Difference {
  readonly kind: InconsistencyKind;
  readonly connectionId: string;
  /** Of the connection here; of the route where there is none. */
  readonly token: string;
}

/**
 * The differences that two looks show, `settle` milliseconds apart. What is on its way, an opening or a release without an
 * answer yet, is seen half done by one look.
 */
export async function lastingDifferences<D extends Difference>(
  look: () => Promise<readonly D[]>,
  settle: number,
): Promise<readonly D[]> {
  const before = new Set((await look()).map(nameOf));
  if (before.size === 0) return [];
  await new Promise(resolve => setTimeout(resolve, settle).unref());
  return (await look()).filter(difference => before.has(nameOf(difference)));
}

function nameOf({ kind, connectionId, token }: Difference): string {
  return `${kind} ${token} ${connectionId}`;
}

const MAX_FINDINGS = 1_000;

type Counts = Record<string, number>;

/** What one comparison looked at, found and repaired. */
export class ConsistencyTally {
  checked = 0;
  readonly found: Counts = {};
  readonly repairs: Counts = {};
  readonly findings: Inconsistency[] = [];
  readonly #startedAt = performance.now();
  #left: number;

  constructor(maxRepairs = Infinity) {
    this.#left = maxRepairs;
  }

  /** Repairs that may still be made. */
  get left(): number {
    return this.#left;
  }

  add(finding: Inconsistency & { readonly kind: InconsistencyKind }): void {
    const { kind, repaired } = finding;
    this.found[kind] = (this.found[kind] ?? 0) + 1;
    if (this.findings.length < MAX_FINDINGS) this.findings.push(finding);
    if (!repaired) return;
    this.repairs[kind] = (this.repairs[kind] ?? 0) + 1;
    this.#left -= 1;
  }

  report(): ReconcileReport {
    const { checked, found, repairs, findings } = this;
    return { checked, found, repairs, findings, ms: performance.now() - this.#startedAt };
  }

  /** What was found may be the trouble's doing; what was repaired was repaired all the same. */
  unknown(reason: string): ReconcileReport {
    const findings = this.findings.filter(({ repaired }) => repaired);
    return { ...this.report(), found: this.repairs, findings, unknown: reason };
  }
}
