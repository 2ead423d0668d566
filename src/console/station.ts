import { randomUUID } from 'node:crypto';
import type { NodeInfo } from '../contracts/cluster.js';
import { SseError } from '../errors.js';
import type { SseNode } from '../node/node.js';
import { DistributedSseService } from '../node/service.js';
import { Periodic, withTimeout } from '../time.js';
import { type ActivityPart, isQuestion, isSample, type Question, type Sample } from './answers.js';
import { ConsoleChannel, type ConsoleMessage } from './channel.js';
import type { ClusterAnswer, NodeReading } from './contract.js';
import { NodeMeter } from './reading.js';
import { Recorder } from './recorder.js';
import { findConnections, findSources, findTopics } from './rows.js';
import type { Check } from './shape.js';

/** Milliseconds for which a node samples after the news that somebody looks; it comes three times within. */
const LOOK_MS = 6_000;
export const SAMPLE_MS = 1_000;
/** Milliseconds that an answer may take. */
const ANSWER_MS = 1_000;
/** Milliseconds for which the list of nodes is used again. */
const NODES_MS = 1_500;
/** Happenings, and sends, in one answer. */
const MOST_ACTIVITY = 200;

/** The answers of the nodes to one question. */
export interface Answers<T> extends ClusterAnswer {
  /** By node id. */
  readonly parts: ReadonlyMap<string, T>;
  readonly live: readonly NodeInfo[];
}

/**
 * One node in the cluster of consoles: answers questions about this node, asks the other nodes, and samples this node while
 * somebody looks. A node learns that somebody looks from a message that comes every other second, and samples for a few seconds
 * after the last one: no message says that viewers have left, so a node with viewers may die.
 */
export class Station {
  static readonly #stations = new WeakMap<SseNode, Station>();

  /** Gets the samples of this node and of others; set while this node has viewers. */
  onSample: ((nodeId: string, sample: Sample) => void) | undefined;
  /** Viewers of this node. */
  viewers = 0;
  readonly node: SseNode;
  readonly #channel: ConsoleChannel;
  readonly #meter: NodeMeter;
  readonly #sampling = new Periodic(() => this.#sample(), { everyMs: SAMPLE_MS });
  readonly #asked = new Map<string, (message: ConsoleMessage) => void>();
  /** The nodes that ever said something, and live nodes that did not answer their first question. */
  readonly #known = new Map<string, 'answers' | 'silent'>();
  readonly #onClose = new Set<() => void>();
  #recorder: Recorder | undefined;
  #records = false;
  #latest: NodeReading | undefined;
  /** By the monotonic clock: when sampling ends, and when samples are no longer sent to others. */
  #lookedAtUntil = 0;
  #sentUntil = 0;
  #nodes: { readonly at: number; readonly list: Promise<readonly NodeInfo[] | undefined> } | undefined;

  private constructor(private readonly service: DistributedSseService) {
    this.node = service.node;
    this.#meter = new NodeMeter(service);
    this.#channel = new ConsoleChannel(
      this.node,
      message => this.#receive(message),
      () => this.#close(),
    );
    this.#channel.begin(() => void this.#channel.send('hello'));
  }

  /** The one of a node. @throws SseError `INVALID_OPTION` for a service that is not the library's own */
  static of(service: unknown): Station {
    if (!(service instanceof DistributedSseService)) {
      throw new SseError('INVALID_OPTION', 'the console needs the SseService of sseModule; do not rebind it');
    }
    const known = Station.#stations.get(service.node);
    if (known !== undefined) return known;
    const station = new Station(service);
    Station.#stations.set(service.node, station);
    return station;
  }

  get nodeId(): string {
    return this.node.options.node.id;
  }

  /** Set while somebody looks. */
  get recorder(): Recorder | undefined {
    return this.#recorder;
  }

  /** Calls back when the node closes. */
  onClose(callback: () => void): void {
    this.#onClose.add(callback);
  }

  /** Viewers look at the whole cluster from here, for some seconds more. */
  watch(): void {
    this.#look();
    this.#channel.live = true;
    void this.#channel.send('watch');
  }

  /** The last viewer of this node has left. */
  unwatch(): void {
    this.#channel.live = false;
  }

  /** The live nodes; `undefined` while the cluster cannot be reached. */
  liveNodes(): Promise<readonly NodeInfo[] | undefined> {
    const now = performance.now();
    if (this.#nodes !== undefined && now - this.#nodes.at < NODES_MS) return this.#nodes.list;
    const list = withTimeout(this.service.nodes(), ANSWER_MS, () => undefined).catch((error: unknown) => {
      this.node.logger.debug('the console could not list the nodes', { error });
      return undefined;
    });
    this.#nodes = { at: now, list };
    return list;
  }

  /** Asks every node, or one. Never rejects because of the cluster. */
  async ask<T>(question: Question, check: Check<T>, to = ''): Promise<Answers<T>> {
    const live = await this.liveNodes();
    const others = (live ?? []).filter(({ self, nodeId }) => !self && (to === '' || nodeId === to));
    const parts = new Map<string, T>();
    const own = to === '' || to === this.nodeId ? this.#answer(question) : undefined;
    const missing = others.length === 0 ? [] : await this.#askOthers(question, to, others, check, parts);
    const ownPart = await own;
    if (check(ownPart)) parts.set(this.nodeId, ownPart);
    if (own !== undefined && question.kind === 'drain') this.#drain();
    return { at: Date.now(), missing, cutOff: live === undefined, parts, live: live ?? [this.#self()] };
  }

  /** Returns the nodes that have a console and did not answer. */
  async #askOthers<T>(
    question: Question,
    to: string,
    others: readonly NodeInfo[],
    check: Check<T>,
    parts: Map<string, T>,
  ): Promise<string[]> {
    const id = randomUUID();
    const awaited = new Set(others.map(({ nodeId }) => nodeId).filter(each => this.#known.get(each) !== 'silent'));
    const answered = new Promise<void>(resolve => {
      this.#asked.set(id, ({ from, content }) => {
        if (check(content)) parts.set(from, content);
        awaited.delete(from);
        if (awaited.size === 0) resolve();
      });
      void this.#channel.send('ask', { id, to, content: question }).then(sent => {
        if (!sent || awaited.size === 0) resolve();
      });
    });
    await withTimeout(answered, ANSWER_MS, () => undefined);
    this.#asked.delete(id);
    const missing = [...awaited].filter(each => this.#known.has(each)).sort();
    for (const each of awaited) if (!this.#known.has(each)) this.#known.set(each, 'silent');
    return missing;
  }

  #receive({ kind, from, id, content }: ConsoleMessage): void {
    this.#known.set(from, 'answers');
    switch (kind) {
      case 'hello':
        return;
      case 'watch':
        this.#sentUntil = performance.now() + LOOK_MS;
        this.#look();
        return;
      case 'ask':
        void this.#reply(from, id, content);
        return;
      case 'answer':
        this.#asked.get(id)?.({ kind, from, id, to: this.nodeId, content });
        return;
      case 'sample':
        if (isSample(content)) this.onSample?.(from, content);
    }
  }

  async #reply(to: string, id: string, question: unknown): Promise<void> {
    if (!isQuestion(question)) return;
    await this.#channel.send('answer', { id, to, content: await this.#answer(question) });
    if (question.kind === 'drain') this.#drain();
  }

  /** Only when the answer is under way: a node with few clients has left the cluster a moment later. */
  #drain(): void {
    this.service.drain().catch((error: unknown) => {
      this.node.logger.error('a drain that was asked for in the console failed', { error });
    });
  }

  async #answer(question: Question): Promise<unknown> {
    const { node, service, recorder } = this;
    switch (question.kind) {
      case 'nodes':
        return this.#latest ?? this.#meter.read(this.viewers, undefined);
      case 'connections':
        return findConnections(node, question.query, recorder);
      case 'topics':
        return findTopics(node, question, recorder);
      case 'sources':
        return findSources(node, service.sources, question.search);
      case 'activity':
        return this.#activity();
      case 'drain':
        return { accepted: true };
    }
  }

  #activity(): ActivityPart {
    const { happenings = [], sends = [] } = this.#recorder ?? {};
    return {
      recording: this.#records,
      happenings: happenings.slice(-MOST_ACTIVITY),
      sends: sends.slice(-MOST_ACTIVITY),
    };
  }

  #look(): void {
    this.#lookedAtUntil = performance.now() + LOOK_MS;
    if (this.#recorder !== undefined || this.node.closed) return;
    this.#recorder = new Recorder(this.nodeId, this.node.telemetry.traffic, () => this.#sample());
    this.#records = this.node.telemetry.watch(this.#recorder);
    this.#meter.start();
    this.#sampling.start();
  }

  #sample(): void {
    const now = performance.now();
    const recorder = this.#recorder;
    if (recorder === undefined || now > this.#lookedAtUntil) {
      this.#stopLooking();
      return;
    }
    const reading = this.#meter.read(this.viewers, this.#records ? recorder.takeTraffic() : undefined);
    noteChanges(recorder, this.#latest, reading);
    this.#latest = reading;
    const sample: Sample = { reading, activity: recorder.takeActivity() };
    this.onSample?.(this.nodeId, sample);
    if (now < this.#sentUntil) void this.#channel.send('sample', { content: sample });
  }

  #stopLooking(): void {
    this.#sampling.stop();
    this.#meter.stop();
    if (this.#recorder !== undefined) this.node.telemetry.watch(undefined);
    this.#recorder = undefined;
    this.#latest = undefined;
    this.#records = false;
  }

  #close(): void {
    this.#stopLooking();
    for (const callback of this.#onClose) callback();
  }

  #self(): NodeInfo {
    return { nodeId: this.nodeId, connections: this.node.store.size, self: true };
  }
}

/** Notes circuits and health that differ from those of the reading before. */
function noteChanges(recorder: Recorder, before: NodeReading | undefined, { circuits, health }: NodeReading): void {
  if (before === undefined) return;
  for (const [operation, state] of Object.entries(circuits)) {
    if (before.circuits[operation] !== state) recorder.note({ kind: 'circuit', operation, state });
  }
  const codes = health.reasons.map(({ code }) => code);
  const codesBefore = before.health.reasons.map(({ code }) => code);
  if (codes.join() === codesBefore.join() && health.ready === before.health.ready) return;
  recorder.note({ kind: 'health', ready: health.ready, reasons: codes });
}
