import { BenchClients } from '../client/bench-clients.js';
import { NodeServer } from '../node-server.js';
import { RunLoad, type Figures } from '../run-load.js';

/** What this library under Koa takes per connection and per delivery at some number of connections. */
export async function measureSize(connections: number, deliveries: number): Promise<Figures> {
  const env = { SSE_CONNECTION_MAX_CONNECTIONS: String(connections) };
  const server = await NodeServer.start('koa', env);
  const clients = BenchClients.start();
  try {
    const load = new RunLoad(server, clients, deliveries);
    const opened = await load.open(connections);
    return { ...opened, ...(await load.load(['lone', 'sustained'])) };
  } finally {
    await clients.stop();
    await server.stop();
  }
}
