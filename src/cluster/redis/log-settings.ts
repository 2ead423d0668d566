import { randomBytes } from 'node:crypto';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import type { RedisGateway } from '../../redis/redis-gateway.js';
import type { LogRequest } from '../../redis/scripts/publish-script.js';

/** More than clocks differ and replication lags. */
const FENCE_MS = 60_000;
/** The log remembers what it had longer than it has it, so that an old cursor meets a gap and not nothing. */
const MEMORY_FACTOR = 10;

/** What every call to the log carries. */
export function logRequest(
  { keys }: RedisGateway,
  { history, mailbox }: ResolvedSseOptions,
): LogRequest {
  const own = Object.values(history.topics).map(topic => (topic === false ? 0 : (topic.ttl ?? 0)));
  return {
    meta: keys.logMeta,
    metaMs: Math.max(history.ttl, mailbox.ttl, ...own) * MEMORY_FACTOR,
    newEpoch: randomBytes(6).toString('hex'),
    fenceMs: FENCE_MS,
  };
}
