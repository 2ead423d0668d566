import type { NodeInfo } from '../contracts/cluster.js';
import type { SseEvent } from '../contracts/events.js';
import { Periodic } from '../time.js';
import type { Sample } from './answers.js';
import type {
  Happening,
  HappeningsEvent,
  NodeReading,
  NodeRow,
  NodesAnswer,
  SendRecord,
  SendsEvent,
  Traffic,
} from './contract.js';
import { joined, sumOf } from './reading.js';
import type { Station } from './station.js';

/** Milliseconds from a sample of this node to a tick: those of other nodes have come by then. */
const TICK_AFTER_MS = 150;
/** Milliseconds between two messages that somebody looks. */
const ANNOUNCE_MS = 2_000;
/** A node without a newer sample counts as silent. */
const FRESH_MS = 3_500;
const MOST_NODES = 1_000;
/** Happenings, and sends, that wait for a slow viewer. */
const MOST_WAITING = 1_000;

/** The nodes as a viewer gets them. @param readings by node id */
export function nodesAnswer(
  nodes: readonly NodeInfo[],
  readings: ReadonlyMap<string, NodeReading>,
  rest: Pick<NodesAnswer, 'missing' | 'cutOff'>,
): NodesAnswer {
  const rows = nodes.map(({ nodeId, self, connections }): NodeRow => {
    const reading = readings.get(nodeId);
    return reading === undefined
      ? { kind: 'silent', nodeId, self, connections }
      : { ...reading, nodeId, kind: 'reading', self };
  });
  const all = rows.flatMap((row): Traffic[] => (row.kind === 'reading' && row.traffic !== null ? [row.traffic] : []));
  return { at: Date.now(), ...rest, nodes: rows, traffic: sumOf(all) };
}

/** What the viewers of one node get of the whole cluster, each as fast as it reads. Works only while there are viewers. */
export class LiveFeed {
  readonly #viewers = new Set<Viewer>();
  readonly #samples = new Map<string, { readonly at: number; readonly reading: NodeReading }>();
  readonly #announcing = new Periodic(() => this.#announce(), { everyMs: ANNOUNCE_MS });
  #nodes: readonly NodeInfo[] | undefined;
  #ups = 0;

  constructor(private readonly station: Station) {}

  /** The events of one viewer, until the signal aborts. */
  async *events(signal: AbortSignal): AsyncGenerator<SseEvent> {
    const viewer = new Viewer();
    const end = (): void => viewer.end();
    signal.addEventListener('abort', end);
    this.#add(viewer);
    try {
      while (!signal.aborted) {
        await viewer.ready();
        yield* viewer.take();
      }
    } finally {
      signal.removeEventListener('abort', end);
      this.#remove(viewer);
    }
  }

  #add(viewer: Viewer): void {
    this.#viewers.add(viewer);
    if (this.#viewers.size > 1) return;
    this.station.onSample = (nodeId, sample) => this.#onSample(nodeId, sample);
    this.#announcing.start();
    this.#announcing.runWithin(0);
  }

  #remove(viewer: Viewer): void {
    this.#viewers.delete(viewer);
    if (this.#viewers.size > 0) return;
    this.#announcing.stop();
    this.station.onSample = undefined;
    this.station.unwatch();
    this.#samples.clear();
    this.#nodes = undefined;
  }

  async #announce(): Promise<void> {
    this.station.watch();
    const nodes = await this.station.liveNodes();
    if (this.#viewers.size === 0) return;
    if (nodes !== undefined && this.#nodes !== undefined) this.#compare(this.#nodes, nodes);
    // While it is cut off, the nodes that it knew are neither up nor down.
    if (nodes !== undefined) this.#nodes = nodes;
  }

  #compare(before: readonly NodeInfo[], now: readonly NodeInfo[]): void {
    const happenings = [
      ...changes(before, now).map(nodeId => this.#change('node-up', nodeId)),
      ...changes(now, before).map(nodeId => this.#change('node-down', nodeId)),
    ];
    if (happenings.length > 0) for (const viewer of this.#viewers) viewer.happen({ happenings, more: {} });
  }

  #change(kind: 'node-up' | 'node-down', nodeId: string): Happening {
    this.#ups += 1;
    return { kind, nodeId, id: `${this.station.nodeId}-${kind}-${this.#ups}-${Date.now()}`, at: Date.now() };
  }

  #onSample(nodeId: string, { reading, activity }: Sample): void {
    if (this.#samples.size >= MOST_NODES && !this.#samples.has(nodeId)) return;
    this.#samples.set(nodeId, { at: performance.now(), reading });
    const { happenings, more, sends } = activity;
    for (const viewer of this.#viewers) {
      viewer.happen({ happenings, more });
      viewer.send(sends);
    }
    if (nodeId === this.station.nodeId) setTimeout(() => void this.#tick(), TICK_AFTER_MS).unref();
  }

  async #tick(): Promise<void> {
    const live = await this.station.liveNodes();
    const now = performance.now();
    const readings = new Map<string, NodeReading>();
    for (const [nodeId, { at, reading }] of this.#samples) {
      if (now - at < FRESH_MS) readings.set(nodeId, reading);
      else this.#samples.delete(nodeId);
    }
    const own = readings.get(this.station.nodeId);
    if (own === undefined) return;
    const self = { nodeId: own.nodeId, connections: own.connections, self: true };
    const tick = nodesAnswer(live ?? [self], readings, { missing: [], cutOff: live === undefined });
    for (const viewer of this.#viewers) viewer.tick(tick);
  }
}

/** The nodes of `now` that are not in `before`. */
function changes(before: readonly NodeInfo[], now: readonly NodeInfo[]): string[] {
  const known = new Set(before.map(({ nodeId }) => nodeId));
  return now.map(({ nodeId }) => nodeId).filter(nodeId => !known.has(nodeId));
}

/** What waits for one viewer. Bounded: ticks replace each other, and the oldest of the rest is only counted. */
class Viewer {
  #tick: NodesAnswer | undefined;
  #happenings: Happening[] = [];
  #more: Readonly<Record<string, number>> = {};
  #sends: SendRecord[] = [];
  #moreSends: Readonly<Record<string, number>> = {};
  #wake: () => void = () => undefined;
  #ended = false;

  tick(tick: NodesAnswer): void {
    this.#tick = tick;
    this.#wake();
  }

  happen({ happenings, more }: HappeningsEvent): void {
    this.#happenings.push(...happenings);
    this.#more = joined([this.#more, more, cut(this.#happenings, ({ kind }) => kind)]);
  }

  send({ sends, more }: SendsEvent): void {
    this.#sends.push(...sends);
    this.#moreSends = joined([this.#moreSends, more, cut(this.#sends, ({ outcome }) => outcome)]);
  }

  end(): void {
    this.#ended = true;
    this.#wake();
  }

  /** Resolves with the next tick, or at the end. */
  ready(): Promise<void> {
    if (this.#ended || this.#tick !== undefined) return Promise.resolve();
    return new Promise(resolve => (this.#wake = resolve));
  }

  *take(): Iterable<SseEvent> {
    const tick = this.#tick;
    if (tick === undefined) return;
    this.#tick = undefined;
    yield { event: 'tick', data: tick };
    if (this.#happenings.length > 0) {
      const data: HappeningsEvent = { happenings: this.#happenings, more: this.#more };
      this.#happenings = [];
      this.#more = {};
      yield { event: 'happenings', data };
    }
    if (this.#sends.length === 0) return;
    const data: SendsEvent = { sends: this.#sends, more: this.#moreSends };
    this.#sends = [];
    this.#moreSends = {};
    yield { event: 'sends', data };
  }
}

/** Removes the oldest items beyond the bound. Returns how many by label. */
function cut<T>(items: T[], labelOf: (item: T) => string): Record<string, number> {
  if (items.length <= MOST_WAITING) return {};
  return joined(items.splice(0, items.length - MOST_WAITING).map(item => ({ [labelOf(item)]: 1 })));
}
