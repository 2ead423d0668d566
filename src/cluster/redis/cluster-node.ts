import type { ClusterListener } from '../../contracts/cluster.js';
import type { Logger } from '../../contracts/logger.js';
import type { MaintenanceTelemetry } from '../../contracts/telemetry.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { nodeIdOf } from './frames.js';
import type { RedisGateway } from './gateway.js';

/** The values that the parts of a coordinator share: the identity of this node, its gateway to Redis, and its listener. */
export interface ClusterNode {
  readonly nodeId: string;
  /** This life of the node. */
  readonly inc: string;
  readonly options: ResolvedSseOptions;
  readonly gateway: RedisGateway;
  readonly listener: ClusterListener;
  readonly logger: Logger;
  readonly telemetry: MaintenanceTelemetry;
}

/** How many nodes the cluster has; asked at most once per heartbeat and after each node that joined or left. */
export class Membership {
  #count: Promise<number> | undefined;

  /** @param incarnations asks the cluster for those with a live lease */
  constructor(private readonly incarnations: () => Promise<readonly string[]>) {}

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
    return new Set((await this.incarnations()).map(nodeIdOf)).size;
  }
}
