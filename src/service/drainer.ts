import type { LocalConnection } from '../contracts/connection-store.js';
import { atMost } from './at-most.js';
import type { SseNode } from './sse-node.js';

const WAVE_MS = 50;
// A cluster that does not answer must not hold up the clients; what it keeps of this node expires.
const RELEASE = 0.2;
const LONGEST_RELEASE_MS = 2000;
// What remains for sockets to take their last bytes when sources used the whole time.
const RESERVE = 0.2;
// Healthy clients are gone long before an impatient supervisor kills the process.
const LONGEST_SPREAD_MS = 8000;

/**
 * Sends this node's clients away without a storm: paced waves, each client with a reconnection time of its own, sources
 * last. What has not left when the time is over is cut.
 */
export class Drainer {
  constructor(private readonly node: SseNode) {}

  /** @param timeout milliseconds until everything is cut */
  async drain(timeout: number): Promise<void> {
    const deadline = Date.now() + timeout;
    const connections = [...this.node.store.connections()];
    // At once, so that none registers a route after the release.
    for (const connection of connections) {
      if (connection.state.kind === 'opening') connection.close('draining');
    }
    await atMost(Math.min(timeout * RELEASE, LONGEST_RELEASE_MS), this.node.releaseRoutes());
    const idle = connections.filter(({ state, piping }) => state.kind === 'open' && !piping);
    await this.#closeInWaves(idle, (deadline - Date.now()) * (1 - RESERVE));
    await this.#finishSources(deadline - timeout * RESERVE);
    await this.node.departed(Math.max(0, deadline - Date.now()));
    await this.#finishSends(deadline);
  }

  async #closeInWaves(connections: readonly LocalConnection[], time: number): Promise<void> {
    const spread = Math.min(LONGEST_SPREAD_MS, time);
    const paced = Math.ceil((this.node.options.reconnect.rate * WAVE_MS) / 1000);
    const forced = Math.ceil(connections.length / Math.max(1, Math.floor(spread / WAVE_MS)));
    const size = Math.max(1, paced, forced);
    for (let from = 0; from < connections.length; from += size) {
      if (from > 0) await wave();
      if (this.node.store.size === 0) return;
      for (const connection of connections.slice(from, from + size)) {
        if (!connection.piping) connection.close('draining');
      }
    }
  }

  async #finishSources(until: number): Promise<void> {
    const busy = (): boolean => [...this.node.store.connections()].some(({ piping }) => piping);
    while (busy() && Date.now() < until) await wave();
    for (const connection of [...this.node.store.connections()]) connection.close('draining');
  }

  /** Whoever sent something is still to learn what became of it. */
  async #finishSends(until: number): Promise<void> {
    while (this.node.pendingSends > 0 && Date.now() < until) await wave();
  }
}

function wave(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, WAVE_MS));
}
