import { atMost } from './at-most.js';
import { Drainer } from './drainer.js';
import type { Lifecycle } from './lifecycle.js';
import type { ResumableSources } from './resumable-sources.js';
import type { SseNode } from './sse-node.js';

// Long enough for healthy sockets to take a last event, short enough not to hold up whoever closes.
const FAREWELL_MS = 500;

// What remains of a drain is for telling that a source was given up, and for leaving the cluster.
const SOURCES_SHARE = 0.8;
const LEAVING_SHARE = 0.1;
const LONGEST_LEAVING_MS = 2000;

/** Ends a node, gently or at once; each happens once, whoever asks. */
export class NodeShutdown {
  readonly #drainer: Drainer;
  #draining: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  constructor(
    private readonly node: SseNode,
    private readonly lifecycle: Lifecycle,
    private readonly sources: ResumableSources,
  ) {
    this.#drainer = new Drainer(node);
  }

  /**
   * With `reliability.gracefulShutdown` off it closes.
   * @param timeout milliseconds after which it is over, whoever does not answer; what is left is cut shortly before
   */
  drain(timeout: number): Promise<void> {
    if (this.#closing !== undefined) return this.#closing;
    const { gracefulShutdown } = this.node.options.reliability;
    this.#draining ??= atMost(timeout, gracefulShutdown ? this.#drain(timeout) : this.close());
    return this.#draining;
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #drain(timeout: number): Promise<void> {
    this.lifecycle.drain();
    if (this.lifecycle.joined)
      await this.node.telemetry.upkeep.draining(async () => {
        // Their followers are elsewhere soon, and hear the rest there.
        const finished = this.sources.settled(timeout * SOURCES_SHARE);
        const leaving = Math.min(timeout * LEAVING_SHARE, LONGEST_LEAVING_MS);
        await this.#drainer.drain(timeout - leaving);
        await finished;
      });
    await this.close();
  }

  async #close(): Promise<void> {
    this.lifecycle.close();
    const released = this.lifecycle.joined ? this.node.releaseRoutes() : undefined;
    for (const connection of [...this.node.store.connections()]) connection.close('shutdown');
    await this.node.departed(FAREWELL_MS);
    // Leaving the cluster releases what is left.
    if (released !== undefined) await atMost(FAREWELL_MS, released);
    await this.lifecycle.settled();
    await this.sources.stop();
    this.node.stop();
    await this.node.coordinator.close();
  }
}
