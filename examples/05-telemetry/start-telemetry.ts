import { randomUUID } from 'node:crypto';
import { OTLPMetricExporter } from '@opentelemetry/exporter-metrics-otlp-http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import {
  defaultResource,
  envDetector,
  hostDetector,
  processDetector,
  resourceFromAttributes,
} from '@opentelemetry/resources';
import { PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { sseResponseHook } from '../../src/index.js';

// A process that ends must not wait for a collector that is gone.
const FAREWELL_MS = 2000;

/**
 * Starts OpenTelemetry's SDK for this process: traces and metrics over OTLP/HTTP to where the standard variables point
 * (`OTEL_EXPORTER_OTLP_ENDPOINT` and the like). To be called before Koa is imported, since the HTTP instrumentation
 * takes hold when modules are loaded. Returns a function that sends what is left.
 *
 * @param nodeId names this process beside others of the same service
 */
export function startTelemetry(nodeId: string = randomUUID()): () => Promise<void> {
  const { OTEL_SERVICE_NAME = 'distributed-sse', OTEL_METRIC_EXPORT_INTERVAL = '10000' } = process.env;
  const sdk = new NodeSDK({
    resource: defaultResource().merge(
      resourceFromAttributes({
        'service.name': OTEL_SERVICE_NAME,
        'service.instance.id': nodeId,
      }),
    ),
    // Not the one that makes up an instance id: the node has one.
    resourceDetectors: [envDetector, hostDetector, processDetector],
    traceExporter: new OTLPTraceExporter(),
    metricReaders: [
      new PeriodicExportingMetricReader({
        exporter: new OTLPMetricExporter(),
        exportIntervalMillis: Number(OTEL_METRIC_EXPORT_INTERVAL),
      }),
    ],
    instrumentations: [
      // Streams end their server span with the head, and stay out of http.server.request.duration.
      new HttpInstrumentation({ responseHook: sseResponseHook }),
    ],
  });
  sdk.start();
  return async () => {
    const late = new Promise(resolve => setTimeout(resolve, FAREWELL_MS).unref());
    await Promise.race([sdk.shutdown().catch(complain), late]);
  };
}

function complain(error: unknown): void {
  console.warn('telemetry could not be sent completely:', error);
}
