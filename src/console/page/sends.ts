import type { SendRecord, SendsEvent } from '../contract.js';
import type { Dialogs } from './dialogs.js';
import { element, setText, shape } from './dom.js';
import { clock, duration, outcomeTone, UNKNOWN } from './format.js';
import { Table } from './table.js';
import type { View } from './view.js';

/** Sends in the strip, and those of them in the table. */
const MOST = 200;
const MOST_ROWS = 50;
const WIDTH = 1_000;
const HEIGHT = 64;
const SPAN_MS = 60_000;
/** The height of the strip stands for so many milliseconds, on a logarithmic scale. */
const TALLEST_MS = 3_000;

/** Sends and publications: when each was called, how long its receipt took, and what it says. */
export class Sends implements View {
  readonly id = 'sends';
  readonly title = 'Sends';
  readonly element: HTMLElement;
  readonly #strip = shape('svg', {
    viewBox: `0 0 ${WIDTH} ${HEIGHT}`,
    preserveAspectRatio: 'none',
    'aria-hidden': 'true',
  });
  readonly #summary = element('p', { class: 'muted small number' }, 'No send in the last minute.');
  readonly #table: Table<SendRecord>;
  #records: SendRecord[] = [];
  #shown = false;
  #changed = false;

  constructor(dialogs: Dialogs, traceLink: string | null) {
    this.#table = new Table<SendRecord>(
      'Receipts, newest first',
      [
        { title: 'Time', class: 'mono', cell: row => clock(row.at) },
        { title: 'Kind', cell: row => row.kind },
        { title: 'To', class: 'mono key', cell: row => row.to },
        { title: 'Event', class: 'mono', cell: row => row.event },
        { title: 'Outcome', cell: row => outcomeText(row), tone: row => outcomeTone(row.outcome) },
        { title: 'Took', class: 'number', cell: row => duration(row.ms) },
        {
          title: 'Nodes',
          class: 'mono',
          cell: row => (row.ownerNodeId === null ? row.nodeId : `${row.nodeId} → ${row.ownerNodeId}`),
        },
        { title: 'Entry or message', class: 'mono cursor', cell: row => row.entryId ?? row.messageId ?? UNKNOWN },
        { title: 'Trace', cell: row => traceCell(row, traceLink) },
      ],
      ({ id }) => id,
      'Nothing was sent since somebody looked. Send something, and its receipt appears here.',
    );
    this.#table.show([]);
    this.element = element(
      'section',
      'panel view-panel',
      element(
        'div',
        'bar',
        element('h2', '', 'Sends'),
        dialogs.button('send', 'Send…', 'Send to a connection', () => dialogs.send()),
        dialogs.button('publish', 'Publish…', 'Publish or broadcast', () => dialogs.publish()),
      ),
      element(
        'div',
        'timeline',
        this.#strip,
        element('p', 'axis muted', element('span', '', '1 min ago'), element('span', '', 'now')),
      ),
      this.#summary,
      this.#table.view,
    );
  }

  open(): void {
    this.#shown = true;
    this.#changed = true;
    this.tick();
  }

  close(): void {
    this.#shown = false;
  }

  add({ sends }: SendsEvent): void {
    const known = new Set(this.#records.map(({ id }) => id));
    const fresh = sends.filter(({ id }) => !known.has(id));
    if (fresh.length === 0) return;
    // Each node reports its own: what it did first may come last.
    this.#records = [...fresh, ...this.#records].sort((a, b) => b.at - a.at).slice(0, MOST);
    this.#changed = true;
  }

  /** A second has passed: the strip moves on. */
  tick(): void {
    if (!this.#shown) return;
    // Once a second, however many nodes report.
    if (this.#changed) this.#table.show(this.#records.slice(0, MOST_ROWS));
    this.#changed = false;
    const now = Date.now();
    const recent = this.#records.filter(({ at }) => now - at < SPAN_MS);
    this.#strip.replaceChildren(...recent.map(record => bar(record, now)));
    const late = recent.filter(({ outcome }) => outcomeTone(outcome) === 'bad').length;
    const which =
      recent.length < MOST ? `${recent.length} in the last minute` : `The newest ${MOST} of the last minute`;
    const text = `${which}, ${late} of them without success. The higher a bar, the longer its receipt took.`;
    setText(
      this.#summary,
      recent.length === 0 ? 'No send in the last minute. A bar appears for each, as high as its receipt took.' : text,
    );
  }
}

function bar({ at, ms, outcome }: SendRecord, now: number): SVGElement {
  const x = WIDTH * (1 - (now - at) / SPAN_MS);
  const part = Math.min(1, Math.log1p(ms) / Math.log1p(TALLEST_MS));
  const height = 4 + part * (HEIGHT - 4);
  return shape('rect', { class: `bar-${outcomeTone(outcome)}`, x: x - 3, y: HEIGHT - height, width: 3, height });
}

function outcomeText({ outcome, code }: SendRecord): string {
  return code === null ? outcome : `${outcome}: ${code}`;
}

function traceCell({ traceId }: SendRecord, template: string | null): string | Node {
  if (traceId === null) return UNKNOWN;
  // The server checks it as well; a script must not be reachable from here by any setting.
  if (template === null || !/^https?:\/\//.test(template)) return traceId.slice(0, 8);
  const href = template.replaceAll('{traceId}', encodeURIComponent(traceId));
  return element('a', { attributes: { href, target: '_blank', rel: 'noreferrer' } }, traceId.slice(0, 8));
}
