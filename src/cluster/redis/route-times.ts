import type { ResolvedSseOptions } from '../../options/sse-options.js';

const MARGIN_MS = 60_000;

/** How long things of the registry live in Redis, in milliseconds. */
export interface RouteTimes {
  /** A lease without a heartbeat. */
  readonly leaseMs: number;
  /** A route that is not refreshed. */
  readonly ttlMs: number;
  /** The keys of a partition that no node uses any more; outlives everything in them. */
  readonly keyMs: number;
}

export function routeTimes({ node, redis }: ResolvedSseOptions): RouteTimes {
  const ttlMs = redis.connectionTtl * 1000;
  return { leaseMs: node.lease, ttlMs, keyMs: ttlMs + node.lease + MARGIN_MS };
}
