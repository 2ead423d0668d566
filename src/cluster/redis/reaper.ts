import { setTimeout as delay } from 'node:timers/promises';
import type { MaintenanceTelemetry } from '../../contracts/telemetry.js';
import { SseError } from '../../errors.js';
import type { ReliabilitySettings } from '../../options/sse-options.js';
import type { ClusterNode } from './cluster-node.js';
import { nodeIdOf } from './frames.js';
import type { RedisGateway } from './gateway.js';
import { reapScript } from './scripts/reap-script.js';
import { sweepScript } from './scripts/sweep-script.js';

const ROUTES_PER_CALL = 200;
/** A run that finds nothing is one call, so that is larger; it takes Redis less than a millisecond. */
const ROUTES_PER_LOOK = 300;
const BATCHES_PER_RUN = 50;

type ReaperNode = Pick<ClusterNode, 'inc' | 'options' | 'logger' | 'telemetry'> & {
  readonly gateway: Pick<RedisGateway, 'keys' | 'run'>;
};

/**
 * Removes what nobody answers for any more: the routes of nodes whose lease is over, and routes that ran out. Every node
 * does it, without a leader; each route is removed by exactly one of them.
 */
export class Reaper {
  readonly #retry: CleanupRetry;

  constructor(
    private readonly node: ReaperNode,
    /** Told the incarnation of a node that died. */
    private readonly onDead: (inc: string) => void,
  ) {
    this.#retry = new CleanupRetry(node.options.reliability, node.telemetry);
  }

  /** Removes dead nodes with their routes. Returns how many routes went. @throws SseError */
  reap(): Promise<number> {
    return this.node.telemetry.cleaning('node', () => this.#reap());
  }

  async #reap(): Promise<number> {
    let removed = 0;
    for (const partition of this.node.gateway.keys.partitions) {
      for (let batch = 0; batch < BATCHES_PER_RUN; batch += 1) {
        const request = { partition, limit: ROUTES_PER_CALL, graceMs: 0, self: undefined };
        const reply = await this.#retry.run(() => this.node.gateway.run(reapScript, request));
        if (reply.status === 'NONE') break;
        removed += reply.removed.length;
        if (reply.status === 'DONE') this.#tell(reply.inc);
      }
    }
    return removed;
  }

  /**
   * Removes routes that ran out: the next part of the round that all nodes share, and further parts as long as there is
   * something to remove. Returns how many went. @throws SseError
   */
  sweep(): Promise<number> {
    return this.node.telemetry.cleaning('route', () => this.#sweep());
  }

  async #sweep(): Promise<number> {
    let removed = 0;
    for (const partition of this.node.gateway.keys.partitions) {
      for (let batch = 0; batch < BATCHES_PER_RUN; batch += 1) {
        const request = { partition, count: ROUTES_PER_LOOK };
        const reply = await this.#retry.run(() => this.node.gateway.run(sweepScript, request));
        removed += reply.removed.length;
        if (reply.status === 'WRAPPED' || reply.removed.length === 0) break;
      }
    }
    return removed;
  }

  #tell(inc: string): void {
    // An earlier lease of its own, over while the node was stalled.
    if (inc === this.node.inc) return;
    this.node.logger.info('a node died; its routes were removed', { nodeId: nodeIdOf(inc) });
    this.onDead(inc);
  }
}

/** Repeats a step of a cleanup that failed, as `reliability.cleanupRetry*` says; not at all when `reliability` is off. */
export class CleanupRetry {
  constructor(
    private readonly settings: Pick<
      ReliabilitySettings,
      'enabled' | 'cleanupRetryCount' | 'cleanupRetryInterval'
    >,
    private readonly telemetry: Pick<MaintenanceTelemetry, 'retrying'>,
  ) {}

  /** @throws what the last try threw, or the first that no repetition cures */
  async run<T>(step: () => Promise<T>): Promise<T> {
    const { enabled, cleanupRetryCount, cleanupRetryInterval } = this.settings;
    for (let left = enabled ? cleanupRetryCount : 0; ; left -= 1) {
      try {
        return await step();
      } catch (error) {
        if (left === 0 || !SseError.is(error) || !error.retryable) throw error;
        this.telemetry.retrying('maintenance', error);
        // Nodes that failed together must not try again together.
        await delay(cleanupRetryInterval * (0.5 + Math.random()), undefined, { ref: false });
      }
    }
  }
}
