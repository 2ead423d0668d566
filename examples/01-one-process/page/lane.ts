import {
  connect,
  type ConnectOptions,
  type ReceivedEvent,
  type SseStream,
  type StreamState,
} from '../../../src/client/index.js';
import { element, setText } from '../../../src/console/page/dom.js';
import { messageOf } from '../../../src/console/page/format.js';
import { isRecord } from './server.js';

const MOST_CHIPS = 60;
const LONGEST_TEXT = 36;

/** One client of a scenario: its state, and the events that it received in their order. */
export class Lane {
  readonly view: HTMLElement;
  readonly #state = element('span', { class: 'badge', data: { tone: 'idle' } }, 'not connected');
  readonly #track: HTMLElement;
  readonly #waiting = element('li', 'hint', 'Events appear here, the newest at the end.');
  readonly #events: ReceivedEvent[] = [];
  readonly #changed = new Set<() => void>();
  #stream: SseStream | undefined;
  #timer: ReturnType<typeof setInterval> | undefined;

  constructor(readonly name: string) {
    this.#track = element(
      'ol',
      { class: 'track', attributes: { tabindex: 0, 'aria-label': `Events of ${name}`, role: 'list' } },
      this.#waiting,
    );
    this.view = element(
      'div',
      { class: 'lane', data: { client: name, state: 'idle' } },
      element('div', 'lane-head', element('h4', 'clip', name), this.#state),
      this.#track,
    );
  }

  /** Where the stream would resume. */
  get lastEventId(): string | undefined {
    return this.#stream?.lastEventId;
  }

  /** Opens a stream, instead of the one before. */
  open(path: string, options: ConnectOptions = {}): void {
    this.close();
    const stream = connect(path, options);
    this.#stream = stream;
    stream.onState(state => {
      if (this.#stream === stream) this.#showState(state);
    });
    this.#showState(stream.state);
    void this.#read(stream);
  }

  /** Ends the stream, if there is one. */
  close(): void {
    clearInterval(this.#timer);
    this.#stream?.close();
  }

  /** Adds a chip that is no event of a stream. */
  note(text: string, tone: string): void {
    this.#add(element('li', { class: 'chip', data: { tone }, attributes: { title: text } }, text));
  }

  /** Shows a state that no stream of the library's client reports. */
  showState(text: string, tone: string): void {
    setText(this.#state, text);
    this.#state.dataset['tone'] = tone;
  }

  /** Resolves with an event of a name that passes the test; `after` skips so many of them. */
  async event(name: string, after = 0, test: (event: ReceivedEvent) => boolean = () => true): Promise<ReceivedEvent> {
    return this.#when(() => this.#events.filter(event => event.event === name && test(event))[after]);
  }

  /** Number of events of a name so far. */
  count(name: string): number {
    return this.#events.filter(({ event }) => event === name).length;
  }

  /** Resolves when the stream is in a state, and has been reported so. */
  async state(kind: StreamState['kind']): Promise<StreamState> {
    return this.#when(() => {
      const state = this.#stream?.state;
      return state?.kind === kind ? state : undefined;
    });
  }

  async #when<T>(find: () => T | undefined): Promise<T> {
    return new Promise(resolve => {
      const look = (): void => {
        const found = find();
        if (found === undefined) return;
        this.#changed.delete(look);
        resolve(found);
      };
      this.#changed.add(look);
      look();
    });
  }

  async #read(stream: SseStream): Promise<void> {
    try {
      for await (const event of stream) this.#receive(event);
    } catch (error) {
      this.note(messageOf(error), 'bad');
    }
  }

  #receive(event: ReceivedEvent): void {
    this.#events.push(event);
    const { lastEventId } = event;
    const title = `${event.event} ${textOf(event.data)}${lastEventId === undefined ? '' : `\nlast id ${lastEventId}`}`;
    this.#add(chipOf(event, title));
    this.#notify();
  }

  #add(chip: HTMLElement): void {
    this.#waiting.remove();
    this.#track.append(chip);
    while (this.#track.children.length > MOST_CHIPS) this.#track.firstElementChild?.remove();
    this.#track.scrollLeft = this.#track.scrollWidth;
  }

  #showState(state: StreamState): void {
    clearInterval(this.#timer);
    this.view.dataset['state'] = state.kind;
    const [text, tone] = stateText(state);
    this.showState(text, tone);
    if (state.kind === 'waiting') this.#timer = setInterval(() => this.showState(...stateText(state)), 250);
    this.#notify();
  }

  #notify(): void {
    for (const look of [...this.#changed]) look();
  }
}

function stateText(state: StreamState): [text: string, tone: string] {
  switch (state.kind) {
    case 'connecting':
      return ['connecting', 'idle'];
    case 'open':
      return [`open on ${state.nodeId ?? 'a node'}`, 'good'];
    case 'waiting':
      return [`${state.reason}: back in ${(Math.max(0, state.retryAt - Date.now()) / 1000).toFixed(1)} s`, 'warn'];
    case 'paused':
      return ['paused', 'idle'];
    case 'closed':
      return [`closed: ${state.reason === 'client' ? 'by this page' : state.reason}`, closedTone(state.reason)];
  }
}

/** Whether a reason leaves nothing to worry about. */
function closedTone(reason: string): string {
  return reason === 'completed' || reason === 'client' ? 'idle' : 'bad';
}

function toneOf(event: string): string {
  if (event === 'connected') return 'idle';
  if (event === 'sse.closed') return 'bad';
  return event === 'sse.reset' ? 'warn' : 'info';
}

function textOf(data: unknown): string {
  return typeof data === 'string' ? data : JSON.stringify(data);
}

function chipOf(event: ReceivedEvent, title: string): HTMLElement {
  const { data } = event;
  // Words of an answer are read as a text.
  if (isRecord(data) && typeof data['word'] === 'string') {
    return element('li', { class: 'word', attributes: { title } }, data['word']);
  }
  const chip = element('li', { class: 'chip', data: { tone: toneOf(event.event) }, attributes: { title } });
  chip.append(element('b', '', event.event));
  const text = shortText(event);
  if (text !== '') chip.append(` ${text}`);
  return chip;
}

/** What of an event's data fits into a chip. */
function shortText({ event, data }: ReceivedEvent): string {
  if (event === 'connected') return '';
  const fields = isRecord(data) ? Object.entries(data) : undefined;
  const shown = fields?.filter(([name]) => event !== 'sse.reset' || name === 'reason');
  const text = shown === undefined ? textOf(data) : shown.map(([, value]) => textOf(value)).join(' ');
  return text.length > LONGEST_TEXT ? `${text.slice(0, LONGEST_TEXT)}…` : text;
}
