import type { SseStream } from '../../client/index.js';
import type { LogAnswer, LogEntryRow, TopicRow } from '../contract.js';
import { follow, read } from './api.js';
import type { Dialogs } from './dialogs.js';
import { element, setText } from './dom.js';
import { bytes, clock, count, messageOf, UNKNOWN } from './format.js';
import { Table } from './table.js';
import type { View } from './view.js';

const TYPING_MS = 250;
const ENTRIES = 50;

/** The topics, and a view into the log: what would a client at this id get? */
export class Topics implements View {
  readonly id = 'topics';
  readonly title = 'Topics and log';
  readonly element: HTMLElement;
  readonly #search = element('input', {
    attributes: { type: 'search', placeholder: 'part of a name', spellcheck: 'false' },
  });
  readonly #table: Table<TopicRow>;
  readonly #log: LogView;
  #stream: SseStream | undefined;
  #typing: ReturnType<typeof setTimeout> | undefined;

  constructor(dialogs: Dialogs) {
    this.#log = new LogView();
    this.#table = new Table<TopicRow>(
      'Topics',
      [
        { title: 'Topic', class: 'mono key', cell: row => row.topic },
        { title: 'Subscribers', class: 'number', cell: row => count(row.subscribers) },
        { title: 'Nodes', class: 'number', cell: row => count(row.nodes) },
        { title: 'Per second', class: 'number', cell: row => count(row.rate) },
        { title: 'Kept', class: 'number', cell: row => count(row.kept) },
        {
          title: 'Actions',
          class: 'row-actions',
          cell: ({ topic }) =>
            element(
              'div',
              'buttons',
              element(
                'button',
                {
                  class: 'quiet',
                  attributes: { type: 'button', 'aria-label': `Log of ${topic}` },
                  onClick: () => this.#log.ask(topic, ''),
                },
                'Log',
              ),
              dialogs.button('publish', 'Publish', `Publish to ${topic}`, () => dialogs.publish(topic)),
            ),
        },
      ],
      ({ topic }) => topic,
      'No topic has a subscriber. A topic appears here when a client subscribes to it.',
    );
    this.#search.addEventListener('input', () => {
      clearTimeout(this.#typing);
      this.#typing = setTimeout(() => this.#follow(), TYPING_MS);
    });
    const publish = dialogs.button('publish', 'Publish…', 'Publish to a topic', () => dialogs.publish());
    this.element = element(
      'div',
      'split',
      element(
        'section',
        { class: 'panel view-panel', attributes: { 'aria-label': 'Topics' } },
        element('div', 'bar', element('h2', '', 'Topics'), publish),
        element('div', 'filters', element('label', {}, 'Search', this.#search)),
        this.#table.view,
      ),
      this.#log.view,
    );
  }

  open(): void {
    this.#follow();
  }

  close(): void {
    clearTimeout(this.#typing);
    this.#stream?.close();
  }

  #follow(): void {
    this.#stream?.close();
    const search = this.#search.value.trim();
    const empty = search === '' ? undefined : 'No topic has this in its name.';
    this.#stream = follow('topics', { search }, ({ rows }) => this.#table.show(rows, empty));
  }
}

/** What a client at an id would get. */
class LogView {
  readonly view: HTMLElement;
  readonly #topics = element('input', {
    attributes: { name: 'topics', placeholder: 'news,weather', spellcheck: 'false', required: true },
  });
  readonly #after = element('input', {
    attributes: { name: 'after', placeholder: 'none: the newest', spellcheck: 'false' },
  });
  readonly #verdict = element(
    'p',
    { class: 'verdict', attributes: { role: 'status' } },
    'Choose a topic, or write one or several.',
  );
  readonly #more = element(
    'button',
    { attributes: { type: 'button' }, onClick: () => this.ask(this.#topics.value, this.#last) },
    'Further entries',
  );
  readonly #table = new Table<LogEntryRow>(
    'Entries of the log',
    [
      { title: 'Id', class: 'mono key', cell: row => row.id },
      { title: 'Time', class: 'mono', cell: row => clock(row.at) },
      { title: 'Event', class: 'mono', cell: row => row.event },
      { title: 'Data', class: 'mono data', cell: row => row.data },
      { title: 'Size', class: 'number', cell: row => bytes(row.bytes) },
    ],
    ({ id }) => id,
    'No entry. Publications to the topic appear here for as long as its history keeps them.',
  );
  #last = '';

  constructor() {
    const form = element(
      'form',
      { class: 'filters', attributes: { autocomplete: 'off' } },
      element('label', {}, 'Topics', this.#topics),
      element('label', {}, 'Last id of the client', this.#after),
      element('button', 'primary', 'Look'),
    );
    form.addEventListener('submit', event => {
      event.preventDefault();
      this.ask(this.#topics.value, this.#after.value.trim());
    });
    this.#more.hidden = true;
    this.#table.show(
      [],
      'What would a client with this last id get? The answer appears here, and costs the client nothing.',
    );
    this.view = element(
      'section',
      { class: 'panel view-panel', attributes: { 'aria-label': 'A view into the log' } },
      element('div', 'bar', element('h2', '', 'A view into the log')),
      form,
      this.#verdict,
      this.#table.view,
      element('div', 'pager', this.#more),
    );
  }

  ask(topics: string, after: string): void {
    this.#topics.value = topics;
    this.#after.value = after;
    const names = topics.split(',').map(name => encodeURIComponent(name.trim()));
    read('log', { topics: names.join(','), after, limit: ENTRIES }).then(
      answer => this.#show(answer),
      (error: unknown) => this.#say(messageOf(error), 'bad'),
    );
  }

  #show(answer: LogAnswer): void {
    this.#say(...verdictText(answer));
    // The newest of the log is what a reader looks for; what a client gets comes in its order.
    this.#table.show(answer.verdict === 'newest' ? [...answer.entries].reverse() : answer.entries);
    this.#last = answer.entries.at(-1)?.id ?? '';
    this.#more.hidden = !answer.more;
  }

  #say(text: string, tone: string): void {
    setText(this.#verdict, text);
    this.#verdict.dataset['tone'] = tone;
  }
}

function verdictText({ verdict, reset, entries, head, more }: LogAnswer): [text: string, tone: string] {
  const number = `${count(entries.length)}${more ? ' and more' : ''}`;
  switch (verdict) {
    case 'resumes':
      return [`The client misses nothing. It gets ${number} entries and is then at ${head || UNKNOWN}.`, 'good'];
    case 'reset':
      return [
        `The client gets sse.reset (${reset?.reason ?? UNKNOWN}) first, then ${number} entries from ${reset?.resumedFrom ?? UNKNOWN} on.`,
        'warn',
      ];
    case 'not-an-id':
      return ['This is no id of the log. The client begins at the present.', 'bad'];
    case 'newest':
      return [`The newest ${number} entries, newest first. The head of the log is ${head || UNKNOWN}.`, 'idle'];
  }
}
