import { connect, type StreamState } from '../../client/index.js';
import type { LiveEvents, NodesAnswer } from '../contract.js';
import { HIDDEN_MS, Permissions, read, urlOf } from './api.js';
import { Connections } from './connections.js';
import { Dialogs } from './dialogs.js';
import { byId, element, setText } from './dom.js';
import { count, messageOf } from './format.js';
import { Overview } from './overview.js';
import { Sends } from './sends.js';
import { Sources } from './sources.js';
import { Topics } from './topics.js';
import type { View } from './view.js';

/** The page: one stream for all that is live, and one view at a time that follows what it shows. */
class Console {
  readonly #overview: Overview;
  readonly #sends: Sends;
  readonly #views: readonly View[];
  readonly #links = new Map<string, HTMLAnchorElement>();
  readonly #main = byId('view', HTMLElement);
  #shown: View | undefined;

  constructor(permissions: Permissions) {
    const { about } = permissions;
    const dialogs = new Dialogs(permissions);
    this.#overview = new Overview(dialogs);
    this.#sends = new Sends(dialogs, about.traceLink);
    this.#views = [this.#overview, new Connections(dialogs), new Topics(dialogs), new Sources(dialogs), this.#sends];
  }

  start(): void {
    byId('tabs', HTMLElement).replaceChildren(...this.#views.map(view => this.#tab(view)));
    addEventListener('hashchange', () => this.#show());
    this.#show();
    this.#follow();
    // What the nodes remember comes before what is new, and each has an id, so that nothing shows twice.
    read('activity').then(
      ({ happenings, sends }) => {
        this.#overview.happenings({ happenings, more: {} });
        this.#sends.add({ sends, more: {} });
      },
      (error: unknown) => showFailure(messageOf(error)),
    );
  }

  #tab({ id, title }: View): HTMLElement {
    const link = element('a', { attributes: { href: `#${id}` } }, title);
    this.#links.set(id, link);
    return element('li', {}, link);
  }

  #show(): void {
    const [wanted = '', argument = ''] = location.hash.slice(1).split('?');
    const view = this.#views.find(({ id }) => id === wanted) ?? this.#overview;
    if (view !== this.#shown) {
      this.#shown?.close();
      this.#shown = view;
      this.#main.replaceChildren(view.element);
      document.title = `${view.title} · console`;
    }
    for (const [id, link] of this.#links) {
      if (id === view.id) link.setAttribute('aria-current', 'page');
      else link.removeAttribute('aria-current');
    }
    // On a narrow screen the tabs scroll.
    this.#links.get(view.id)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    view.open(argument);
  }

  #follow(): void {
    const live = connect<LiveEvents>(urlOf('live', {}), { pauseHidden: HIDDEN_MS });
    live.on('tick', answer => this.#tick(answer));
    live.on('happenings', event => this.#overview.happenings(event));
    live.on('sends', event => this.#sends.add(event));
    live.onState(showState);
    showState(live.state);
  }

  #tick(answer: NodesAnswer): void {
    const { nodes } = answer;
    // Behind a balancer the page may come from another node.
    setText(byId('served-by', HTMLElement), nodes.find(({ self }) => self)?.nodeId ?? '');
    setText(byId('node-count', HTMLElement), count(nodes.length));
    setText(byId('connection-count', HTMLElement), count(nodes.reduce((sum, { connections }) => sum + connections, 0)));
    this.#overview.tick(answer);
    this.#sends.tick();
  }
}

function showState(state: StreamState): void {
  const badge = byId('live', HTMLElement);
  const [text, tone] = stateText(state);
  badge.dataset['tone'] = tone;
  setText(badge, text);
}

function stateText(state: StreamState): [text: string, tone: string] {
  switch (state.kind) {
    case 'connecting':
      return ['connecting', 'idle'];
    case 'open':
      return ['live', 'good'];
    case 'waiting':
      return [`comes back: ${state.reason}`, 'warn'];
    case 'paused':
      return ['paused', 'idle'];
    case 'closed':
      return [`ended: ${state.reason}`, 'bad'];
  }
}

function showFailure(text: string): void {
  const badge = byId('live', HTMLElement);
  badge.dataset['tone'] = 'bad';
  setText(badge, text);
}

try {
  new Console(await Permissions.ask()).start();
} catch (error) {
  showFailure('no answer');
  byId('view', HTMLElement).replaceChildren(
    element('p', 'panel empty', `The console cannot be shown: ${messageOf(error)} Load the page again.`),
  );
}
