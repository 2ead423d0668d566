import type { JaegerSpan } from '../jaeger.js';

/** A span as a row of a picture. */
export interface Row {
  readonly name: string;
  readonly node: string;
  /** How deep in the tree of its trace. */
  readonly depth: number;
  /** Microseconds, from the begin of the first row. */
  readonly start: number;
  /** Microseconds. */
  readonly duration: number;
  /** Written behind the bar: the outcome, or the reason. */
  readonly fact: string;
  /** The rows to which it is linked. */
  readonly links: readonly number[];
}

/** One picture: a trace, or several with links between them. */
export interface Picture {
  /** Of the file, without its ending. */
  readonly name: string;
  readonly title: string;
  readonly rows: readonly Row[];
}

/** The rows of traces, each as a tree, in the order in which they are given. */
export function rowsOf(traces: readonly (readonly JaegerSpan[])[]): Row[] {
  const spans = traces.flatMap(trace => treeOf(trace));
  const begin = spans[0]?.span.start ?? 0;
  const indexOf = new Map(spans.map(({ span }, index) => [span.spanId, index]));
  return spans.map(({ span, depth }) => ({
    name: span.name,
    node: span.service,
    depth,
    start: Math.max(0, span.start - begin),
    duration: span.duration,
    fact: factOf(span.attributes),
    links: span.links.flatMap(id => indexOf.get(id) ?? []),
  }));
}

function factOf({ 'sse.outcome': outcome, 'sse.close.reason': reason }: JaegerSpan['attributes']): string {
  const fact = outcome ?? reason;
  return typeof fact === 'string' ? fact : '';
}

interface Placed {
  readonly span: JaegerSpan;
  readonly depth: number;
}

function treeOf(trace: readonly JaegerSpan[]): Placed[] {
  const ids = new Set(trace.map(({ spanId }) => spanId));
  const inOrder = trace.toSorted((one, other) => one.start - other.start);
  const below = (parentId: string | undefined, depth: number): Placed[] =>
    inOrder
      .filter(span => (parentId === undefined ? !ids.has(span.parentId ?? '') : span.parentId === parentId))
      .flatMap(span => [{ span, depth }, ...below(span.spanId, depth + 1)]);
  return below(undefined, 0);
}

const [WIDTH, LEFT, RIGHT, ROW, TOP] = [900, 300, 640, 28, 46];
const COLORS = ['#2563eb', '#c2410c', '#15803d'];
const STYLE =
  '<style>.p{fill:#fff;stroke:#d0d7de}text{fill:#1f2933}.n{fill:#57606a}.l{stroke:#8250df;fill:none;stroke-dasharray:4 3}.a{fill:#8250df}' +
  '@media(prefers-color-scheme:dark){.p{fill:#161b22;stroke:#30363d}text{fill:#e6edf3}.n{fill:#9da7b3}.l{stroke:#bc8cff}.a{fill:#bc8cff}}</style>';

/** A picture as SVG, with a ground of its own, so that it can be read on a light page and on a dark one. */
export function waterfall({ title, rows }: Picture): string {
  const total = Math.max(...rows.map(({ start, duration }) => start + duration));
  const scale = (RIGHT - LEFT) / total;
  const nodes = [...new Set(rows.map(({ node }) => node))];
  const parts = rows.map((row, index) => {
    const [x, y] = [LEFT + row.start * scale, TOP + index * ROW];
    const width = Math.max(2, row.duration * scale);
    const facts = [row.node, `${(row.duration / 1000).toFixed(1)} ms`, row.fact].filter(fact => fact !== '').join(', ');
    return (
      text(12 + 16 * row.depth, y + 14, row.name) +
      `<rect x="${x.toFixed(1)}" y="${y + 3}" width="${width.toFixed(1)}" height="14" rx="2" fill="${COLORS[nodes.indexOf(row.node)] ?? ''}"/>` +
      text(RIGHT + 10, y + 14, facts, 'n') +
      row.links.map(to => link(index, to)).join('')
    );
  });
  const height = TOP + rows.length * ROW + 10;
  return (
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" font-family="system-ui, sans-serif" font-size="13" ` +
    `role="img" aria-label="${title}">${STYLE}<rect class="p" x=".5" y=".5" width="${WIDTH - 1}" height="${height - 1}" rx="6"/>` +
    `<text x="12" y="26" font-size="15" font-weight="600">${title}</text>${parts.join('')}</svg>\n`
  );
}

/** An arrow on the right from the row of a span to that of the span it is linked to. */
function link(from: number, to: number): string {
  const [x, y, end] = [WIDTH - 60, TOP + from * ROW + 10, TOP + to * ROW + 10];
  const bend = x + 12 + 8 * Math.abs(from - to);
  return (
    `<path class="l" d="M${x} ${y}C${bend} ${y} ${bend} ${end} ${x + 7} ${end}"/>` +
    `<path class="a" d="M${x} ${end}l8 -4v8z"/>`
  );
}

function text(x: number, y: number, words: string, group?: string): string {
  return `<text x="${x}" y="${y}"${group === undefined ? '' : ` class="${group}"`}>${words}</text>`;
}
