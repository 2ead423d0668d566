import { nodeIdOf } from './frames.js';
import type { RouteRegistry } from './routes.js';

/** How many nodes the cluster has; asked at most once per heartbeat and after each node that joined or left. */
export class Membership {
  #count: Promise<number> | undefined;

  constructor(private readonly registry: Pick<RouteRegistry, 'incarnations'>) {}

  /** Nodes with a live lease. @throws SseError */
  count(): Promise<number> {
    this.#count ??= this.#ask().catch((error: unknown) => {
      this.#count = undefined;
      throw error;
    });
    return this.#count;
  }

  /** A node may have joined or left, so the next count is asked again. */
  forget(): void {
    this.#count = undefined;
  }

  async #ask(): Promise<number> {
    return new Set((await this.registry.incarnations()).map(nodeIdOf)).size;
  }
}
