import { RunLoad, type Load } from '../run-load.js';
import { peersInstalled } from '../peer.js';
import type { ClusterRound } from './cluster-round.js';
import { CrossNodeServer } from './cross-node-server.js';
import type { Measured } from './figures.js';

const OUTSTANDING = 8;
const LOADS: readonly Load[] = ['lone', 'sustained'];

/** Broadcasts of one node to the connections of another: what each delivery costs the other, and how many it does a second. */
export async function measureFanOut(round: ClusterRound, connections: number, deliveries: number): Promise<Measured> {
  const measured: Record<string, Measured[string]> = {};
  if (peersInstalled()) {
    const { sender, receiver } = await round.pair('socket-io-node');
    const path = '/socket.io/?EIO=4&transport=websocket';
    const server = new CrossNodeServer(sender, receiver, 'socket.io', path);
    const load = new RunLoad(server, round.clients(), deliveries, OUTSTANDING);
    const opened = await load.open(connections);
    measured['socket-io'] = { ...opened, ...(await load.load(LOADS)) };
    await server.stop();
  }
  const { sender, receiver } = await round.pair('library-node');
  const server = new CrossNodeServer(sender, receiver, 'event-stream', '/');
  const load = new RunLoad(server, round.clients(), deliveries, OUTSTANDING);
  const opened = await load.open(connections);
  for (const what of ['broadcast', 'broadcast-history']) {
    server.what = what;
    measured[what] = { ...opened, ...(await load.load(LOADS)) };
  }
  await server.stop();
  return measured;
}
