import type { ClusterNode } from './cluster-node.js';
import type { CommandBus } from './commands.js';
import { nodeIdOf } from './frames.js';
import type { RouteRegistry } from './routes.js';

/** Milliseconds for the others to note that somebody came. */
const GREETING = 250;

/** Who is in the cluster, asked at most once per heartbeat and after each coming and going that is told. */
export class Membership {
  #count: Promise<number> | undefined;

  constructor(
    private readonly node: Pick<ClusterNode, 'inc' | 'nodeId' | 'logger'>,
    private readonly registry: Pick<RouteRegistry, 'incarnations'>,
  ) {}

  /** Nodes with a live lease. @throws SseError */
  count(): Promise<number> {
    this.#count ??= this.#ask().catch((error: unknown) => {
      this.#count = undefined;
      throw error;
    });
    return this.#count;
  }

  /** Lets the others count this node from now on. Never rejects. */
  async greet(bus: Pick<CommandBus, 'askAll'>): Promise<void> {
    const { inc, nodeId, logger } = this.node;
    try {
      const others = (await this.registry.incarnations()).filter(other => other !== inc);
      const { answered } = await bus.askAll(others, { t: 'join' }, GREETING);
      // One that is over and was not reaped does not answer.
      if (![...answered.keys()].some(other => nodeIdOf(other) === nodeId)) return;
      logger.warn('node.id must be unique in a cluster; another node has the same', { nodeId });
    } catch (error) {
      logger.debug('the other nodes were not told of this one', { error });
    }
  }

  /** Somebody may have come or gone. */
  forget(): void {
    this.#count = undefined;
  }

  async #ask(): Promise<number> {
    return new Set((await this.registry.incarnations()).map(nodeIdOf)).size;
  }
}
