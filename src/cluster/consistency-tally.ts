import type {
  ConsistencyReport,
  Inconsistency,
  InconsistencyKind,
} from '../contracts/consistency.js';

const MAX_FINDINGS = 1_000;

type Counts = Partial<Record<InconsistencyKind, number>>;

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

  add(finding: Inconsistency): void {
    const { kind, repaired } = finding;
    this.found[kind] = (this.found[kind] ?? 0) + 1;
    if (this.findings.length < MAX_FINDINGS) this.findings.push(finding);
    if (!repaired) return;
    this.repairs[kind] = (this.repairs[kind] ?? 0) + 1;
    this.#left -= 1;
  }

  report(): ConsistencyReport {
    const { checked, found, repairs, findings } = this;
    return { checked, found, repairs, findings, ms: performance.now() - this.#startedAt };
  }

  /** What was found may be the trouble's doing; what was repaired was repaired all the same. */
  unknown(reason: string): ConsistencyReport {
    const findings = this.findings.filter(({ repaired }) => repaired);
    return { ...this.report(), found: this.repairs, findings, unknown: reason };
  }
}
