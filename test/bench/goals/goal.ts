import { figure, ratio, type BenchResult } from '../bench-result.js';
import type { Report } from '../report.js';

/** A figure of one row, or how many times that of another row of the same table it is. */
export interface Measure {
  readonly report: 'results' | 'cluster' | 'growth';
  readonly table: string;
  readonly row: string;
  readonly metric: string;
  /** What it is divided by: the same figure of another row.*/
  readonly by?: string;
}

/** Something that was promised. */
export interface Goal {
  readonly what: string;
  /** Who or what it is compared with; with a unit where it is a figure of its own. */
  readonly against: string;
  readonly measure: Measure;
  readonly limit: number;
  readonly is: 'at most' | 'at least';
  readonly digits?: number;
  /** What stands in the way, in words; printed where the goal is missed. */
  readonly obstacle?: string | undefined;
  /** Whether `docs/speed.md` has it. */
  readonly inShort?: true;
}

/** `undefined` when it was not measured. */
export function measured({ table, row, metric, by }: Measure, report: Report | undefined): number | undefined {
  const own = find(report, table, row);
  if (own === undefined) return undefined;
  if (by === undefined) return figure(own, metric)?.median;
  const base = find(report, table, by);
  return base === undefined ? undefined : ratio(own, base, metric)?.median;
}

/** In words, for people. */
export function verdict(goal: Goal, value: number | undefined): string {
  if (value === undefined) return 'not measured here';
  const missed = missedBy(goal, value);
  return missed <= 0 ? 'reached' : `missed by ${(missed * 100).toFixed(0)} %`;
}

/** What stands in the way of a goal that is missed; else nothing. */
export function obstacle(goal: Goal, value: number | undefined): string {
  return value !== undefined && missedBy(goal, value) > 0 ? (goal.obstacle ?? '') : '';
}

/** The part of the limit; 0 and less: reached. */
function missedBy({ limit, is }: Goal, value: number): number {
  return is === 'at most' ? value / limit - 1 : 1 - value / limit;
}

function find(report: Report | undefined, table: string, row: string): BenchResult | undefined {
  const results = report?.tables.find(({ id }) => id === table)?.results;
  return results?.find(({ name }) => name === row);
}
