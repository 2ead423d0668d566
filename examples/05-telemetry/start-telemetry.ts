import { diag, DiagLogLevel, type DiagLogger } from '@opentelemetry/api';
import { HttpInstrumentation } from '@opentelemetry/instrumentation-http';
import { defaultResource, resourceFromAttributes } from '@opentelemetry/resources';
import { NodeSDK } from '@opentelemetry/sdk-node';
import { sseResponseHook } from '../../src/index.js';
import { completeVariables, describeDestinations } from './destinations.js';

// A process that ends must not wait for a collector that is gone.
const FAREWELL_MS = 2000;

/**
 * Starts OpenTelemetry's SDK for this process. The standard variables say what is exported, where, and how; without any,
 * traces and metrics go to port 4318 of this machine. To be called before Koa is imported, since the HTTP instrumentation
 * takes hold when modules are loaded. Returns a function that sends what is left.
 *
 * @param nodeId the id of the node, which becomes `service.instance.id`: spans and metrics then name one process alike
 */
export function startTelemetry(nodeId: string): () => Promise<void> {
  const added = completeVariables(process.env);
  Object.assign(process.env, added, {
    OTEL_METRIC_EXPORT_INTERVAL: process.env['OTEL_METRIC_EXPORT_INTERVAL'] ?? '10000',
  });
  // With OTEL_LOG_LEVEL the SDK prints all it has to say.
  if (!process.env['OTEL_LOG_LEVEL']) diag.setLogger(new FirstProblems(), DiagLogLevel.WARN);
  const sdk = new NodeSDK({
    // OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
    resource: defaultResource().merge(
      resourceFromAttributes({ 'service.name': 'distributed-sse', 'service.instance.id': nodeId }),
    ),
    instrumentations: [
      // Streams end their server span with the head, and stay out of http.server.request.duration.
      new HttpInstrumentation({ responseHook: sseResponseHook }),
    ],
  });
  sdk.start();
  const http = Object.entries(added).find(([, value]) => value.startsWith('http://'));
  const scheme = http === undefined ? '' : ` (${http[0]} has no scheme: http:// is assumed)`;
  console.log(`telemetry is on: ${describeDestinations(process.env)}, instance ${nodeId}${scheme}`);
  return async () => {
    const late = new Promise(resolve => setTimeout(resolve, FAREWELL_MS).unref());
    // The logger has what cannot be sent.
    await Promise.race([sdk.shutdown().catch(() => undefined), late]);
  };
}

const MAX_LINES = 10;

/** Prints the first failure of each exporter and the first warnings: an endpoint that is gone fails for ever. */
class FirstProblems implements DiagLogger {
  readonly #printed = new Set<string>();

  error(text: string, ...rest: unknown[]): void {
    const signal = text.includes('metrics export') ? 'metrics' : 'traces';
    this.#print(signal, `telemetry: ${signal} cannot be sent: ${reasonOf(text)}; this is printed once`, rest);
  }

  warn(text: string, ...rest: unknown[]): void {
    this.#print(text, `telemetry: ${text}`, rest);
  }

  info(): void {
    // Not asked for.
  }

  debug(): void {
    // Not asked for.
  }

  verbose(): void {
    // Not asked for.
  }

  #print(kind: string, text: string, rest: readonly unknown[]): void {
    if (this.#printed.has(kind) || this.#printed.size >= MAX_LINES) return;
    this.#printed.add(kind);
    console.warn(text, ...rest);
  }
}

/** The SDK hands over an error as JSON with its properties. */
function reasonOf(text: string): string {
  try {
    const { message = '', code = '', name = '' } = JSON.parse(text) as Readonly<Record<string, string>>;
    return [code, message === '' ? name : message].filter(part => part !== '').join(' ');
  } catch {
    return text;
  }
}
