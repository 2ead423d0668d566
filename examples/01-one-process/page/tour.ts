import { byId, element, setText } from '../../../src/console/page/dom.js';
import { messageOf } from '../../../src/console/page/format.js';
import type { Scenario } from './scenario.js';
import { interruptedScenario, SCENARIOS } from './scenarios.js';
import { ask, type ClusterFacts, type Facts } from './server.js';
import { Stage } from './stage.js';

const COUNT_MS = 2_000;

/** The page: a list of scenarios, the one that is shown, and facts of the node in the head. */
class Tour {
  readonly #visitor = visitorId();
  readonly #pace = Number(new URLSearchParams(location.search).get('pace') ?? 1);
  readonly #links = new Map<string, HTMLAnchorElement>();
  readonly #main = byId('scenario', HTMLElement);
  #facts: Facts | undefined;
  #cluster: ClusterFacts = { nodes: [], redis: null };
  #stage: Stage | undefined;

  async start(): Promise<void> {
    const [facts, cluster] = await Promise.all([ask('GET', '/tour'), ask('GET', '/tour/cluster')]);
    // Both are answers of this page's own server.
    if (facts.ok) this.#facts = facts.body as unknown as Facts;
    if (cluster.ok) this.#cluster = cluster.body as unknown as ClusterFacts;
    this.#showHead();
    byId('scenarios', HTMLOListElement).replaceChildren(
      ...SCENARIOS.map((scenario, at) => this.#listItem(scenario, at)),
    );
    addEventListener('hashchange', () => this.#show());
    this.#show();
    setInterval(() => void this.#count(), COUNT_MS);
    void this.#count();
  }

  #showHead(): void {
    const { nodes } = this.#cluster;
    const badge = byId('cluster', HTMLElement);
    badge.dataset['tone'] = this.#facts === undefined ? 'bad' : 'good';
    const answeredBy = nodes.length > 0 ? 'a balancer' : this.#facts?.nodeId;
    setText(byId('node', HTMLElement), answeredBy ?? 'no answer');
    setText(badge, nodes.length > 0 ? `${nodes.length} nodes, Redis` : this.#alone());
    const path = this.#facts?.console;
    if (path != null) {
      byId('console', HTMLElement).replaceChildren(element('a', { attributes: { href: path } }, 'Open the console'));
    }
  }

  #alone(): string {
    return this.#facts?.coordinator === 'redis' ? 'Redis' : 'one process';
  }

  #listItem(scenario: Scenario, at: number): HTMLElement {
    const reason = this.#missing(scenario);
    const link = element(
      'a',
      { attributes: { href: `#${scenario.id}` }, data: { state: reason === undefined ? 'ready' : 'missing' } },
      element('span', { class: 'at number', attributes: { 'aria-hidden': 'true' } }, String(at + 1)),
      element('span', '', scenario.title),
      element('span', 'mark', reason === undefined ? '' : 'needs a cluster'),
    );
    this.#links.set(scenario.id, link);
    return element('li', {}, link);
  }

  /** Why a scenario cannot run here; `undefined` when it can. */
  #missing({ needs }: Scenario): string | undefined {
    const { nodes, redis } = this.#cluster;
    if (needs === 'one process') return undefined;
    if (nodes.length === 0) {
      return 'One process cannot show this. Stop it and start three nodes and a Redis by: npm run demo:cluster';
    }
    if (needs === 'a cluster' || redis !== null) return undefined;
    return 'The Redis of REDIS_URL is not this program’s to stop.';
  }

  #show(): void {
    this.#stage?.end();
    this.#stage = undefined;
    const wanted = interruptedScenario() ?? location.hash.slice(1);
    const found = SCENARIOS.findIndex(({ id }) => id === wanted);
    const at = Math.max(0, found);
    const scenario = SCENARIOS[at];
    if (scenario === undefined) return;
    for (const [id, link] of this.#links) {
      if (id === scenario.id) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    }
    this.#links.get(scenario.id)?.scrollIntoView({ block: 'nearest', inline: 'nearest' });
    document.title = `${scenario.title} · distributed-sse`;
    this.#render(scenario, at);
  }

  #render(scenario: Scenario, at: number): void {
    const missing = this.#missing(scenario);
    const lanes = element('div', 'lanes');
    const steps = element('ol', 'steps');
    const status = element(
      'p',
      { class: 'status', attributes: { role: 'status' } },
      missing ?? 'Ready. A run takes a few seconds.',
    );
    const run = element(
      'button',
      { class: 'primary', attributes: { type: 'button', disabled: missing !== undefined } },
      'Run',
    );
    const next = SCENARIOS[(at + 1) % SCENARIOS.length];
    this.#main.replaceChildren(
      element('p', 'kicker number', `Scenario ${at + 1} of ${SCENARIOS.length}`),
      element('h2', { attributes: { id: 'title' } }, scenario.title),
      element('p', 'lead', scenario.lead),
      element('div', 'actions', run, status),
      element(
        'section',
        { class: 'panel', attributes: { 'aria-label': 'What each client received' } },
        element('h3', '', 'What each client received'),
        lanes,
      ),
      element(
        'div',
        'halves',
        element(
          'section',
          { class: 'panel', attributes: { 'aria-label': 'What happens' } },
          element('h3', '', 'What happens'),
          steps,
        ),
        element(
          'section',
          { class: 'panel', attributes: { 'aria-label': 'How to write it' } },
          element('h3', '', 'How to write it'),
          element('pre', { attributes: { tabindex: 0 } }, element('code', '', scenario.code)),
          element('p', 'lesson', scenario.lesson),
        ),
      ),
      ...(next === undefined
        ? []
        : [
            element(
              'a',
              { class: 'next', attributes: { href: `#${next.id}` } },
              element('span', 'muted', 'Next: '),
              next.title,
            ),
          ]),
    );
    const prepare = (): Stage => {
      this.#stage?.end();
      return (this.#stage = new Stage(scenario, this.#visitor, this.#pace, lanes, steps));
    };
    prepare();
    run.addEventListener('click', () => void this.#run(scenario, prepare(), run, status));
    if (interruptedScenario() === scenario.id) run.click();
  }

  async #run(scenario: Scenario, stage: Stage, run: HTMLButtonElement, status: HTMLElement): Promise<void> {
    run.textContent = 'Run again';
    this.#main.dataset['run'] = 'running';
    setText(status, 'Running…');
    try {
      await scenario.run(stage);
      setText(status, 'Done. Read the results of the steps, or run it again.');
      this.#main.dataset['run'] = 'done';
      this.#links.get(scenario.id)?.setAttribute('data-state', 'done');
    } catch (error) {
      if (this.#stage !== stage) return;
      setText(status, `Stopped: ${messageOf(error)}`);
      this.#main.dataset['run'] = 'failed';
    }
  }

  async #count(): Promise<void> {
    if (document.visibilityState === 'hidden') return;
    const { ok, body } = await ask('GET', '/sse/connections');
    const { cluster, local } = body;
    setText(byId('count', HTMLElement), ok ? String(cluster ?? local) : '–');
  }
}

/** Lasts for the tab, so that a reload comes back as the same visitor. */
function visitorId(): string {
  const kept = sessionStorage.getItem('tour.visitor');
  if (kept !== null) return kept;
  const made = `tour-${crypto.randomUUID().slice(0, 8)}`;
  sessionStorage.setItem('tour.visitor', made);
  return made;
}

await new Tour().start();
