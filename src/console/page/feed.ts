import type { Happening, HappeningsEvent } from '../contract.js';
import { element } from './dom.js';
import { clock, duration } from './format.js';

const MOST = 200;

const TONES: Readonly<Record<Happening['kind'], string>> = {
  connect: 'good',
  close: 'idle',
  takeover: 'info',
  revoke: 'bad',
  refuse: 'bad',
  gap: 'warn',
  drain: 'warn',
  repair: 'info',
  circuit: 'warn',
  health: 'warn',
  'node-up': 'good',
  'node-down': 'bad',
  action: 'info',
};

/** What happens in the cluster, newest first. */
export class Feed {
  readonly view: HTMLElement;
  readonly #list = element('ol', {
    class: 'feed-list',
    attributes: { tabindex: 0, 'aria-label': 'What happened, newest first', role: 'list' },
  });
  readonly #empty = element(
    'p',
    'empty',
    'Nothing has happened since somebody looked. A connect, a takeover, a gap or a drain appears here.',
  );
  readonly #pause = element(
    'button',
    { class: 'quiet', attributes: { type: 'button', 'aria-pressed': 'false' }, onClick: () => this.#toggle() },
    'Pause',
  );
  readonly #kind = element(
    'select',
    { attributes: { 'aria-label': 'Kind' } },
    new Option('all kinds', ''),
    ...Object.keys(TONES).map(kind => new Option(kind, kind)),
  );
  readonly #seen = new Set<string>();
  #held: Happening[] = [];
  #paused = false;

  constructor() {
    this.#kind.addEventListener('change', () => this.#filter());
    this.view = element(
      'section',
      { class: 'feed panel', attributes: { 'aria-label': 'What happens' } },
      element('div', 'bar', element('h2', '', 'What happens'), this.#kind, this.#pause),
      this.#list,
      this.#empty,
    );
  }

  add({ happenings, more }: HappeningsEvent): void {
    this.#held.push(...happenings.filter(({ id }) => !this.#seen.has(id)));
    for (const { id } of happenings) this.#seen.add(id);
    const left = Object.entries(more).map(([kind, number]) => `${kind} ${number}`);
    if (left.length > 0 && !this.#paused)
      this.#insert(Date.now(), rowView('more', 'idle', Date.now(), `And more that are not shown: ${left.join(', ')}`));
    this.#held = this.#held.slice(-MOST);
    if (!this.#paused) this.#release();
    else this.#pause.textContent = `Resume (${this.#held.length})`;
  }

  #release(): void {
    for (const happening of this.#held.splice(0)) {
      const { kind, at } = happening;
      this.#insert(at, rowView(kind, TONES[kind], at, sentence(happening)));
    }
    while (this.#list.children.length > MOST) this.#list.lastElementChild?.remove();
    if (this.#seen.size > 20 * MOST) this.#seen.clear();
  }

  /** Each node reports once a second, so that older news of another node may come later. */
  #insert(at: number, row: HTMLElement): void {
    row.hidden = this.#kind.value !== '' && row.dataset['kind'] !== this.#kind.value;
    const older = [...this.#list.children].find(
      each => each instanceof HTMLElement && Number(each.dataset['at']) <= at,
    );
    this.#list.insertBefore(row, older ?? null);
    this.#empty.hidden = true;
  }

  #filter(): void {
    for (const row of this.#list.children) {
      if (row instanceof HTMLElement) row.hidden = this.#kind.value !== '' && row.dataset['kind'] !== this.#kind.value;
    }
  }

  #toggle(): void {
    this.#paused = !this.#paused;
    this.#pause.setAttribute('aria-pressed', String(this.#paused));
    this.#pause.textContent = this.#paused ? 'Resume' : 'Pause';
    if (!this.#paused) this.#release();
  }
}

function rowView(kind: string, tone: string, at: number, text: string): HTMLElement {
  return element(
    'li',
    { data: { kind, at: String(at) } },
    element('span', { class: 'badge', data: { tone } }, kind),
    element('span', 'time mono muted', clock(at)),
    element('p', '', text),
  );
}

function sentence(happening: Happening): string {
  const { nodeId } = happening;
  switch (happening.kind) {
    case 'connect':
      return `${happening.connectionId} ${happening.resumed ? 'came back to' : 'connected to'} ${nodeId}${happening.degraded ? ', which is cut off' : ''}`;
    case 'close':
      return `${happening.connectionId} on ${nodeId} ended after ${duration(happening.ageMs)}: ${happening.reason === 'client' ? 'its client left' : happening.reason}`;
    case 'takeover':
      return `a newer stream of ${happening.connectionId} ended the one on ${nodeId}`;
    case 'revoke':
      return `${happening.connectionId} on ${nodeId} was ended: ${happening.reason}`;
    case 'refuse':
      return `${nodeId} refused ${happening.connectionId ?? 'a request'}: ${happening.code}`;
    case 'gap':
      return `${happening.connectionId ?? 'a client that came back'} on ${nodeId} got sse.reset: ${happening.reason}`;
    case 'drain':
      return `${nodeId} drains: its clients go to other nodes`;
    case 'repair':
      return `${nodeId} repaired ${Object.entries(happening.repairs)
        .map(([kind, number]) => `${kind} ${number}`)
        .join(', ')}`;
    case 'circuit':
      return `the circuit of ${happening.operation} on ${nodeId} is ${happening.state}`;
    case 'health':
      return `${nodeId} is ${happening.ready ? 'ready' : 'not ready'}${happening.reasons.length > 0 ? `: ${happening.reasons.join(', ')}` : ''}`;
    case 'node-up':
      return `${nodeId} joined the cluster`;
    case 'node-down':
      return `${nodeId} is gone from the cluster`;
    case 'action':
      return `console: ${happening.action} ${happening.target}, ${happening.outcome}`;
  }
}
