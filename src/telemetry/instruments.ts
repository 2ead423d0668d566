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
import type { NodeFigures, Observe } from './figures.js';
import { type HistogramName, type MetricDefinition, METRICS, type ObservableName } from './metrics.js';
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

/** The metrics of one node at one meter: histograms to record to, and everything else read when the meter asks. */
class Instruments {
  readonly #histograms = new Map<MetricDefinition['name'], LabeledHistogram>();
  // Measured only while a meter collects.
  readonly #loop = new EventLoopDelay();
  #closed = false;

  constructor(meter: Meter, figures: NodeFigures, nodeId: string) {
    const readers = {
      ...figures.readers,
      'sse.eventloop.delay': (observe: Observe) => this.#loop.read(observe),
    };
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

const RESOLUTION_MS = 20;
const NANOSECONDS = 1e9;

/** Measures how late the event loop is, from its making until `close`. */
class EventLoopDelay {
  readonly #histogram: IntervalHistogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });

  constructor() {
    this.#histogram.enable();
  }

  /** Reports the delays since the last call, in seconds; none when the loop has not turned since. */
  read(observe: Observe): void {
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
