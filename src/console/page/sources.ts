import type { SseStream } from '../../client/index.js';
import type { SourceRow } from '../contract.js';
import { follow } from './api.js';
import type { Dialogs } from './dialogs.js';
import { element } from './dom.js';
import { count, duration, UNKNOWN } from './format.js';
import { Table } from './table.js';
import type { View } from './view.js';

const TONES: Readonly<Record<SourceRow['state'], string>> = {
  running: 'good',
  completed: 'idle',
  failed: 'bad',
  lost: 'bad',
};

/** Resumable sources: those that run, and those that have ended and are still kept. */
export class Sources implements View {
  readonly id = 'sources';
  readonly title = 'Sources';
  readonly element: HTMLElement;
  readonly #table: Table<SourceRow>;
  #stream: SseStream | undefined;

  constructor(dialogs: Dialogs) {
    this.#table = new Table<SourceRow>(
      'Sources',
      [
        { title: 'Key', class: 'mono key', cell: row => row.key },
        { title: 'State', cell: row => row.state, tone: row => TONES[row.state] },
        { title: 'Node', class: 'mono', cell: row => row.nodeId ?? UNKNOWN },
        { title: 'Followers', class: 'number', cell: row => count(row.followers) },
        { title: 'Events', class: 'number', cell: row => count(row.events) },
        {
          title: 'Started',
          class: 'number',
          cell: row => (row.startedAt === null ? UNKNOWN : `${duration(Math.max(0, Date.now() - row.startedAt))} ago`),
        },
        {
          title: 'Actions',
          class: 'row-actions',
          cell: ({ key }) =>
            element(
              'div',
              'buttons',
              dialogs.button('stop-source', 'Stop', `Stop ${key}`, () => dialogs.stopSource(key)),
            ),
        },
      ],
      ({ key, startedAt, state }) => `${key} ${startedAt ?? ''} ${state}`,
      'No resumable source runs. A streamed answer appears here while it runs, and stays for a while (source.ttl).',
    );
    this.element = element(
      'section',
      'panel view-panel',
      element('div', 'bar', element('h2', '', 'Sources')),
      element(
        'p',
        'muted intro',
        'A resumable source runs once in the cluster. Every client that asks for its key follows it, from the start or from its last id.',
      ),
      this.#table.view,
    );
  }

  open(): void {
    this.#stream = follow('sources', {}, ({ rows }) => this.#table.show(rows));
  }

  close(): void {
    this.#stream?.close();
  }
}
