import type { Figures, Metric } from './run-load.js';
import { summarize, type Summary } from './statistics.js';

/** What one candidate did at one number of connections, over all rounds. */
export interface BenchResult {
  readonly name: string;
  readonly description: string;
  readonly connections: number;
  readonly rounds: readonly Figures[];
}

/** `undefined` when it was not measured. */
export function figure(result: BenchResult, metric: Metric): Summary | undefined {
  const figures = result.rounds.flatMap(round => round[metric] ?? []);
  return figures.length === 0 ? undefined : summarize(figures);
}

/** The median over rounds of this result divided by another's of the same round, so that a busy minute harms both. */
export function ratio(result: BenchResult, base: BenchResult, metric: Metric): Summary | undefined {
  const ratios = result.rounds.flatMap((round, index) => {
    const [own, other] = [round[metric], base.rounds[index]?.[metric]];
    return own === undefined || other === undefined ? [] : [own / other];
  });
  return ratios.length === 0 ? undefined : summarize(ratios);
}
