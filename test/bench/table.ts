import { figure, ratio, type BenchResult } from './bench-result.js';
import type { Metric } from './run-load.js';

interface Column {
  readonly title: string;
  readonly metric: Metric;
  readonly digits: number;
}

const COLUMNS: readonly Column[] = [
  { title: 'lone: CPU µs/delivery', metric: 'loneCpuUs', digits: 2 },
  { title: 'lone: last ms', metric: 'loneLastMs', digits: 0 },
  { title: 'lone: longest stall ms', metric: 'loneStallMs', digits: 0 },
  { title: '4 outstanding: deliveries/s', metric: 'sustainedPerSecond', digits: 0 },
  { title: '4 outstanding: CPU µs', metric: 'sustainedCpuUs', digits: 2 },
  { title: 'burst of 10: CPU µs', metric: 'burstCpuUs', digits: 2 },
  { title: 'direct send: CPU µs', metric: 'sendCpuUs', digits: 2 },
  { title: 'accept: CPU µs', metric: 'acceptCpuUs', digits: 0 },
  { title: 'heap KB/conn', metric: 'heapKb', digits: 1 },
  { title: 'RSS KB/conn', metric: 'rssKb', digits: 1 },
];

/** A Markdown table of results at one number of connections: median, spread, and in brackets the ratio to the first. */
export function table(results: readonly BenchResult[]): string {
  const rows = results.map(result => [
    result.description,
    ...COLUMNS.map(column => cell(result, results[0] ?? result, column)),
  ]);
  const head = ['server', ...COLUMNS.map(({ title }) => title)];
  return [head, head.map(() => '---'), ...rows].map(row => `| ${row.join(' | ')} |`).join('\n');
}

function cell(result: BenchResult, base: BenchResult, { metric, digits }: Column): string {
  const summary = figure(result, metric);
  if (summary === undefined) return '–';
  const text = `${summary.median.toFixed(digits)} ±${(summary.spread * 100).toFixed(0)} %`;
  const times = result === base ? undefined : ratio(result, base, metric);
  return times === undefined ? text : `${text} (×${times.median.toFixed(2)})`;
}
