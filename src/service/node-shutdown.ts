import { Drainer } from './drainer.js';
import type { Lifecycle } from './lifecycle.js';
import type { SseNode } from './sse-node.js';

// Long enough for healthy sockets to take a last event, short enough not to hold up whoever closes.
const FAREWELL_MS = 500;

/** Ends a node, gently or at once; each happens once, whoever asks. */
export class NodeShutdown {
  readonly #drainer: Drainer;
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly node: SseNode,
    private readonly lifecycle: Lifecycle,
  ) {
    this.#drainer = new Drainer(node);
  }

  /** With `reliability.gracefulShutdown` off it closes. @param timeout milliseconds until what is left is cut */
  drain(timeout: number): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    if (!this.node.options.reliability.gracefulShutdown) return this.close();
    this.#draining ??= this.#drain(timeout);
    return this.#draining;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #drain(timeout: number): Promise<void> {
    this.lifecycle.drain();
    if (this.lifecycle.joined)
      await this.node.telemetry.upkeep.draining(() => this.#drainer.drain(timeout));
    await this.close();
  }

  async #close(): Promise<void> {
    this.lifecycle.close();
    const released = this.lifecycle.joined ? this.node.releaseRoutes() : undefined;
    for (const connection of [...this.node.store.connections()]) connection.close('shutdown');
    await this.node.departed(FAREWELL_MS);
    await released;
    await this.lifecycle.settled();
    this.node.stop();
    await this.node.coordinator.close();
  }
}
