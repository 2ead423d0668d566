/** What was measured: by name of a row, by name of a figure. */
export type Measured = Readonly<Record<string, Readonly<Record<string, number>>>>;

/** The figure below which a share of all figures lies. */
export function percentile(figures: readonly number[], share: number): number {
  const sorted = [...figures].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}
