import { z } from 'zod';
import { defaultNodeId, NODE_ID } from './node-id.js';
import { rule } from './setting-rules.js';
import { topicHistories } from './topic-histories.js';

const MAX_HISTORY_ENTRIES = 1_000_000;
const MAX_COUNTED_EVENTS = 100;

/** The longest deadline a single send may have. */
const MAX_DEADLINE_MS = 600_000;

const operation = ({ timeout = 2_000, concurrency = 256 } = {}) =>
  rule
    .group({
      timeout: rule.milliseconds().default(timeout),
      concurrency: rule.count(1).default(concurrency),
      queue: rule.count(0).default(10_000),
      breakerFailures: rule.count(1).default(5),
      breakerCooldown: rule.milliseconds().default(1_000),
    })
    .prefault({});

/**
 * Every setting: its place, its rule, its default. The environment's names, the list of known keys
 * and the messages are derived from it. `redis.enabled` has no default here, because it depends on
 * other settings.
 */
export const optionsSchema = rule.group({
  connection: rule
    .group({
      timeout: rule.milliseconds().default(30_000),
      heartbeat: rule.millisecondsOrOff().default(30_000),
      maxConnections: rule.count(1).default(1_000),
      maxAge: rule.millisecondsOrOff().default(false),
      onDuplicate: rule.oneOf('takeover', 'reject').default('takeover'),
      takeoverLimit: rule.count(1).default(5),
      takeoverWindow: rule.milliseconds().default(30_000),
      detach: rule.autoOrOff().default('auto'),
    })
    .prefault({}),
  redis: rule
    .group({
      enabled: rule.flag().optional(),
      prefix: rule.text('at most 128 characters without { or }', /^[^{}]{0,128}$/s).default('sse:'),
      connectionTtl: rule.seconds().default(3_600),
      channel: rule.text('1 to 256 characters', /^.{1,256}$/s).default('sse:events'),
      url: rule.text('a redis:// or rediss:// URL', /^rediss?:\/\/\S+$/).optional(),
      client: z.custom<object>(isClient, 'a Redis client, an object').optional(),
      username: rule.text('text').optional(),
      password: rule.text('text').optional(),
      partitions: rule.count(1, 16).optional(),
      pubsub: rule.oneOf('classic', 'sharded').default('classic'),
    })
    .prefault({}),
  script: rule
    .group({
      retryCount: rule.count(0).default(3),
      retryInterval: rule.milliseconds().default(100),
      scriptCacheEnabled: rule.flag().default(true),
    })
    .prefault({}),
  cleanup: rule
    .group({
      enabled: rule.flag().default(true),
      interval: rule.milliseconds().default(60_000),
      connectionTtl: rule.milliseconds().default(3_600_000),
    })
    .prefault({}),
  atomicOperation: rule
    .group({
      redisAtomicEnabled: rule.flag().default(true),
      luaScriptRetryCount: rule.count(0).default(3),
      luaScriptRetryInterval: rule.milliseconds().default(100),
      connectionRegistrationAtomic: rule.flag().default(true),
      connectionUnregistrationAtomic: rule.flag().default(true),
      expiredConnectionCleanupAtomic: rule.flag().default(true),
    })
    .prefault({}),
  consistency: rule
    .group({
      enabled: rule.flag().default(true),
      statusCheckInterval: rule.milliseconds().default(30_000),
      inconsistencyHandlingStrategy: rule
        .oneOf('auto_correct', 'fail_fast')
        .default('auto_correct'),
      interNodeSyncEnabled: rule.flag().default(true),
      routeValidationInterval: rule.milliseconds().default(60_000),
    })
    .prefault({}),
  reliability: rule
    .group({
      enabled: rule.flag().default(true),
      cleanupRetryCount: rule.count(0).default(3),
      cleanupRetryInterval: rule.milliseconds().default(1_000),
      gracefulShutdown: rule.flag().default(true),
      gracefulShutdownTimeout: rule.milliseconds().default(30_000),
      resourceLeakDetection: rule.flag().default(true),
      leakDetectionInterval: rule.milliseconds().default(300_000),
    })
    .prefault({}),
  node: rule
    .group({
      id: rule
        .text('1 to 80 characters of A-Z a-z 0-9 _ . -', NODE_ID)
        .default(() => defaultNodeId()),
      lease: rule.milliseconds().default(15_000),
      heartbeat: rule.milliseconds().default(5_000),
    })
    .prefault({}),
  sendBuffer: rule
    .group({
      maxBytes: rule.bytes().default(4_194_304),
      maxTotalBytes: rule.bytes().default(268_435_456),
      policy: rule.oneOf('disconnect', 'drop-oldest', 'drop-newest').default('disconnect'),
      slice: rule.milliseconds().default(5),
    })
    .prefault({}),
  history: rule
    .group({
      enabled: rule.flag().default(true),
      maxEntries: rule.count(1, MAX_HISTORY_ENTRIES).default(1_000),
      ttl: rule.milliseconds().default(300_000),
      topics: topicHistories({
        maxEntries: rule.count(1, MAX_HISTORY_ENTRIES).optional(),
        ttl: rule.milliseconds().optional(),
      }).prefault({}),
    })
    .prefault({}),
  mailbox: rule
    .group({
      enabled: rule.flag().default(false),
      maxEntries: rule.count(1, MAX_HISTORY_ENTRIES).default(100),
      ttl: rule.milliseconds().default(300_000),
    })
    .prefault({}),
  source: rule
    .group({
      maxEntries: rule.count(1, MAX_HISTORY_ENTRIES).default(100_000),
      ttl: rule.milliseconds().default(3_600_000),
      lease: rule.milliseconds().default(10_000),
    })
    .prefault({}),
  send: rule
    .group({
      ack: rule.oneOf('owner', 'none').default('owner'),
      deadline: rule.milliseconds(1, MAX_DEADLINE_MS).default(3_000),
      maxPending: rule.count(1).default(10_000),
    })
    .prefault({}),
  resilience: rule
    .group({
      register: operation(),
      // Each send has a deadline of its own, and waits for its owner alone: one that is slow must not hold up the others.
      send: operation({ timeout: MAX_DEADLINE_MS, concurrency: 10_000 }),
      publish: operation(),
      maintenance: operation(),
    })
    .prefault({}),
  limits: rule
    .group({
      maxEventBytes: rule.bytes().default(1_048_576),
      maxTopicsPerConnection: rule.count(0).default(128),
    })
    .prefault({}),
  reconnect: rule
    .group({
      retry: rule.milliseconds().default(2_000),
      jitter: rule.milliseconds(0).default(5_000),
      rate: rule.count(1).default(1_000),
    })
    .prefault({}),
  telemetry: rule
    .group({
      enabled: rule.flag().default(true),
      hideConnectionIds: rule.flag().default(false),
      eventNames: rule.names(MAX_COUNTED_EVENTS).default(() => []),
      baggage: rule.flag().default(false),
    })
    .prefault({}),
  onUnavailable: rule.oneOf('degrade', 'reject').default('degrade'),
  control: rule
    .group({ secret: rule.text('at least 16 characters', /^.{16,}$/s).optional() })
    .prefault({}),
});

function isClient(value: unknown): boolean {
  return typeof value === 'object' ? value !== null : typeof value === 'function';
}
