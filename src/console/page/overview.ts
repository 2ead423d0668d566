import type { HappeningsEvent, NodesAnswer, Traffic } from '../contract.js';
import { Chart } from './chart.js';
import type { Dialogs } from './dialogs.js';
import { element } from './dom.js';
import { Feed } from './feed.js';
import { bytes, count, duration } from './format.js';
import { NodesPicture } from './nodes.js';
import type { View } from './view.js';

const perSecond = (value: number): string => `${count(value)}/s`;

/** Nodes, charts and what happens: what an operator looks at first. It gets its data from the stream of the page. */
export class Overview implements View {
  readonly id = 'overview';
  readonly title = 'Overview';
  readonly element: HTMLElement;
  readonly #nodes: NodesPicture;
  readonly #feed = new Feed();
  readonly #deliveries = new Chart(
    'Deliveries',
    'Events for connections, by what became of them',
    ['delivered', 'buffered', 'rejected'],
    'Send an event, and it shows here.',
    perSecond,
  );
  readonly #latency = new Chart(
    'Latency of deliveries',
    'From the call of a send or publication to the write',
    ['p50', 'p90', 'p99'],
    'Nothing was delivered in the last seconds.',
    duration,
  );
  readonly #buffers = new Chart(
    'Send buffers',
    'Bytes that wait for slow clients, on all nodes',
    ['waiting'],
    'No client is slow.',
    bytes,
  );
  readonly #gaps = new Chart(
    'Gaps',
    'Clients that got sse.reset, by reason',
    ['GAP', 'EPOCH', 'OVERFLOW', 'other'],
    'No client has missed anything.',
    perSecond,
  );
  readonly #connects = new Chart(
    'Connects',
    'Streams that open, come back, and end',
    ['opened', 'came back', 'ended', 'refused'],
    'No stream opened or ended.',
    perSecond,
  );

  constructor(dialogs: Dialogs) {
    this.#nodes = new NodesPicture(dialogs);
    const charts = [this.#deliveries, this.#latency, this.#connects, this.#buffers, this.#gaps];
    this.element = element(
      'div',
      'overview',
      this.#nodes.view,
      element(
        'div',
        { class: 'charts', attributes: { role: 'region', 'aria-label': 'Charts' } },
        element('h2', 'visually-hidden', 'Charts'),
        ...charts.map(({ view }) => view),
      ),
      this.#feed.view,
    );
    // The nodes of the first answer would push the rest down.
    this.element.hidden = true;
  }

  open(): void {
    // Everything comes with `tick` and `happenings`.
  }

  close(): void {
    // The charts go on while another view is shown.
  }

  tick(answer: NodesAnswer): void {
    this.#nodes.show(answer);
    this.element.hidden = false;
    const { traffic } = answer;
    const rate = (value: number | undefined): number | null => rateOf(traffic, value);
    this.#deliveries.add([
      rate(traffic?.deliveries.delivered),
      rate(traffic?.deliveries.buffered),
      rate(traffic?.deliveries.rejected),
    ]);
    const latency = traffic?.deliveryLatency;
    this.#latency.add([latency?.p50 ?? null, latency?.p90 ?? null, latency?.p99 ?? null]);
    this.#connects.add([
      rate(traffic?.opened),
      rate(traffic?.reconnects),
      rate(sumOf(traffic?.closed)),
      rate(sumOf(traffic?.refused)),
    ]);
    const waiting = answer.nodes.map(node => (node.kind === 'reading' ? node.sendBuffer.bytes : 0));
    this.#buffers.add([waiting.reduce((sum, each) => sum + each, 0)]);
    const { GAP = 0, EPOCH = 0, OVERFLOW = 0, ...others } = traffic?.gaps ?? {};
    this.#gaps.add([rate(GAP), rate(EPOCH), rate(OVERFLOW), rate(sumOf(others))]);
  }

  happenings(event: HappeningsEvent): void {
    this.#feed.add(event);
  }
}

function rateOf(traffic: Traffic | null, value: number | undefined): number | null {
  if (traffic === null || value === undefined || traffic.periodMs <= 0) return null;
  return value / (traffic.periodMs / 1_000);
}

function sumOf(counts: Readonly<Record<string, number>> | undefined): number | undefined {
  return counts === undefined ? undefined : Object.values(counts).reduce((sum, each) => sum + each, 0);
}
