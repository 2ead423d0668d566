import type { AddressInfo } from 'node:net';
import { SseError } from '../../src/index.js';
import { createDemo } from './create-demo.js';

const { PORT = '3000', HOST = '127.0.0.1' } = process.env;

try {
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
    sse.drain().then(() => {
      server.close();
      server.closeAllConnections();
      process.exit(0);
    }, fail);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
} catch (error) {
  fail(error);
}

function fail(error: unknown): never {
  console.error(SseError.is(error) ? `${error.code}: ${error.message}` : error);
  process.exit(1);
}
