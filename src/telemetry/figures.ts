import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import {
  type Attributes,
  type BatchObservableResult,
  type Context,
  createNoopMeter,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
  type Observable,
} from '@opentelemetry/api';
import { isLibraryReason, type LibraryCloseReason } from '../close-reasons.js';
import type { CloseReason } from '../contracts/connection.js';
import type { Outcome } from '../contracts/events.js';
import type { CircuitState, OperationKind, RefusalReason } from '../contracts/policy.js';
import type { MaintenanceTelemetry, NodeGauges, Scope, TrafficCounts } from '../contracts/telemetry.js';
import { SseError } from '../errors.js';
import { ATTRIBUTE, type HistogramName, type MetricDefinition, METRICS, type ObservableName, SCOPE } from './names.js';

/** Gets a value of a metric with its labels. */
type Observe = (value: number, labels?: Attributes) => void;

const COUNTED: Readonly<Record<OperationKind, true>> = {
  register: true,
  replay: true,
  send: true,
  publish: true,
  command: true,
  maintenance: true,
};
// The keys of the record are just those.
const KINDS = Object.keys(COUNTED) as readonly OperationKind[];
const CIRCUITS: Readonly<Record<CircuitState, number>> = { closed: 0, 'half-open': 1, open: 2 };

/**
 * The counts of one node. They are read when the meter collects: counts from before the start of an SDK are kept, and
 * counting costs an addition.
 */
export class NodeFigures {
  readonly traffic: TrafficCounts = { bytesWritten: 0, eventsDropped: 0 };
  readonly sent: OutcomeGrid;
  readonly deliveries = new OutcomeGrid();
  readonly refused = new LabelCount(ATTRIBUTE.errorType);
  readonly closed = new LabelCount(ATTRIBUTE.closeReason);
  readonly resets = new LabelCount(ATTRIBUTE.resetReason);
  readonly removed = new LabelCount(ATTRIBUTE.cleanupKind);
  readonly repairs = new LabelCount(ATTRIBUTE.repairKind);
  readonly leaks = new LabelCount(ATTRIBUTE.leakKind);
  readonly retries = new LabelCount(ATTRIBUTE.operation);
  readonly #refusals = new Map(KINDS.map(kind => [kind, new LabelCount(ATTRIBUTE.refusalReason)]));
  opened = 0;
  takeovers = 0;
  replayed = 0;
  gauges: NodeGauges | undefined;
  #lag = 0;

  /** How to read each metric, but the one that is measured only while a meter collects. */
  readonly readers: Readonly<Record<Exclude<ObservableName, 'sse.eventloop.delay'>, (observe: Observe) => void>> = {
    'sse.connections.active': observe => this.gauges && observe(this.gauges.connections()),
    'sse.connections.opened': observe => observe(this.opened),
    'sse.connections.refused': observe => this.refused.read(observe),
    'sse.connections.closed': observe => this.closed.read(observe),
    'sse.takeovers': observe => observe(this.takeovers),
    'sse.events.sent': observe => this.sent.read(observe),
    'sse.deliveries': observe => this.deliveries.read(observe),
    'sse.sends.pending': observe => this.gauges && observe(this.gauges.pendingSends()),
    'sse.bytes.written': observe => observe(this.traffic.bytesWritten),
    'sse.send_buffer.bytes': observe => this.gauges && observe(this.gauges.sendBufferBytes()),
    'sse.send_buffer.dropped': observe => observe(this.traffic.eventsDropped),
    'sse.replay.entries': observe => observe(this.replayed),
    'sse.replay.resets': observe => this.resets.read(observe),
    'sse.cleanup.removed': observe => this.removed.read(observe),
    'sse.consistency.repairs': observe => this.repairs.read(observe),
    'sse.leaks': observe => this.leaks.read(observe),
    'sse.retries': observe => this.retries.read(observe),
    'sse.refusals': observe => {
      for (const [kind, count] of this.#refusals) {
        count.read((value, labels) => observe(value, { [ATTRIBUTE.operation]: kind, ...labels }));
      }
    },
    'sse.circuit.state': observe => {
      if (this.gauges === undefined) return;
      for (const kind of KINDS) observe(CIRCUITS[this.gauges.circuit(kind)], { [ATTRIBUTE.operation]: kind });
    },
    'sse.feed.lag': observe => {
      observe(this.#lag / 1000);
      this.#lag = 0;
    },
  };

  /** @param eventNames the events that are counted by name */
  constructor(eventNames: readonly string[]) {
    this.sent = new OutcomeGrid(eventNames);
  }

  /** Records how long an entry of the log took to this node, in milliseconds; the clocks of two machines may differ. */
  lagged(ms: number): void {
    if (ms > this.#lag) this.#lag = ms;
  }

  /** Counts a call that the policy refused or gave up. */
  refuse(kind: OperationKind, reason: RefusalReason): void {
    this.#refusals.get(kind)?.add(reason);
  }
}

const MAX_LABELS = 64;
const OTHER = 'other';

/** A growing count for each value of one label. Values beyond the first 64 are counted together, as `other`. */
export class LabelCount {
  readonly #counts = new Map<string, number>();

  /** @param attribute the label's name */
  constructor(private readonly attribute: string) {}

  add(label: string, count = 1): void {
    const known = this.#counts.has(label) || this.#counts.size < MAX_LABELS;
    const key = known ? label : OTHER;
    this.#counts.set(key, (this.#counts.get(key) ?? 0) + count);
  }

  /** Reports each count with its label. */
  read(observe: (count: number, labels: Attributes) => void): void {
    for (const [label, count] of this.#counts) observe(count, { [this.attribute]: label });
  }
}

const SCOPES: Readonly<Record<Scope, number>> = {
  connection: 0,
  source: 1,
  node: 2,
  topic: 3,
  cluster: 4,
};
const OUTCOMES: Readonly<Record<Outcome, number>> = {
  confirmed: 0,
  delivered: 1,
  buffered: 2,
  stored: 3,
  routed: 4,
  'not-connected': 5,
  rejected: 6,
  unknown: 7,
  unavailable: 8,
};
const SCOPE_NAMES = Object.keys(SCOPES);
const OUTCOME_NAMES = Object.keys(OUTCOMES);
const CELLS = SCOPE_NAMES.length * OUTCOME_NAMES.length;

/**
 * Growing counts by scope and outcome, and by event name for the names given to the constructor; other events are counted
 * without a name. Adding costs an array access; a call of a metrics SDK per event would cost as much as the send.
 */
export class OutcomeGrid {
  readonly #cells: Float64Array;
  readonly #events: ReadonlyMap<string, number>;

  constructor(private readonly eventNames: readonly string[] = []) {
    this.#cells = new Float64Array(CELLS * (eventNames.length + 1));
    this.#events = new Map(eventNames.map((name, index) => [name, (index + 1) * CELLS]));
  }

  add(scope: Scope, outcome: Outcome, count = 1, event?: string): void {
    const named = event !== undefined && this.eventNames.length > 0;
    const base = named ? (this.#events.get(event) ?? 0) : 0;
    const cell = base + SCOPES[scope] * OUTCOME_NAMES.length + OUTCOMES[outcome];
    this.#cells[cell] = (this.#cells[cell] ?? 0) + count;
  }

  /** Reports each count above zero with its labels. */
  read(observe: (count: number, labels: Attributes) => void): void {
    this.#cells.forEach((count, cell) => {
      if (count > 0) observe(count, this.#labels(cell));
    });
  }

  #labels(cell: number): Attributes {
    const within = cell % CELLS;
    const event = this.eventNames[Math.floor(cell / CELLS) - 1];
    return {
      [ATTRIBUTE.scope]: SCOPE_NAMES[Math.floor(within / OUTCOME_NAMES.length)],
      [ATTRIBUTE.outcome]: OUTCOME_NAMES[within % OUTCOME_NAMES.length],
      ...(event === undefined ? {} : { [ATTRIBUTE.eventName]: event }),
    };
  }
}

const NO_METER = createNoopMeter();

/**
 * Makes a node's instruments once an SDK has registered a meter provider, whenever that is: instruments made before would
 * stay silent for ever.
 */
export class MeterWatch {
  #provider: MeterProvider | undefined;
  #instruments: Instruments | undefined;
  #closed = false;

  constructor(
    private readonly figures: NodeFigures,
    private readonly nodeId: string,
  ) {}

  /** The instruments at the provider of this moment; `undefined` when there is none. Cheap enough for every call. */
  get instruments(): Instruments | undefined {
    this.look();
    return this.#instruments;
  }

  /** Makes the instruments when a new provider has registered. */
  look(): void {
    const provider = metrics.getMeterProvider();
    if (provider !== this.#provider) this.#follow(provider);
  }

  /** As {@link MaintenanceTelemetry.commanded}. */
  readonly commanded: MaintenanceTelemetry['commanded'] = (command, ms, error) => {
    const { instruments } = this;
    if (error === undefined) instruments?.record('sse.redis.command.duration', ms / 1000, command);
    else instruments?.recordFailure('sse.redis.command.duration', ms / 1000, command, errorType(error));
  };

  /** Ends the reports after a last one. */
  close(): void {
    this.#closed = true;
    this.#instruments?.close();
    this.#instruments = undefined;
  }

  #follow(provider: MeterProvider): void {
    this.#provider = provider;
    this.#instruments?.close();
    const meter = provider.getMeter(SCOPE.name, SCOPE.version);
    this.#instruments =
      this.#closed || meter === NO_METER ? undefined : new Instruments(meter, this.figures, this.nodeId);
  }
}

/** The metrics of one node at one meter: histograms to record to, and everything else read when the meter asks. */
class Instruments {
  readonly #histograms = new Map<MetricDefinition['name'], LabeledHistogram>();
  // Measured only while a meter collects.
  readonly #loop = new EventLoopDelay();
  #closed = false;

  constructor(meter: Meter, figures: NodeFigures, nodeId: string) {
    const readers = { ...figures.readers, 'sse.eventloop.delay': (observe: Observe) => this.#readLoop(observe) };
    const read: { readonly instrument: Observable; readonly reader: (observe: Observe) => void }[] = [];
    for (const metric of METRICS) {
      // The names of metrics that are no histograms are the keys of the readers.
      if (metric.kind === 'histogram') this.#histograms.set(metric.name, new LabeledHistogram(meter, metric));
      else read.push({ instrument: observable(meter, metric), reader: readers[metric.name as ObservableName] });
    }
    const report = (result: BatchObservableResult): void => {
      for (const { instrument, reader } of read) {
        reader((value, labels) => result.observe(instrument, value, { [ATTRIBUTE.nodeId]: nodeId, ...labels }));
      }
      // Not while the meter walks through its callbacks.
      if (this.#closed) setImmediate(() => meter.removeBatchObservableCallback(report, instruments));
    };
    const instruments = read.map(({ instrument }) => instrument);
    meter.addBatchObservableCallback(report, instruments);
  }

  /**
   * Records seconds.
   * @param label the value of the metric's first attribute, one of few
   * @param within the context of the work, from which an SDK with exemplars takes the trace
   */
  record(name: HistogramName, seconds: number, label: string, within?: Context): void {
    this.#histograms.get(name)?.record(seconds, label, within);
  }

  /** Records the seconds of work that failed. */
  recordFailure(name: HistogramName, seconds: number, label: string, type: string): void {
    this.#histograms.get(name)?.recordFailure(seconds, label, type);
  }

  /** Reports once more when the meter next collects, so that the last counts are exported. */
  close(): void {
    this.#closed = true;
    this.#loop.close();
  }

  #readLoop(observe: Observe): void {
    for (const [statistic, ms] of Object.entries(this.#loop.take() ?? {})) {
      observe(ms / 1000, { [ATTRIBUTE.statistic]: statistic });
    }
  }
}

/** A histogram that makes the attributes of each series once: its values come with each send. */
class LabeledHistogram {
  readonly #histogram: Histogram;
  readonly #labels = new Map<string, Attributes>();
  readonly #attribute: string;

  constructor(meter: Meter, { name, unit, description, buckets, attributes: [attribute = ''] }: MetricDefinition) {
    const advice = buckets === undefined ? {} : { advice: { explicitBucketBoundaries: [...buckets] } };
    this.#histogram = meter.createHistogram(name, { unit, description, ...advice });
    this.#attribute = attribute;
  }

  record(value: number, label: string, within: Context | undefined): void {
    let labels = this.#labels.get(label);
    if (labels === undefined) {
      labels = { [this.#attribute]: label };
      this.#labels.set(label, labels);
    }
    this.#histogram.record(value, labels, within);
  }

  recordFailure(value: number, label: string, type: string): void {
    this.#histogram.record(value, { [this.#attribute]: label, [ATTRIBUTE.errorType]: type });
  }
}

function observable(meter: Meter, { name, kind, unit, description }: MetricDefinition): Observable {
  const options = { unit, description };
  switch (kind) {
    case 'counter':
      return meter.createObservableCounter(name, options);
    case 'updown':
      return meter.createObservableUpDownCounter(name, options);
    default:
      return meter.createObservableGauge(name, options);
  }
}

/** A word for an error that is one of few: the code of ours, else the class. */
export function errorType(error: unknown): string {
  if (typeof error === 'string') return error;
  if (SseError.is(error)) return error.code;
  return error instanceof Error ? error.name : 'Error';
}

/** The label of a close reason. All reasons of the application share the label `custom`, since their number is unbounded. */
export function countedReason(reason: CloseReason): LibraryCloseReason | 'custom' {
  return isLibraryReason(reason) ? reason : 'custom';
}

const NANOSECONDS_PER_MS = 1e6;

/** Measures how late the event loop is, from its making until `close`. */
export class EventLoopDelay {
  readonly #histogram: IntervalHistogram;

  /** @param resolutionMs milliseconds between two looks of its own */
  constructor(private readonly resolutionMs = 20) {
    this.#histogram = monitorEventLoopDelay({ resolution: resolutionMs });
    this.#histogram.enable();
  }

  /** The delays since the last call, in milliseconds; `undefined` when the loop has not turned since. */
  take(): { readonly mean: number; readonly p99: number; readonly max: number } | undefined {
    const { mean, max } = this.#histogram;
    if (Number.isNaN(mean)) return undefined;
    const p99 = this.#histogram.percentile(99);
    this.#histogram.reset();
    return { mean: this.#late(mean), p99: this.#late(p99), max: this.#late(max) };
  }

  close(): void {
    this.#histogram.disable();
  }

  /** The histogram counts the whole interval between two looks. */
  #late(nanoseconds: number): number {
    return Math.max(0, nanoseconds / NANOSECONDS_PER_MS - this.resolutionMs);
  }
}
