/** The middle of some figures and how far they lie apart. */
export interface Summary {
  readonly median: number;
  /** Half the distance between the smallest and the largest, divided by the median. */
  readonly spread: number;
}

/** @param figures at least one */
export function summarize(figures: readonly number[]): Summary {
  const sorted = [...figures].sort((a, b) => a - b);
  const at = (index: number): number => sorted[index] ?? Number.NaN;
  const middle = sorted.length >> 1;
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2;
  const halfway = (at(sorted.length - 1) - at(0)) / 2;
  return { median, spread: halfway === 0 ? 0 : halfway / median };
}
