import { context, metrics, propagation, trace, type Attributes } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { CompositePropagator, W3CBaggagePropagator, W3CTraceContextPropagator } from '@opentelemetry/core';
import { MeterProvider, MetricReader, type MetricData } from '@opentelemetry/sdk-metrics';
import {
  InMemorySpanExporter,
  SimpleSpanProcessor,
  TracerProvider,
  type ReadableSpan,
  type Sampler,
} from '@opentelemetry/sdk-trace';

class Reader extends MetricReader {
  protected onForceFlush = (): Promise<void> => Promise.resolve();
  protected onShutdown = (): Promise<void> => Promise.resolve();
}

/** What a test wants of its SDK. */
export interface RecordingSdkSettings {
  readonly sampler?: Sampler;
  /** Default both. */
  readonly signals?: readonly ('traces' | 'metrics')[];
}

/** A value of a metric with the attributes of its series. A histogram's value is its count. */
export interface Point {
  readonly value: number;
  readonly attributes: Attributes;
}

/** OpenTelemetry's SDK, registered for this process until `stop`, keeping everything in memory. */
export class RecordingSdk {
  readonly #exporter = new InMemorySpanExporter();
  readonly #reader = new Reader();

  static start({ sampler, signals = ['traces', 'metrics'] }: RecordingSdkSettings = {}) {
    const sdk = new RecordingSdk();
    context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
    propagation.setGlobalPropagator(
      new CompositePropagator({
        propagators: [new W3CTraceContextPropagator(), new W3CBaggagePropagator()],
      }),
    );
    const spanProcessors = [new SimpleSpanProcessor({ exporter: sdk.#exporter })];
    if (signals.includes('traces')) {
      trace.setGlobalTracerProvider(
        new TracerProvider(sampler === undefined ? { spanProcessors } : { spanProcessors, sampler }),
      );
    }
    if (signals.includes('metrics')) {
      metrics.setGlobalMeterProvider(new MeterProvider({ readers: [sdk.#reader] }));
    }
    return sdk;
  }

  /** Takes the SDK back, so that the next test begins without one. */
  stop(): void {
    trace.disable();
    metrics.disable();
    context.disable();
    propagation.disable();
  }

  /** Finished spans in the order of their ends, all or those of one name. */
  spans(name?: string): ReadableSpan[] {
    const spans = this.#exporter.getFinishedSpans();
    return name === undefined ? spans : spans.filter(span => span.name === name);
  }

  /** The one span of that name. */
  span(name: string): ReadableSpan {
    const [span, ...others] = this.spans(name);
    if (span === undefined || others.length > 0) {
      const found = this.spans().map(other => other.name);
      throw new Error(`one span ${name} expected, got ${found.join(', ') || 'none'}`);
    }
    return span;
  }

  /** Forgets the spans so far. */
  forget(): void {
    this.#exporter.reset();
  }

  /** Everything this library, or another one, reports now. */
  async metrics(reporter = 'distributed-sse'): Promise<MetricData[]> {
    const { resourceMetrics } = await this.#reader.collect();
    return resourceMetrics.scopeMetrics
      .filter(({ scope }) => scope.name === reporter)
      .flatMap(({ metrics: data }) => data);
  }

  /** The present points of one metric; empty when it reports none. */
  async points(name: string, reporter?: string): Promise<Point[]> {
    const data = (await this.metrics(reporter)).filter(({ descriptor }) => descriptor.name === name);
    return data.flatMap(({ dataPoints }) =>
      dataPoints.map(({ value, attributes }) => ({
        value: typeof value === 'number' ? value : value.count,
        attributes,
      })),
    );
  }

  /** The value of the one point with these attributes among its own; `undefined` when there is none. */
  async value(name: string, attributes: Attributes = {}): Promise<number | undefined> {
    const wanted = Object.entries(attributes);
    const found = (await this.points(name)).filter(point =>
      wanted.every(([key, value]) => point.attributes[key] === value),
    );
    if (found.length > 1) throw new Error(`${found.length} points of ${name} match`);
    return found[0]?.value;
  }
}
