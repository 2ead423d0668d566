import type { Inconsistency, ReconcileReport } from '../contracts/self-check.js';
import { pause } from '../time.js';

/**
 * The kinds of inconsistency that the coordinators of this library find.
 *
 * - `missing-route`: a connection without a route. Repaired by registering it again, unless another node has its id.
 * - `foreign-route`: a connection whose id another node owns with a larger fencing token. Repaired by closing it as superseded.
 * - `wrong-token`: a connection whose route names an earlier one of the same id. Repaired by writing its own.
 * - `ghost`: a route of this node without a connection. Removed, if it still carries the token that was seen.
 * - `orphan`: a route that ran out, or whose owner has no live lease. Removed.
 * - `index`: routes and their index name different connections or owners. The index is corrected.
 * - `dead-lease`: the lease of a node that died was not removed. Removed with its routes.
 */
export type InconsistencyKind =
  'missing-route' | 'foreign-route' | 'wrong-token' | 'ghost' | 'orphan' | 'index' | 'dead-lease';

/** A connection and its route that do not agree, as one comparison saw them. */
export interface Difference {
  readonly kind: InconsistencyKind;
  readonly connectionId: string;
  /** Of the connection here; of the route where there is no connection. */
  readonly token: string;
  /** Of the connection here. */
  readonly fencingToken?: number;
}

/**
 * The differences that two comparisons see, `settle` milliseconds apart. One comparison alone also sees openings and
 * releases that are not complete yet.
 */
export async function lastingDifferences<D extends Difference>(
  compare: () => Promise<readonly D[]>,
  settle: number,
): Promise<readonly D[]> {
  const before = new Set((await compare()).map(nameOf));
  if (before.size === 0) return [];
  await pause(settle);
  return (await compare()).filter(difference => before.has(nameOf(difference)));
}

function nameOf({ kind, connectionId, token }: Difference): string {
  return `${kind} ${token} ${connectionId}`;
}

const MAX_FINDINGS = 1_000;

type Counts = Record<string, number>;

/** The findings of one comparison, and the repairs that it may still make. */
export class Findings {
  /** Connections and routes that were compared. */
  checked = 0;
  readonly #found: Counts = {};
  readonly #repairs: Counts = {};
  readonly #findings: Inconsistency[] = [];
  readonly #startedAt = performance.now();
  #repaired = 0;

  constructor(private readonly maxRepairs = Infinity) {}

  /** Repairs that may still be made. */
  get left(): number {
    return this.maxRepairs - this.#repaired;
  }

  /** Repairs that were made. */
  get repaired(): number {
    return this.#repaired;
  }

  add(finding: Inconsistency & { readonly kind: InconsistencyKind }): void {
    const { kind, repaired } = finding;
    this.#found[kind] = (this.#found[kind] ?? 0) + 1;
    if (this.#findings.length < MAX_FINDINGS) this.#findings.push(finding);
    if (!repaired) return;
    this.#repairs[kind] = (this.#repairs[kind] ?? 0) + 1;
    this.#repaired += 1;
  }

  report(): ReconcileReport {
    return {
      checked: this.checked,
      found: this.#found,
      repairs: this.#repairs,
      findings: this.#findings,
      ms: performance.now() - this.#startedAt,
    };
  }

  /** After a failure: the failure may have caused what was only found, so the report has just the repairs. */
  unknown(reason: string): ReconcileReport {
    const findings = this.#findings.filter(({ repaired }) => repaired);
    return { ...this.report(), found: this.#repairs, findings, unknown: reason };
  }
}
