import type { NodeReading, NodeRow, NodesAnswer } from '../contract.js';
import type { Dialogs } from './dialogs.js';
import { element, setText, shape } from './dom.js';
import { bytes, count, duration, plural, UNKNOWN } from './format.js';

const RING = 2 * Math.PI * 26;

/** The nodes as a picture: each hangs on the log by its lease, and shows how full and how well it is. */
export class NodesPicture {
  readonly view: HTMLElement;
  readonly #bus = element('p', 'bus', 'The log');
  readonly #list = element('ul', 'nodes');
  readonly #cards = new Map<string, NodeCard>();

  constructor(private readonly dialogs: Dialogs) {
    this.view = element(
      'section',
      { class: 'cluster', attributes: { 'aria-label': 'Nodes' } },
      element('h2', 'visually-hidden', 'Nodes'),
      this.#bus,
      this.#list,
    );
  }

  show({ nodes, cutOff, missing }: NodesAnswer): void {
    this.#bus.dataset['tone'] = cutOff ? 'bad' : 'good';
    setText(this.#bus, busText(nodes.length, cutOff, missing));
    const ids = new Set(nodes.map(({ nodeId }) => nodeId));
    for (const [id, card] of this.#cards) {
      if (ids.has(id)) continue;
      card.view.remove();
      this.#cards.delete(id);
    }
    for (const node of nodes) this.#card(node.nodeId).show(node);
    // Sorted by id, as the nodes are.
    const order = nodes.map(({ nodeId }) => this.#card(nodeId).view);
    if (order.some((view, at) => this.#list.children[at] !== view)) this.#list.append(...order);
  }

  #card(nodeId: string): NodeCard {
    const card = this.#cards.get(nodeId) ?? new NodeCard(nodeId, this.dialogs);
    this.#cards.set(nodeId, card);
    return card;
  }
}

function busText(nodes: number, cutOff: boolean, missing: readonly string[]): string {
  if (cutOff) return 'The cluster cannot be reached. The picture shows the node of this page alone.';
  const late = missing.length === 0 ? '' : `; ${missing.join(', ')} did not answer in time`;
  return nodes === 1 ? `One node${late}` : `${plural(nodes, 'node')} read one log${late}`;
}

const FACTS = [
  'Delivered',
  'Waiting',
  'Topics',
  'Sources',
  'Loop p99',
  'Feed lag',
  'Memory',
  'CPU',
  'Up for',
  'Pending sends',
  'Circuits',
] as const;
type Fact = (typeof FACTS)[number];

class NodeCard {
  readonly view: HTMLElement;
  readonly #health = element('span', { class: 'badge', data: { tone: 'idle' } });
  readonly #lease = element('span', { class: 'badge', data: { tone: 'idle' } });
  readonly #about = element('p', 'about small');
  readonly #ring = shape('circle', { class: 'fill', cx: 32, cy: 32, r: 26, 'stroke-dasharray': `0 ${RING}` });
  readonly #connections = element('span', 'connections number');
  readonly #of = element('span', 'muted small');
  readonly #facts = new Map<Fact, HTMLElement>(FACTS.map(name => [name, element('dd', 'number clip', UNKNOWN)]));
  readonly #drain: HTMLButtonElement;

  constructor(
    readonly nodeId: string,
    dialogs: Dialogs,
  ) {
    this.#drain = dialogs.button('drain', 'Drain…', `Drain ${nodeId}`, () => dialogs.drain(nodeId));
    const picture = shape(
      'svg',
      { viewBox: '0 0 64 64', class: 'ring', 'aria-hidden': 'true' },
      shape('circle', { class: 'rail', cx: 32, cy: 32, r: 26 }),
      this.#ring,
    );
    this.view = element(
      'li',
      { class: 'node panel', data: { node: nodeId } },
      element(
        'div',
        'node-head',
        element('h3', { class: 'mono clip', attributes: { title: nodeId } }, nodeId),
        this.#health,
      ),
      element('div', 'node-load', picture, element('p', '', this.#connections, this.#of), this.#lease),
      element(
        'dl',
        'node-facts',
        ...FACTS.map(name => element('div', {}, element('dt', '', name), this.#facts.get(name) ?? '')),
      ),
      element('div', 'node-foot', this.#about, this.#drain),
    );
  }

  show(node: NodeRow): void {
    this.view.dataset['self'] = String(node.self);
    setText(this.#connections, count(node.connections));
    if (node.kind === 'reading') this.#showReading(node);
    else this.#showSilent();
  }

  #showReading(node: NodeReading): void {
    const { health, lease } = node;
    this.view.dataset['lease'] = lease;
    badge(this.#health, ...healthText(node));
    badge(this.#lease, `lease ${lease}`, { held: 'good', lost: 'bad', unknown: 'warn' }[lease]);
    setText(this.#of, `of ${count(node.maxConnections)} connections`);
    const part = Math.min(1, node.connections / Math.max(1, node.maxConnections));
    this.#ring.setAttribute('stroke-dasharray', `${part * RING} ${RING}`);
    const host = `${node.host}, process ${node.pid}, Node ${node.nodeVersion}`;
    const reasons = health.reasons.map(({ code, message }) => `${code}: ${message}`).join(' ');
    this.#showAbout(reasons === '' ? host : reasons, reasons !== '');
    this.#drain.disabled = node.phase !== 'started';
    const facts = factsOf(node);
    for (const name of FACTS) this.#fact(name, facts[name]);
  }

  #showSilent(): void {
    this.view.dataset['lease'] = 'unknown';
    badge(this.#health, 'silent', 'idle');
    badge(this.#lease, 'lease held', 'idle');
    setText(this.#of, 'connections');
    this.#ring.setAttribute('stroke-dasharray', `0 ${RING}`);
    this.#showAbout('The node did not answer. A node answers when it mounts the console too.', true);
    this.#drain.disabled = true;
    for (const name of FACTS) this.#fact(name, UNKNOWN);
  }

  /** What is wrong with the node, or where it runs. */
  #showAbout(text: string, wrong: boolean): void {
    this.#about.dataset['wrong'] = String(wrong);
    setText(this.#about, text);
  }

  #fact(name: Fact, text: string): void {
    const value = this.#facts.get(name);
    if (value !== undefined) setText(value, text);
  }
}

function factsOf(node: NodeReading): Record<Fact, string> {
  const { traffic, eventLoop, memory, sendBuffer } = node;
  const seconds = (traffic?.periodMs ?? 0) / 1_000;
  return {
    Delivered: traffic === null || seconds === 0 ? UNKNOWN : `${count(traffic.deliveries.delivered / seconds)}/s`,
    Topics: count(node.topics),
    Sources: count(node.sources),
    Waiting: bytes(sendBuffer.bytes),
    'Loop p99': duration(eventLoop?.p99Ms ?? null),
    'Feed lag': duration(node.feedLagMs),
    Memory: bytes(memory.rss),
    CPU: node.cpu === null ? UNKNOWN : `${count(node.cpu * 100)} %`,
    Circuits: circuitsText(node.circuits),
    'Up for': duration(node.uptimeMs),
    'Pending sends': count(node.pendingSends),
  };
}

function circuitsText(circuits: NodeReading['circuits']): string {
  const open = Object.entries(circuits).filter(([, state]) => state !== 'closed');
  return open.length === 0 ? 'all closed' : open.map(([kind, state]) => `${kind} ${state}`).join(', ');
}

function healthText({ health, phase }: NodeReading): [text: string, tone: string] {
  if (phase === 'draining' || phase === 'closed') return [phase, 'warn'];
  if (!health.live) return ['not live', 'bad'];
  if (!health.ready) return ['not ready', 'bad'];
  return health.degraded ? ['degraded', 'warn'] : ['ready', 'good'];
}

function badge(target: HTMLElement, text: string, tone: string): void {
  setText(target, text);
  target.dataset['tone'] = tone;
}
