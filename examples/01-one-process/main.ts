import { randomUUID } from 'node:crypto';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { drainOnSignals, SseError } from '../../src/index.js';
import { isTelemetryWanted } from '../05-telemetry/destinations.js';

const { PORT = '3000', HOST = '127.0.0.1', NODE_ID, SSE_NODE_ID } = process.env;
// One name for the node and for its telemetry, which starts before the node.
const nodeId = NODE_ID || SSE_NODE_ID || randomUUID();

try {
  const telemetry = isTelemetryWanted(process.env) ? await startTelemetry() : undefined;
  // Not before: telemetry takes hold of modules when they are loaded.
  const { createDemo } = await import('./create-demo.js');
  const { app, sse, coordinator, closeTour } = await createDemo(
    { ...process.env, NODE_ID: nodeId },
    telemetry?.middleware,
  );
  let server: Server | undefined = undefined;
  // Before it listens, since other nodes may know of this one already.
  drainOnSignals(sse, { server: () => server, afterwards: () => telemetry?.stop() });
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void closeTour());
  await sse.start();
  const listener = app.listen(Number(PORT), HOST);
  server = listener;
  listener.once('error', fail);
  listener.once('listening', () => {
    const { port } = listener.address() as AddressInfo;
    console.log(`listening on http://${HOST}:${port} node=${sse.nodeId} coordinator=${coordinator}`);
  });
} catch (error) {
  // A signal came while it started: the drain ends the process.
  if (!SseError.is(error, 'CLOSED')) fail(error);
}

/** Loaded only when it is wanted, so that it costs nothing otherwise. */
async function startTelemetry() {
  const telemetry = await import('../05-telemetry/start-telemetry.js');
  const stop = telemetry.startTelemetry(nodeId);
  const { nameRoutes } = await import('../05-telemetry/name-routes.js');
  return { stop, middleware: [nameRoutes] };
}

function fail(error: unknown): never {
  console.error(SseError.is(error) ? `${error.code}: ${error.message}` : error);
  process.exit(1);
}
