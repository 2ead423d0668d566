import { nodeIdOf } from '../wire/incarnation.js';
import type { RouteRegistry } from './route-registry.js';

/** Who is in the cluster, asked at most once per heartbeat and after each coming and going that is told. */
export class Membership {
  #count: Promise<number> | undefined;

  constructor(private readonly registry: RouteRegistry) {}

  /** Nodes with a live lease. @throws SseError */
  count(): Promise<number> {
    this.#count ??= this.#ask().catch((error: unknown) => {
      this.#count = undefined;
      throw error;
    });
    return this.#count;
  }

  /** Somebody may have come or gone. */
  forget(): void {
    this.#count = undefined;
  }

  async #ask(): Promise<number> {
    return new Set((await this.registry.incarnations()).map(nodeIdOf)).size;
  }
}
