import { createServer, type AddressInfo } from 'node:net';

/**
 * A port that is free at present. With `bus`, the port 10,000 above is free too, as a node of a Redis Cluster
 * needs.
 */
export async function freePort({ bus = false } = {}): Promise<number> {
  for (let tries = 0; tries < 50; tries += 1) {
    const port = await probe(0);
    if (!bus) return port;
    if (port + 10_000 < 65_536 && (await probe(port + 10_000).catch(() => 0)) !== 0) return port;
  }
  throw new Error('no free port');
}

function probe(wanted: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once('error', reject);
    server.listen(wanted, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo;
      server.close(() => resolve(port));
    });
  });
}
