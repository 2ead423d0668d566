import type { SseStream } from '../../client/index.js';
import type { ConnectionRow, ConnectionsAnswer } from '../contract.js';
import { follow, type Query } from './api.js';
import type { Dialogs } from './dialogs.js';
import { element, setText } from './dom.js';
import { bytes, count, duration, outcomeTone, UNKNOWN } from './format.js';
import { type Column, Table } from './table.js';
import type { View } from './view.js';

const PAGE = 50;
const TYPING_MS = 250;

const STATES = [
  ['', 'not closed'],
  ['open', 'open'],
  ['opening', 'opening'],
  ['draining', 'draining'],
  ['waiting', 'bytes wait'],
  ['closed', 'just closed'],
] as const;
const SORTS = [
  ['id', 'by id'],
  ['newest', 'newest first'],
  ['age', 'oldest first'],
  ['waiting', 'most waiting'],
] as const;

/** The connections of all nodes, a page at a time: the nodes search and sort, so that their number does not matter here. */
export class Connections implements View {
  readonly id = 'connections';
  readonly title = 'Connections';
  readonly element: HTMLElement;
  readonly #search = field('search', 'Search', 'id or user');
  readonly #topic = field('topic', 'Topic', 'exact name');
  readonly #node = field('node', 'Node', 'exact id');
  readonly #state = select(STATES);
  readonly #sort = select(SORTS);
  readonly #counts = element('p', { class: 'muted small number', attributes: { role: 'status' } }, 'Loading…');
  readonly #back = element('button', { attributes: { type: 'button' }, onClick: () => this.#turn(-1) }, 'Previous');
  readonly #next = element('button', { attributes: { type: 'button' }, onClick: () => this.#turn(1) }, 'Next');
  readonly #table: Table<ConnectionRow>;
  /** Where each page begins; the last one is shown. */
  #pages: (string | undefined)[] = [undefined];
  #following: string | null = null;
  #stream: SseStream | undefined;
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(dialogs: Dialogs) {
    this.#table = new Table(
      'Connections',
      columns(dialogs),
      ({ connectionId, nodeId, openedAt }) => `${connectionId} ${nodeId} ${openedAt}`,
      'No connection is open. One appears here as soon as a client connects to any node.',
    );
    const form = element(
      'form',
      { class: 'filters', attributes: { role: 'search', autocomplete: 'off' } },
      labelled('Search', this.#search),
      labelled('Topic', this.#topic),
      labelled('Node', this.#node),
      labelled('State', this.#state),
      labelled('Order', this.#sort),
    );
    form.addEventListener('input', () => this.#filterSoon());
    form.addEventListener('submit', event => {
      event.preventDefault();
      this.#filter();
    });
    const foot = element('div', 'pager', this.#counts, this.#back, this.#next);
    this.element = element(
      'section',
      'panel view-panel',
      element('h2', '', 'Connections'),
      form,
      this.#table.view,
      foot,
    );
  }

  /** @param argument a topic or user to begin with, as `topic=news` */
  open(argument: string): void {
    const given = new URLSearchParams(argument);
    for (const [name, input] of [
      ['search', this.#search],
      ['topic', this.#topic],
      ['node', this.#node],
    ] as const) {
      if (given.has(name)) input.value = given.get(name) ?? '';
    }
    this.#filter();
  }

  close(): void {
    clearTimeout(this.#typing);
    this.#stream?.close();
  }

  #filterSoon(): void {
    clearTimeout(this.#typing);
    this.#typing = setTimeout(() => this.#filter(), TYPING_MS);
  }

  #filter(): void {
    clearTimeout(this.#typing);
    this.#pages = [undefined];
    this.#follow();
  }

  #turn(direction: 1 | -1): void {
    if (direction === 1 && this.#following !== null) this.#pages.push(this.#following);
    else if (direction === -1 && this.#pages.length > 1) this.#pages.pop();
    this.#follow();
  }

  #follow(): void {
    this.#stream?.close();
    const query: Query = {
      search: this.#search.value.trim(),
      topic: this.#topic.value.trim(),
      node: this.#node.value.trim(),
      state: this.#state.value,
      sort: this.#sort.value,
      limit: PAGE,
      after: this.#pages.at(-1),
    };
    this.#stream = follow('connections', query, answer => this.#show(answer));
  }

  #show({ rows, total, matching, next, missing }: ConnectionsAnswer): void {
    this.#table.show(rows, total === 0 ? undefined : 'No connection matches. Clear a filter to see more of them.');
    const first = (this.#pages.length - 1) * PAGE;
    const shown = `${count(first + 1)} to ${count(first + rows.length)} of ${count(matching)} that match, `;
    const late = missing.length === 0 ? '' : `; without ${missing.join(', ')}`;
    setText(this.#counts, `${rows.length === 0 ? 'None matches, ' : shown}${count(total)} in all${late}`);
    this.#following = next;
    this.#next.disabled = next === null;
    this.#back.disabled = this.#pages.length === 1;
  }
}

function columns(dialogs: Dialogs): readonly Column<ConnectionRow>[] {
  return [
    { title: 'Connection', class: 'mono key', cell: row => row.connectionId },
    { title: 'User', class: 'mono user', cell: row => row.user ?? UNKNOWN },
    { title: 'Node', class: 'mono', cell: row => row.nodeId },
    {
      title: 'State',
      cell: stateText,
      tone: row => (row.state === 'open' ? 'good' : row.state === 'closed' ? 'bad' : 'warn'),
    },
    { title: 'Topics', class: 'mono topics', cell: topicsText },
    { title: 'Age', class: 'number', cell: row => duration(row.ageMs) },
    { title: 'Waiting', class: 'number', cell: row => bytes(row.waitingBytes) },
    {
      title: 'Came back',
      class: 'number',
      cell: row => (row.reconnects === 0 && row.resumed ? 'resumed' : count(row.reconnects)),
    },
    { title: 'Last event', cell: row => row.lastOutcome ?? 'none yet', tone: row => outcomeTone(row.lastOutcome) },
    { title: 'Cursor', class: 'mono cursor', cell: row => row.cursor ?? UNKNOWN },
    { title: 'Actions', class: 'row-actions', cell: row => rowActions(row, dialogs) },
  ];
}

function stateText({ state, closeReason, streaming }: ConnectionRow): string {
  if (closeReason !== null) return `closed: ${closeReason}`;
  return streaming ? `${state}, source runs` : state;
}

function topicsText({ topics, topicCount }: ConnectionRow): string {
  if (topicCount === 0) return 'none';
  return topicCount > topics.length ? `${topics.join(', ')} and ${topicCount - topics.length} more` : topics.join(', ');
}

function rowActions({ connectionId, user, state }: ConnectionRow, dialogs: Dialogs): Node {
  if (state === 'closed') return element('span', 'muted', 'ended');
  return element(
    'div',
    'buttons',
    dialogs.button('send', 'Send', `Send to ${connectionId}`, () => dialogs.send(connectionId)),
    dialogs.button('close', 'Close', `Close ${connectionId}`, () => dialogs.close(connectionId)),
    ...(user === null ? [] : [dialogs.button('revoke', 'Revoke', `Revoke ${user}`, () => dialogs.revoke(user))]),
  );
}

function field(name: string, label: string, placeholder: string): HTMLInputElement {
  return element('input', {
    attributes: { type: 'search', name, 'aria-label': label, placeholder, spellcheck: 'false', autocapitalize: 'off' },
  });
}

function select(options: readonly (readonly [value: string, text: string])[]): HTMLSelectElement {
  return element('select', {}, ...options.map(([value, text]) => new Option(text, value)));
}

function labelled(text: string, input: HTMLElement): HTMLElement {
  return element('label', {}, text, input);
}
