/**
 * The tour: one process that shows by a page what the library does, step by step, and says what each client received.
 *
 * The page sends, floods a slow client, opens a second tab with the same id, and closes streams. `demo-routes.ts` has a route for
 * each call of `SseService`, `stream-controller.ts` the endpoints. `/console/` is the console. With `REDIS_URL` the process
 * is a node of a cluster; `examples/02-cluster` starts three of them. Where the variables of OpenTelemetry name a place, traces
 * and metrics go there.
 *
 *   npm start                                                    then open http://127.0.0.1:3000
 *   curl -N http://127.0.0.1:3000/sse/connect/me
 *   curl -d hello http://127.0.0.1:3000/sse/send/me
 */
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
  drainOnSignals(sse, {
    server: () => {
      // It is asked for when a signal has come; what the tour has beside `sse` must not keep it open.
      void closeTour();
      return server;
    },
    afterwards: () => telemetry?.stop(),
  });
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
