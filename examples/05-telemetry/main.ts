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
