import { figure, type BenchResult } from './bench-result.js';

const WIDTH = 760;
const LABEL = 330;
const ROW = 34;
const TOP = 48;

/** Server processor time per delivery of a lone broadcast as an SVG bar chart; shorter is better. */
export function chart(results: readonly BenchResult[], title: string): string {
  const bars = results.map(result => ({
    label: result.description.replaceAll('`', ''),
    ours: result.description.startsWith('this library'),
    value: figure(result, 'loneCpuUs')?.median ?? 0,
  }));
  const scale = (WIDTH - LABEL - 80) / Math.max(...bars.map(({ value }) => value));
  const rows = bars.map(({ label, ours, value }, index) => {
    const y = TOP + index * ROW;
    const width = (value * scale).toFixed(1);
    return [
      `<text x="${LABEL - 10}" y="${y + 16}" text-anchor="end">${escapeXml(label)}</text>`,
      `<rect x="${LABEL}" y="${y}" width="${width}" height="22" rx="3" fill="${ours ? '#1a7f5a' : '#9aa4b0'}"/>`,
      `<text x="${(LABEL + value * scale + 8).toFixed(1)}" y="${y + 16}">${value.toFixed(2)} µs</text>`,
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

function escapeXml(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
