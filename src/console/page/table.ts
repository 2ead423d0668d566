import { element, setText } from './dom.js';

/** One column of a table. */
export interface Column<Row> {
  readonly title: string;
  /** Text, or an element for more than text. An element is made anew with each update, so it should be rare. */
  cell(row: Row): string | Node;
  /** Class of its cells: `mono`, `number`, `key`. */
  readonly class?: string;
  /** Tone of its text as a badge. */
  tone?(row: Row): string;
}

/**
 * A table whose rows are updated in place, so that a reader's focus and selection stay. The elements of rows that are gone are
 * used for new rows: making them is most of the work where many rows change each second.
 */
export class Table<Row> {
  readonly view: HTMLElement;
  readonly #body = element('tbody', { attributes: { role: 'rowgroup' } });
  readonly #empty = element('p', 'empty', '');
  readonly #rows = new Map<string, HTMLTableRowElement>();

  /**
   * @param name says to a screen reader what the table has
   * @param empty says what would fill the table
   */
  constructor(
    name: string,
    private readonly columns: readonly Column<Row>[],
    private readonly keyOf: (row: Row) => string,
    private empty: string,
  ) {
    const head = columns.map(({ title, class: className = '' }) =>
      element('th', { class: className, attributes: { role: 'columnheader', scope: 'col' } }, title),
    );
    const table = element(
      'table',
      { attributes: { role: 'table', 'aria-label': name } },
      element('thead', { attributes: { role: 'rowgroup' } }, element('tr', { attributes: { role: 'row' } }, ...head)),
      this.#body,
    );
    this.view = element(
      'div',
      { class: 'scroll', attributes: { tabindex: 0, role: 'group', 'aria-label': name } },
      table,
      this.#empty,
    );
    this.#empty.textContent = 'Loading…';
  }

  /** Shows these rows in this order. */
  show(rows: readonly Row[], empty = this.empty): void {
    const wanted = new Set(rows.map(row => this.keyOf(row)));
    const gone = [...this.#rows].filter(([key]) => !wanted.has(key));
    for (const [key] of gone) this.#rows.delete(key);
    const spare = gone.map(([, view]) => view);
    let after: Element | null = null;
    for (const row of rows) {
      const view = this.#rowOf(row, spare);
      const next: Element | null = after === null ? this.#body.firstElementChild : after.nextElementSibling;
      if (next !== view) this.#body.insertBefore(view, next);
      after = view;
    }
    for (const view of spare) view.remove();
    this.#empty.hidden = rows.length > 0;
    this.#empty.textContent = empty;
  }

  #rowOf(row: Row, spare: HTMLTableRowElement[]): HTMLTableRowElement {
    const key = this.keyOf(row);
    const known = this.#rows.get(key);
    const view = known ?? spare.pop() ?? this.#newRow();
    this.#rows.set(key, view);
    for (const [at, column] of this.columns.entries()) {
      const value = view.children[at]?.firstElementChild;
      // The buttons of a row stay the same ones: replacing them would take the focus away.
      if (value instanceof HTMLElement && (known === undefined || value.childElementCount === 0)) {
        fill(value, column, row);
      }
    }
    return view;
  }

  #newRow(): HTMLTableRowElement {
    return element('tr', { attributes: { role: 'row' } }, ...this.columns.map(cellView));
  }
}

function cellView<Row>({ title, class: className = '' }: Column<Row>): HTMLElement {
  return element(
    'td',
    { class: className, attributes: { role: 'cell' }, data: { label: title } },
    element('span', 'value'),
  );
}

function fill<Row>(value: HTMLElement, column: Column<Row>, row: Row): void {
  const content = column.cell(row);
  if (typeof content !== 'string') {
    value.replaceChildren(content);
    return;
  }
  setText(value, content);
  const tone = column.tone?.(row);
  if (tone === undefined || value.dataset['tone'] === tone) return;
  value.classList.add('badge');
  value.dataset['tone'] = tone;
}
