import type { Attributes } from '@opentelemetry/api';

const MAX_LABELS = 64;
const OTHER = 'other';

/** A growing count for each value of one label. Values beyond the first 64 are counted together, as `other`. */
export class LabelCount {
  readonly #counts = new Map<string, number>();

  /** @param attribute the label's name */
  constructor(private readonly attribute: string) {}

  add(label: string, count = 1): void {
    const known = this.#counts.has(label) || this.#counts.size < MAX_LABELS;
    const key = known ? label : OTHER;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }

  /** Hands out each count with its label. */
  read(observe: (count: number, labels: Attributes) => void): void {
    for (const [label, count] of this.#counts) observe(count, { [this.attribute]: label });
  }
}
