import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import {
  type Attributes,
  type BatchObservableResult,
  createNoopMeter,
  type Histogram,
  type Meter,
  type MeterProvider,
  metrics,
} from '@opentelemetry/api';
import type { Outcome } from '../contracts/events.js';
import type { CircuitState, OperationKind, RefusalReason } from '../contracts/policy.js';
import type { NodeGauges, Scope, TrafficCounts } from '../contracts/telemetry.js';
import { type HistogramKey, type MetricDefinition, METRICS, type ObservableKey } from './metrics.js';
import { ATTRIBUTE, SCOPE } from './names.js';

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

type Observe = (value: number, labels?: Attributes) => void;

/** Where the figures come from. */
interface Source {
  readonly figures: NodeFigures;
  readonly loop: EventLoopDelay;
}

const OPERATIONS: Readonly<Record<OperationKind, true>> = {
  register: true,
  replay: true,
  send: true,
  publish: true,
  maintenance: true,
};
// The keys are just those.
const KINDS = Object.keys(OPERATIONS) as OperationKind[];
const CIRCUITS: Readonly<Record<CircuitState, number>> = { closed: 0, 'half-open': 1, open: 2 };

const READERS: Readonly<Record<ObservableKey, (source: Source, observe: Observe) => void>> = {
  connectionsActive: ({ figures: { gauges } }, observe) => {
    if (gauges !== undefined) observe(gauges.connections());
  },
  connectionsOpened: ({ figures: { opened } }, observe) => {
    observe(opened);
  },
  connectionsRefused: ({ figures: { refused } }, observe) => {
    refused.read(observe);
  },
  connectionsClosed: ({ figures: { closed } }, observe) => {
    closed.read(observe);
  },
  takeovers: ({ figures: { takeovers } }, observe) => {
    observe(takeovers);
  },
  eventsSent: ({ figures: { sent } }, observe) => {
    sent.read(observe);
  },
  deliveries: ({ figures: { deliveries } }, observe) => {
    deliveries.read(observe);
  },
  sendsPending: ({ figures: { gauges } }, observe) => {
    if (gauges !== undefined) observe(gauges.pendingSends());
  },
  bytesWritten: ({ figures: { traffic } }, observe) => {
    observe(traffic.bytesWritten);
  },
  sendBufferBytes: ({ figures: { gauges } }, observe) => {
    if (gauges !== undefined) observe(gauges.sendBufferBytes());
  },
  sendBufferDropped: ({ figures: { traffic } }, observe) => {
    observe(traffic.eventsDropped);
  },
  replayEntries: ({ figures: { replayed } }, observe) => {
    observe(replayed);
  },
  replayResets: ({ figures: { resets } }, observe) => {
    resets.read(observe);
  },
  cleanupRemoved: ({ figures: { removed } }, observe) => {
    removed.read(observe);
  },
  consistencyRepairs: ({ figures: { repairs } }, observe) => {
    repairs.read(observe);
  },
  leaks: ({ figures: { leaks } }, observe) => {
    leaks.read(observe);
  },
  retries: ({ figures: { retries } }, observe) => {
    retries.read(observe);
  },
  refusals: ({ figures: { refusals } }, observe) => {
    refusals.read(observe);
  },
  circuitState: ({ figures: { gauges } }, observe) => {
    if (gauges === undefined) return;
    for (const kind of KINDS) observe(CIRCUITS[gauges.circuit(kind)], { [ATTRIBUTE.operation]: kind });
  },
  feedLag: ({ figures }, observe) => {
    observe(figures.takeLag() / 1000);
  },
  eventLoopDelay: ({ loop }, observe) => {
    loop.read(observe);
  },
};

/** The metrics of one node at one meter: histograms to record to, and everything else read when the meter asks. */
class Instruments {
  readonly #histograms: Readonly<Record<HistogramKey, Histogram>>;
  // Measured only while a meter collects.
  readonly #loop = new EventLoopDelay();
  #closed = false;

  constructor(meter: Meter, figures: NodeFigures, nodeId: string) {
    this.#histograms = {
      connectionDuration: histogram(meter, METRICS.connectionDuration),
      deliveryLatency: histogram(meter, METRICS.deliveryLatency),
      routeDuration: histogram(meter, METRICS.routeDuration),
      redisCommandDuration: histogram(meter, METRICS.redisCommandDuration),
    };
    const source = { figures, loop: this.#loop };
    const read = Object.entries(READERS).map(([key, reader]) => ({
      // The keys of READERS are just those.
      instrument: observable(meter, METRICS[key as ObservableKey]),
      reader,
    }));
    const report = (result: BatchObservableResult): void => {
      for (const { instrument, reader } of read) {
        reader(source, (value, labels) => {
          result.observe(instrument, value, { [ATTRIBUTE.nodeId]: nodeId, ...labels });
        });
      }
      // Not while the meter walks through its callbacks.
      if (this.#closed)
        setImmediate(() => {
          meter.removeBatchObservableCallback(report, instruments);
        });
    };
    const instruments = read.map(({ instrument }) => instrument);
    meter.addBatchObservableCallback(report, instruments);
  }

  /** Records seconds. */
  record(key: HistogramKey, seconds: number, labels: Attributes): void {
    this.#histograms[key].record(seconds, labels);
  }

  /** Reports once more when the meter next collects, so that the last counts are exported. */
  close(): void {
    this.#closed = true;
    this.#loop.close();
  }
}

function histogram(meter: Meter, definition: MetricDefinition): Histogram {
  const { name, unit, description, buckets } = definition;
  return meter.createHistogram(name, {
    unit,
    description,
    ...(buckets === undefined ? {} : { advice: { explicitBucketBoundaries: [...buckets] } }),
  });
}

function observable(meter: Meter, { name, kind, unit, description }: MetricDefinition) {
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

const RESOLUTION_MS = 20;
const NANOSECONDS = 1e9;

/** Measures how late the event loop is, from its making until `close`. */
class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** Reports the delays since the last call, in seconds; none when the loop has not turned since. */
  read(observe: (seconds: number, labels: Attributes) => void): void {
    const { mean, max } = this.#histogram;
    if (Number.isNaN(mean)) return;
    const statistics = { mean, p99: this.#histogram.percentile(99), max };
    for (const [statistic, delay] of Object.entries(statistics)) {
      // It counts the whole interval between two looks of its own.
      const late = Math.max(0, delay / NANOSECONDS - RESOLUTION_MS / 1000);
      observe(late, { [ATTRIBUTE.statistic]: statistic });
    }
    this.#histogram.reset();
  }

  close(): void {
    this.#histogram.disable();
  }
}

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
  readonly refusals = new RefusalCount();
  opened = 0;
  takeovers = 0;
  replayed = 0;
  gauges: NodeGauges | undefined;
  #lag = 0;

  /** @param eventNames the events that are counted by name */
  constructor(eventNames: readonly string[]) {
    this.sent = new OutcomeGrid(eventNames);
  }

  /** Records how long an entry of the log took to this node, in milliseconds; the clocks of two machines may differ. */
  lagged(ms: number): void {
    if (ms > this.#lag) this.#lag = ms;
  }

  /** The longest lag since the last call. */
  takeLag(): number {
    const lag = this.#lag;
    this.#lag = 0;
    return lag;
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
  delivered: 0,
  buffered: 1,
  stored: 2,
  routed: 3,
  'not-connected': 4,
  rejected: 5,
  unknown: 6,
  unavailable: 7,
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

/** A growing count for each kind of call and each reason of a refusal. */
class RefusalCount {
  readonly #counts = new Map<OperationKind, Map<RefusalReason, number>>();

  add(kind: OperationKind, reason: RefusalReason): void {
    const reasons = this.#counts.get(kind) ?? new Map<RefusalReason, number>();
    this.#counts.set(kind, reasons);
    reasons.set(reason, (reasons.get(reason) ?? 0) + 1);
  }

  /** Reports each count with its labels. */
  read(observe: (count: number, labels: Attributes) => void): void {
    for (const [kind, reasons] of this.#counts) {
      for (const [reason, count] of reasons) {
        observe(count, { [ATTRIBUTE.operation]: kind, [ATTRIBUTE.refusalReason]: reason });
      }
    }
  }
}
