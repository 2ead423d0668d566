/**
 * One trace from node to node: a send on `node-a` to a client of `node-b`, by way of Redis.
 *
 * `start-telemetry.ts` is all that an application needs. It is loaded before Koa, since the instrumentations take hold of modules
 * when these are loaded. `demo-traces.ts` shows three traces with a Jaeger of its own: `npm run demo:traces`.
 * `docs/telemetry.md` says what to look for in a trace.
 *
 *   docker run --rm -p 4318:4318 -p 16686:16686 jaegertracing/jaeger:2.11.0
 *   npm run build && node dist/examples/05-telemetry/main.js        prints the link to the trace
 */
import { startTelemetry } from './start-telemetry.js';

// Where the standard variables say, else to http://localhost:4318, where Jaeger listens. Jaeger takes no metrics.
process.env['OTEL_METRICS_EXPORTER'] ||= 'none';
const stopTelemetry = startTelemetry('example');
// Not before: telemetry takes hold of modules when they are loaded.
const { sendFromNodeToNode } = await import('./send-from-node-to-node.js');

const traceId = await sendFromNodeToNode();
await stopTelemetry();
console.log(`one send from node-a to a client of node-b, trace ${traceId}`);
console.log(`in Jaeger: http://localhost:16686/trace/${traceId}`);
