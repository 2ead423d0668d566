import { createRequire } from 'node:module';
import { context, metrics, propagation, trace } from '@opentelemetry/api';
import { AsyncLocalStorageContextManager } from '@opentelemetry/context-async-hooks';
import { W3CTraceContextPropagator } from '@opentelemetry/core';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { MeterProvider, MetricReader } from '@opentelemetry/sdk-metrics';
import {
  BatchSpanProcessor,
  ParentBasedSampler,
  TraceIdRatioBasedSampler,
  TracerProvider,
} from '@opentelemetry/sdk-trace';
import { sseResponseHook } from '../../../src/index.js';

/**
 * How much is recorded: nothing, by a stub in place of the telemetry; the calls of the library without an SDK; nothing, beside the
 * SDK of an application and its instrumentation of HTTP; or with them, one trace in a hundred, or each.
 */
export const MODES = ['stub', 'no-sdk', 'sdk-stub', 'sdk', 'sdk-all'] as const;

export type Mode = (typeof MODES)[number];

class IdleReader extends MetricReader {
  protected onForceFlush = (): Promise<void> => Promise.resolve();
  protected onShutdown = (): Promise<void> => Promise.resolve();
}

/** Registers what a mode needs, with exporters that throw away. */
export function enter(mode: Mode): void {
  if (mode === 'stub' || mode === 'no-sdk') return;
  context.setGlobalContextManager(new AsyncLocalStorageContextManager().enable());
  propagation.setGlobalPropagator(new W3CTraceContextPropagator());
  const exporter = {
    export: (_spans: unknown, done: (result: { code: number }) => void): void => {
      done({ code: 0 });
    },
    shutdown: (): Promise<void> => Promise.resolve(),
  };
  trace.setGlobalTracerProvider(
    new TracerProvider({
      sampler: new ParentBasedSampler({ root: new TraceIdRatioBasedSampler(mode === 'sdk-all' ? 1 : 0.01) }),
      spanProcessors: [new BatchSpanProcessor({ exporter })],
    }),
  );
  metrics.setGlobalMeterProvider(new MeterProvider({ readers: [new IdleReader()] }));
  const instrumentation = new HttpInstrumentation({
    responseHook: sseResponseHook,
    disableOutgoingRequestInstrumentation: true,
  });
  instrumentation.setTracerProvider(trace.getTracerProvider());
  instrumentation.setMeterProvider(metrics.getMeterProvider());
  // It takes hold when somebody requires the module.
  createRequire(import.meta.url)('node:http');
  // Where the application has ever been in a context, Node follows each promise from then on.
  context.with(context.active(), () => undefined);
}

/** Whether the library's own telemetry is replaced by a stub. */
export function isStubbed(mode: Mode): boolean {
  return mode === 'stub' || mode === 'sdk-stub';
}
