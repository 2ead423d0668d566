import type { AddressInfo } from 'node:net';
import { SseError } from '../../src/index.js';

const { PORT = '3000', HOST = '127.0.0.1', NODE_ID, OTEL_EXPORTER_OTLP_ENDPOINT } = process.env;

try {
  const stopTelemetry = OTEL_EXPORTER_OTLP_ENDPOINT ? await startTelemetry() : undefined;
  // Not before: telemetry takes hold of modules when they are loaded.
  const { createDemo } = await import('./create-demo.js');
  const { app, sse, coordinator } = await createDemo(process.env);
  await sse.start();
  const server = app.listen(Number(PORT), HOST);
  server.once('error', fail);
  server.once('listening', () => {
    const { port } = server.address() as AddressInfo;
    console.log(
      `listening on http://${HOST}:${port} node=${sse.nodeId} coordinator=${coordinator}`,
    );
  });

  let stopping = false;
  const stop = (): void => {
    if (stopping) process.exit(1);
    stopping = true;
    // The listener stays open meanwhile: clients that come are told to go elsewhere.
    const leave = async (): Promise<void> => {
      await sse.drain();
      server.close();
      server.closeAllConnections();
      await stopTelemetry?.();
      process.exit(0);
    };
    leave().catch(fail);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
} catch (error) {
  fail(error);
}

/** Loaded only when it is wanted, so that it costs nothing otherwise. */
async function startTelemetry(): Promise<() => Promise<void>> {
  const telemetry = await import('../05-telemetry/start-telemetry.js');
  return telemetry.startTelemetry(NODE_ID);
}

function fail(error: unknown): never {
  console.error(SseError.is(error) ? `${error.code}: ${error.message}` : error);
  process.exit(1);
}
