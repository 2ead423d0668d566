import { summarize, type Summary } from './statistics.js';

/** What one candidate did, over all rounds. */
export interface BenchResult {
  readonly name: string;
  readonly description: string;
  /** By name of the figure; what was not measured is absent. */
  readonly rounds: readonly Readonly<Partial<Record<string, number>>>[];
}

/** `undefined` when it was not measured. */
export function figure(result: BenchResult, metric: string): Summary | undefined {
  const figures = result.rounds.flatMap(round => round[metric] ?? []);
  return figures.length === 0 ? undefined : summarize(figures);
}

/** The median over rounds of this result divided by another's of the same round, so that a busy minute harms both. */
export function ratio(result: BenchResult, base: BenchResult, metric: string): Summary | undefined {
  const ratios = result.rounds.flatMap((round, index) => {
    const [own, other] = [round[metric], base.rounds[index]?.[metric]];
    return own === undefined || other === undefined || other === 0 ? [] : [own / other];
  });
  return ratios.length === 0 ? undefined : summarize(ratios);
}
