import { figure, type BenchResult } from './bench-result.js';

const WIDTH = 900;
const LABEL = 430;
const VALUE = 110;
const ROW = 34;
const TOP = 48;

/** Names of results that are not of this library begin with one of these. */
const PEERS = ['raw', 'koa-', 'better-sse', 'nchan', 'floor', 'socket-io'];

/** What the bars show. */
export interface Measure {
  readonly metric: string;
  readonly digits: number;
  readonly unit: string;
}

/** One figure of several results as an SVG bar chart; results without the figure have no bar. */
export function chart(results: readonly BenchResult[], title: string, { metric, digits, unit }: Measure): string {
  const bars = results.flatMap(result => {
    const label = result.description.replaceAll('`', '');
    const value = figure(result, metric)?.median;
    // A floor that holds nothing itself.
    return value === undefined || Number(value.toFixed(digits)) === 0 ? [] : [{ label, ours: !isPeer(result), value }];
  });
  const scale = (WIDTH - LABEL - VALUE) / Math.max(...bars.map(({ value }) => value));
  const rows = bars.map(({ label, ours, value }, index) => {
    const y = TOP + index * ROW;
    const width = (value * scale).toFixed(1);
    const text = value.toLocaleString('en', { minimumFractionDigits: digits, maximumFractionDigits: digits });
    return [
      `<text x="${LABEL - 10}" y="${y + 16}" text-anchor="end">${escapeXml(label)}</text>`,
      `<rect x="${LABEL}" y="${y}" width="${width}" height="22" rx="3" fill="${ours ? '#1a7f5a' : '#9aa4b0'}"/>`,
      `<text x="${(LABEL + value * scale + 8).toFixed(1)}" y="${y + 16}">${text} ${unit}</text>`,
    ].join('');
  });
  const height = TOP + bars.length * ROW + 12;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" width="${WIDTH}" height="${height}" viewBox="0 0 ${WIDTH} ${height}" ` +
    'font-family="system-ui, sans-serif" font-size="13" fill="#1f2933">' +
    `<rect width="100%" height="100%" fill="#ffffff"/><text x="12" y="26" font-size="15" font-weight="600">${escapeXml(title)}</text>` +
    `${rows.join('')}</svg>\n`
  );
}

function isPeer({ name }: BenchResult): boolean {
  return PEERS.some(peer => name.startsWith(peer));
}

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
