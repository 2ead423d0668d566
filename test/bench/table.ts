import { markdownTable } from '../support/markdown.js';
import { figure, ratio, type BenchResult } from './bench-result.js';

/** One figure of every row. */
export interface Column {
  readonly title: string;
  readonly metric: string;
  readonly digits: number;
}

/** Results that are compared with each other. */
export interface Table {
  /** Short, without spaces; unique in a report. */
  readonly id: string;
  readonly title: string;
  /** What is measured, and how; may be empty. */
  readonly note: string;
  /** What the rows are. */
  readonly rows: string;
  readonly columns: readonly Column[];
  /** The others are divided by the first. */
  readonly results: readonly BenchResult[];
}

/** As Markdown: the median, the spread, and in brackets the ratio to the first row. */
export function tableText({ rows, columns, results }: Table): string {
  const cells = results.map(result => [
    result.description,
    ...columns.map(column => cell(result, results[0] ?? result, column)),
  ]);
  const head = [rows, ...columns.map(({ title }) => title)];
  return markdownTable(head, cells);
}

function cell(result: BenchResult, base: BenchResult, { metric, digits }: Column): string {
  const summary = figure(result, metric);
  if (summary === undefined) return '–';
  const spread = result.rounds.length > 1 ? ` ±${(summary.spread * 100).toFixed(0)} %` : '';
  const text = `${summary.median.toFixed(digits)}${spread}`;
  const times = result === base ? undefined : ratio(result, base, metric);
  return times === undefined ? text : `${text} (×${times.median.toFixed(2)})`;
}
