import type { ClientConnection } from '../connection/client-connection.js';
import { connectedFrame } from './connected-frame.js';
import type { SseNode } from './sse-node.js';

const LOOK_MS = 500;

/**
 * Connections that opened while the cluster could not be reached (`onUnavailable: 'degrade'`): known to this node alone,
 * they get its broadcasts and direct sends. Once the cluster is back they are sent away with reason `gap`, at the pace of
 * a drain, so that they come again, are registered, and get what they missed from the cursor they still have.
 */
export class DegradedConnections {
  readonly #connections = new Set<ClientConnection>();
  #timer: NodeJS.Timeout | undefined;

  constructor(private readonly node: SseNode) {}

  /** Opens a stored connection without the cluster. Its first event carries no id: the client keeps the one it has. */
  open(connection: ClientConnection): void {
    this.node.store.promote(connection)?.close('superseded');
    connection.open(connectedFrame(connection, this.node.options, undefined));
    // An entry of the log would move the client past what it missed, and nobody would know.
    connection.goLive(undefined);
    this.#connections.add(connection);
    this.#timer ??= setInterval(() => this.#look(), LOOK_MS).unref();
  }

  #look(): void {
    const { reachable } = this.node.coordinator.status();
    // The nodes are back together, and would be stormed together.
    const paced = Math.max(1, Math.ceil((this.node.options.reconnect.rate * LOOK_MS) / 1000));
    let left = reachable ? paced : 0;
    for (const connection of this.#connections) {
      if (connection.state.kind === 'open' && left > 0) {
        left -= 1;
        connection.close('gap');
      }
      if (connection.state.kind !== 'open') this.#connections.delete(connection);
    }
    if (this.#connections.size > 0) return;
    clearInterval(this.#timer);
    this.#timer = undefined;
  }
}
