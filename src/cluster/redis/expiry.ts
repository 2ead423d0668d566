import { SseError } from '../../errors.js';
import { retry } from '../../time.js';
import type { ClusterNode } from './cluster-node.js';
import { nodeIdOf } from './frames.js';
import type { Partition } from './keys.js';
import type { NodeLeases } from './leases.js';
import { expireScript, reapScript } from './scripts.js';

const ROUTES_TO_REAP = 200;
/** A run that finds nothing is one call, so it compares more; that takes Redis less than a millisecond. */
const ROUTES_TO_EXPIRE = 300;
const BATCHES_PER_RUN = 50;
const NOTHING = { removed: 0, more: false };

type ExpiryNode = Pick<ClusterNode, 'inc' | 'options' | 'logger' | 'telemetry'> & {
  readonly gateway: Pick<ClusterNode['gateway'], 'keys' | 'run'>;
};

/**
 * Removes routes of all nodes that are over: those of nodes whose lease ran out, and those that ran out themselves. Every
 * node does it, without a leader; each route is removed by exactly one of them.
 */
export class RouteExpiry {
  constructor(
    private readonly node: ExpiryNode,
    /** Other partitions are left alone: nodes may have been cut off from them together, and must renew first. */
    private readonly leases: Pick<NodeLeases, 'isSteady' | 'clockOf'>,
    /** Called with the incarnation of each node that died. */
    private readonly onDead: (inc: string) => void,
  ) {}

  /** Removes dead nodes with their routes. Returns how many routes were removed. @throws SseError */
  reap(): Promise<number> {
    return this.#inBatches('node', async partition => {
      const overBy = Math.floor(this.leases.clockOf(partition) ?? 0);
      const request = { partition, limit: ROUTES_TO_REAP, overBy, self: undefined };
      const reply = await this.node.gateway.run(reapScript, request);
      if (reply.status === 'NONE') return NOTHING;
      if (reply.status === 'DONE') this.#report(reply.inc);
      return { removed: reply.removed.length, more: true };
    });
  }

  /**
   * Removes routes that ran out: the next part of the round that all nodes share, and further parts as long as there is
   * something to remove. Returns how many were removed. @throws SseError
   */
  expire(): Promise<number> {
    return this.#inBatches('route', async partition => {
      const request = { partition, count: ROUTES_TO_EXPIRE };
      const { status, removed } = await this.node.gateway.run(expireScript, request);
      return { removed: removed.length, more: status === 'MORE' && removed.length > 0 };
    });
  }

  /** Repeats a step in each steady partition while there is more to remove. Returns how much was removed. */
  #inBatches(
    kind: Parameters<ExpiryNode['telemetry']['expiring']>[0],
    step: (partition: Partition) => Promise<{ readonly removed: number; readonly more: boolean }>,
  ): Promise<number> {
    return this.node.telemetry.expiring(kind, async () => {
      let all = 0;
      for (const partition of this.node.gateway.keys.partitions) {
        for (let batch = 0; batch < BATCHES_PER_RUN; batch += 1) {
          // Asked before each try: the nodes may have been cut off together since the one before.
          const { removed, more } = await this.#retry(async () =>
            this.leases.isSteady(partition) ? step(partition) : NOTHING,
          );
          all += removed;
          if (!more) break;
        }
      }
      return all;
    });
  }

  #retry<T>(step: () => Promise<T>): Promise<T> {
    const { options, telemetry } = this.node;
    const { retries, retryPause } = options.resilience.maintenance;
    return retry(step, {
      tries: retries + 1,
      pauseMs: retryPause,
      passing: error => SseError.is(error) && error.retryable,
      onRetry: error => telemetry.retrying('maintenance', error),
    });
  }

  #report(inc: string): void {
    // An earlier lease of this node, which ran out while the node was stalled.
    if (inc === this.node.inc) return;
    this.node.logger.info('a node died; its routes were removed', { nodeId: nodeIdOf(inc) });
    this.onDead(inc);
  }
}
