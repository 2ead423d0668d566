import { element, setText, shape } from './dom.js';
import { UNKNOWN } from './format.js';

const WIDTH = 600;
const HEIGHT = 120;
/** Points of a chart, one a second. */
const POINTS = 120;

/** One line of a chart. */
interface Series {
  readonly name: string;
  readonly line: SVGPathElement;
  readonly value: HTMLElement;
  readonly points: (number | null)[];
}

/** Lines over the last two minutes, with a legend that has the newest values. */
export class Chart {
  readonly view: HTMLElement;
  readonly #series: readonly Series[];
  readonly #picture = shape('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: 'none',
    'aria-hidden': 'true',
  });
  readonly #top = element('span', 'top number', '');
  readonly #empty: HTMLElement;

  /**
   * @param empty says what would fill the chart
   * @param format writes a value with its unit
   */
  constructor(
    title: string,
    explanation: string,
    names: readonly string[],
    empty: string,
    private readonly format: (value: number) => string,
  ) {
    this.#series = names.map((name, at) => ({
      name,
      line: shape('path', { class: `line series-${at + 1}`, fill: 'none' }),
      value: element('span', 'number', UNKNOWN),
      points: [],
    }));
    for (const y of [0.5, HEIGHT / 2, HEIGHT - 0.5]) {
      this.#picture.append(shape('line', { class: 'grid', x1: 0, x2: WIDTH, y1: y, y2: y }));
    }
    this.#picture.append(...this.#series.map(({ line }) => line));
    this.#empty = element('p', 'no-data', empty);
    this.view = element(
      'figure',
      { class: 'chart panel' },
      element('figcaption', {}, element('h3', '', title), element('p', 'muted small', explanation)),
      element('div', 'plot', this.#picture, this.#top, this.#empty),
      element('p', 'axis muted', element('span', '', '2 min ago'), element('span', '', 'now')),
      element('ul', 'legend', ...this.#series.map(legendItem)),
    );
  }

  /** Adds the values of one second, in the order of the names; `null`: nothing was measured. */
  add(values: readonly (number | null)[]): void {
    for (const [at, { points }] of this.#series.entries()) {
      points.push(values[at] ?? null);
      if (points.length > POINTS) points.shift();
    }
    this.#draw();
  }

  #draw(): void {
    const known = this.#series.flatMap(({ points }) => points).filter(point => point !== null);
    const top = niceTop(Math.max(0, ...known));
    setText(this.#top, known.length === 0 ? '' : this.format(top));
    this.#empty.hidden = known.some(point => point > 0);
    for (const { line, value, points } of this.#series) {
      line.setAttribute('d', pathOf(points, top));
      const newest = points.at(-1) ?? null;
      setText(value, newest === null ? UNKNOWN : this.format(newest));
    }
  }
}

function legendItem({ name, value }: Series, at: number): HTMLElement {
  return element('li', {}, element('span', `key series-${at + 1}`), element('span', '', name), value);
}

/** A round number that is not below the value. */
function niceTop(value: number): number {
  if (value <= 1) return 1;
  const magnitude = 10 ** Math.floor(Math.log10(value));
  const factor = [1, 2, 5, 10].find(step => step * magnitude >= value) ?? 10;
  return factor * magnitude;
}

/** A line through the known points; the newest stands at the right end. */
function pathOf(points: readonly (number | null)[], top: number): string {
  const step = WIDTH / (POINTS - 1);
  const first = POINTS - points.length;
  let pen = 'M';
  let path = '';
  for (const [at, point] of points.entries()) {
    if (point === null) {
      pen = 'M';
      continue;
    }
    path += `${pen}${((first + at) * step).toFixed(1)} ${(HEIGHT - 1 - (point / top) * (HEIGHT - 2)).toFixed(1)}`;
    pen = 'L';
  }
  return path;
}
