import type { ResolvedSseOptions } from './sse-options.js';

/** Two settings that are sound by themselves but not together. */
export interface Contradiction {
  /** The settings it is about; the first is the one to change. */
  readonly paths: readonly [string, ...string[]];
  /** What the first must be in view of the others, worded to follow "must be". */
  readonly rule: string;
}

/** The contradictions in complete settings; empty when there is none. */
export function contradictions(options: ResolvedSseOptions): Contradiction[] {
  const { redis, node, sendBuffer, limits } = options;
  const found: Contradiction[] = [];
  const check = (sound: boolean, rule: string, ...paths: Contradiction['paths']) => {
    if (!sound) found.push({ paths, rule });
  };
  const reachable = redis.url !== undefined || redis.client !== undefined;
  check(
    !redis.enabled || reachable,
    'false without redis.url and redis.client',
    'redis.enabled',
    'redis.url',
    'redis.client',
  );
  check(
    redis.url === undefined || redis.client === undefined,
    'absent when redis.url is given',
    'redis.client',
    'redis.url',
  );
  check(
    node.lease > node.heartbeat,
    `longer than node.heartbeat (${node.heartbeat})`,
    'node.lease',
    'node.heartbeat',
  );
  check(
    sendBuffer.maxTotalBytes >= sendBuffer.maxBytes,
    `at least sendBuffer.maxBytes (${sendBuffer.maxBytes})`,
    'sendBuffer.maxTotalBytes',
    'sendBuffer.maxBytes',
  );
  check(
    limits.maxEventBytes <= sendBuffer.maxTotalBytes,
    `at most sendBuffer.maxTotalBytes (${sendBuffer.maxTotalBytes})`,
    'limits.maxEventBytes',
    'sendBuffer.maxTotalBytes',
  );
  return found;
}
