import { randomBytes } from 'node:crypto';
import {
  autoOrOff,
  bytes,
  computed,
  count,
  flag,
  milliseconds,
  millisecondsOrOff,
  millisecondsWithin,
  names,
  oneOf,
  oneOrMore,
  optional,
  redisClass,
  redisClient,
  redisCredentials,
  redisUrl,
  seconds,
  secret,
  setting,
  text,
} from './kinds.js';
import { GUARDS, LIMITS } from './limits.js';
import { entries, topicHistories } from './topic-history.js';

/** The longest deadline a single send may have. */
const MAX_DEADLINE_MS = 600_000;

/** What a node id may be: it becomes part of keys and of log lines. */
const NODE_ID = /^[A-Za-z0-9_.-]{1,80}$/;

/**
 * Every setting: its path, kind, default, and text (the comment). The types of the options, the validation, the names in
 * the environment and `docs/settings.md` come from this table. A comment reaches users through the types, and the page
 * through the declaration file; a test compares the default in it with the table.
 */
export const SETTINGS = {
  /** What one client may do, and how long the node keeps its connection. */
  connection: {
    /**
     * Milliseconds without a byte accepted by the socket, although bytes were waiting, after which the connection is
     * stale and closed. Default 30000.
     */
    timeout: setting(milliseconds, 30_000),
    /**
     * Milliseconds within which each client gets a heartbeat comment: one is sent after 80 to 90 % of it; `false`: none,
     * and a dead client is noticed later. Default 30000.
     */
    heartbeat: setting(millisecondsOrOff, 30_000),
    /** Connections that this node accepts; further ones get 503, except takeovers. No connection is evicted. Default 1000. */
    maxConnections: setting(count(1), 1_000),
    /** Milliseconds after which a connection is closed in any case; `false`: no limit. Default `false`. */
    maxAge: setting(millisecondsOrOff, false),
    /** When a connected id connects again: the newer connection wins, or gets 409. Default `takeover`. */
    onDuplicate: setting(oneOf('takeover', 'reject'), 'takeover'),
    /**
     * Takeovers of one id by clients that bring a last id, within `takeoverWindow`, that succeed; the next such client gets
     * 204. Page loads are counted apart: from their twentieth on they are sent away for 30 s and more. Takeovers from a killed
     * node do not count. Default 5.
     */
    takeoverLimit: setting(count(1), 5),
    /** Milliseconds over which takeovers of one id are counted. Default 30000. */
    takeoverWindow: setting(milliseconds, 30_000),
    /**
     * Whether an open HTTP/1 stream releases its request, response, parser and Koa context, which saves several
     * kilobytes per connection. `auto`: where the release of Node allows it and nothing waits for the response; `false`:
     * never. Default `auto`.
     */
    detach: setting(autoOrOff, 'auto'),
    /**
     * Milliseconds of silence on an HTTP/1 socket before TCP asks the client's host for a sign of life; ten probes without
     * an answer end the stream. False: no probes. Default 12000.
     */
    keepAlive: setting(millisecondsOrOff, 12_000),
  },
  /** The Redis in which nodes meet. */
  redis: {
    /**
     * Whether nodes meet in Redis; false: the node is alone, and works. Default: true when `url` or `client` is given.
     */
    enabled: computed(flag, ({ url, client }) => url !== undefined || client !== undefined),
    /** Begins every key and every channel; best ended with a colon. Default `sse:`. */
    prefix: setting(
      text('at most 128 characters without { or }, the last of them no digit', /^[^{}]{0,128}(?<!\d)$/s),
      'sse:',
    ),
    /** Seconds a route lives unless refreshed. Default 3600. */
    connectionTtl: setting(seconds, 3_600),
    /** Ends the name of the Pub/Sub channel of broadcasts, after prefix, database and `:b:`. Default `sse:events`. */
    channel: setting(
      text('1 to 256 characters without a digit, colon, letter, colon in a row', /^(?!.*\d:[a-z]:).{1,256}$/s),
      'sse:events',
    ),
    /** Address of Redis, not together with `client`; without both, or empty, one process. Never printed. No default. */
    url: optional(secret(redisUrl)),
    /**
     * An ioredis client of the application, also for Sentinel or Redis Cluster; duplicated, never reconfigured, frozen or
     * closed. User and password are read from its options before each connect. Not from the
     * environment. No default.
     */
    client: optional(secret(redisClient)),
    /**
     * The class `Redis` of ioredis, for a bundle that cannot find the package by itself: `{ url, class: Redis }`. Not from the
     * environment. No default.
     */
    class: optional(redisClass),
    /** Redis ACL user, in place of that of `url` or `client`. No default. */
    username: optional(text('text')),
    /** Redis password, in place of that of `url` or `client`; never printed. No default. */
    password: optional(secret(text('text'))),
    /**
     * A function that gives `{ username?, password? }` or a promise of it, asked before each connect: for a password that
     * changes. Not together with `username` and `password`. Not from the environment. No default.
     */
    credentials: optional(secret(redisCredentials)),
    /** Hash slots over which the keys are spread; the same on all nodes. Default: 1, on a Redis Cluster 16. */
    partitions: optional(count(1, 16)),
    /**
     * `sharded` needs Redis 7 and keeps the Pub/Sub traffic between nodes of a Redis Cluster to one shard. Default
     * `classic`.
     */
    pubsub: setting(oneOf('classic', 'sharded'), 'classic'),
  },
  /** Scripts; and the repetition of sends and publications. */
  script: {
    /** Further tries of a send or a publication after a failed one; 0: none. Default 3. */
    retryCount: setting(count(0), 3),
    /** Milliseconds between two tries, give or take half. Default 100. */
    retryInterval: setting(milliseconds, 100),
    /** Whether scripts are called by digest; false: the text is sent with each call. Default true. */
    scriptCacheEnabled: setting(flag, true),
  },
  /** Removal of connections whose sockets accept nothing any more. */
  cleanup: {
    /** Whether such connections are removed. Default true. */
    enabled: setting(flag, true),
    /** Milliseconds between two rounds. Default 60000. */
    interval: setting(milliseconds, 60_000),
    /** Milliseconds since the last byte the socket accepted after which a connection is removed. Default 3600000. */
    connectionTtl: setting(milliseconds, 3_600_000),
  },
  /**
   * Which registry operations are one script; and their repetition. The others read with plain commands and then write.
   * A change by another node in between is noticed only by the next comparison (`consistency`), which repairs it.
   */
  atomicOperation: {
    /** Whether any operation is; false overrules the three below. Default true. */
    redisAtomicEnabled: setting(flag, true),
    /** Further tries of a registration, a replay or the like after a failed one; 0: none. Default 3. */
    luaScriptRetryCount: setting(count(0), 3),
    /** Milliseconds between two tries, give or take half. Default 100. */
    luaScriptRetryInterval: setting(milliseconds, 100),
    /** Registering a connection; false: two nodes may both believe for a moment that they own an id. Default true. */
    connectionRegistrationAtomic: setting(flag, true),
    /** Unregistering a connection; false: a registration in between may be removed, and is restored. Default true. */
    connectionUnregistrationAtomic: setting(flag, true),
    /** Removing the routes of dead nodes; false: a route may be removed twice. Default true. */
    expiredConnectionCleanupAtomic: setting(flag, true),
  },
  /** Comparison of the connections of this node with the routes in the cluster. */
  consistency: {
    /** Whether nodes compare. Without it, routes are still refreshed, and repaired after outages. Default true. */
    enabled: setting(flag, true),
    /** Milliseconds between two comparisons of the connections of this node, give or take a tenth. Default 30000. */
    statusCheckInterval: setting(milliseconds, 30_000),
    /**
     * `auto_correct`: a difference that lasts two seconds is repaired. `fail_fast`: it stays, the node is not ready
     * (`INCONSISTENT`) and accepts no new connection until a later comparison finds no difference. Default `auto_correct`.
     */
    inconsistencyHandlingStrategy: setting(oneOf('auto_correct', 'fail_fast'), 'auto_correct'),
    /** Whether a node that repaired something notifies the others, which then compare soon. Default true. */
    interNodeSyncEnabled: setting(flag, true),
    /** Milliseconds between two checks of about 200 random routes of any nodes, and of all leases. Default 60000. */
    routeValidationInterval: setting(milliseconds, 60_000),
  },
  /** Leaks, the end of the service, and the repetition of maintenance. */
  reliability: {
    /**
     * Whether failed calls of kind `maintenance` are repeated, and leaks are detected if `resourceLeakDetection` is true
     * too. The drain does not depend on it. Default true.
     */
    enabled: setting(flag, true),
    /** Further tries of a failed call of kind `maintenance`; 0: none. Default 3. */
    cleanupRetryCount: setting(count(0), 3),
    /** Milliseconds between two tries, give or take half. Default 1000. */
    cleanupRetryInterval: setting(milliseconds, 1_000),
    /** Whether the end of the service is a drain; false: connections are cut. Default true. */
    gracefulShutdown: setting(flag, true),
    /** Milliseconds until a drain cuts the remaining connections. Default 30000. */
    gracefulShutdownTimeout: setting(milliseconds, 30_000),
    /** Whether leaks are detected; a suspect found twice in a row is a leak, and is released. Default true. */
    resourceLeakDetection: setting(flag, true),
    /** Milliseconds between two detections. Default 300000. */
    leakDetectionInterval: setting(milliseconds, 300_000),
  },
  /** This process as a node of the cluster. */
  node: {
    /**
     * Name of this process in receipts and routes, unique in the cluster. Clients see it in `connected`. Default: a random
     * one, which the log line at start (level `info`) names with host and process.
     */
    id: computed(text('1 to 80 characters of A-Z a-z 0-9 _ . -', NODE_ID), () => randomBytes(8).toString('hex')),
    /** Milliseconds without a heartbeat after which the node counts as dead; longer than `heartbeat`. Default 15000. */
    lease: setting(milliseconds, 15_000),
    /** Milliseconds between two proofs of life. Default 5000. */
    heartbeat: setting(milliseconds, 5_000),
  },
  /** Bytes that wait for slow clients. */
  sendBuffer: {
    /** Bytes that may wait for one slow connection. Default 4194304 (4 MiB). */
    maxBytes: setting(bytes, 4_194_304),
    /**
     * Bytes that may wait in the whole process; not less than `maxBytes`. When they are reached, the connection that holds
     * most pays, by `policy`. Default 268435456 (256 MiB).
     */
    maxTotalBytes: setting(bytes, 268_435_456),
    /**
     * What a full send buffer costs: the connection, its oldest waiting events, or the event that does not fit. A client
     * that is disconnected reconnects and resumes; a client that lost events does not. Default `disconnect`.
     */
    policy: setting(oneOf('disconnect', 'drop-oldest', 'drop-newest'), 'disconnect'),
    /**
     * Milliseconds for which writing to many connections keeps the event loop at most, and the same for all sources and
     * replays together; then other work has its turn, and they go on. Default 5.
     */
    slice: setting(milliseconds, 5),
  },
  /** Published events that are kept, so that a client that comes back gets all of them. */
  history: {
    /** Whether published events are kept. Default true. */
    enabled: setting(flag, true),
    /** Newest events kept per topic, and of broadcasts. Default 1000. */
    maxEntries: setting(entries, 1_000),
    /** Milliseconds an event is kept. Default 300000. */
    ttl: setting(milliseconds, 300_000),
    /**
     * Bytes that kept events take in a process without Redis, about; beyond it the oldest ones go, events of resumable
     * sources included. Default 67108864 (64 MiB).
     */
    maxBytes: setting(bytes, 67_108_864),
    /**
     * Bytes of the newest events that each node keeps itself, so that clients that come back are served without Redis; 0:
     * none. Default 16777216 (16 MiB).
     */
    tail: setting(count(0), 16_777_216),
    /**
     * Milliseconds that a node goes on following a topic after its last subscriber left, so that a client that comes back
     * finds it followed; 0: none. Default 10000.
     */
    linger: setting(millisecondsWithin(0), 10_000),
    /**
     * Exceptions by topic pattern, `{ 'news/*': false, 'chat/*': { maxEntries: 50 } }`: a topic name in which `*` stands
     * for any characters, `/` included. `false` keeps nothing. The first matching key wins, in the order of the object
     * (in which JavaScript puts whole numbers first). Broadcasts have no topic: no pattern matches them. In the
     * environment it is JSON. Default `{}`.
     */
    topics: setting(topicHistories, {}),
  },
  /** Direct sends that wait for their client, see `durable`. The same on every node. */
  mailbox: {
    /**
     * Whether connections have one. Each then costs a subscription of its node, and a client that begins anew, without a
     * last event id, gets all that its mailbox has. Default false.
     */
    enabled: setting(flag, false),
    /** Newest events kept per connection id. Default 100. */
    maxEntries: setting(entries, 100),
    /** Milliseconds an event is kept. Default 300000. */
    ttl: setting(milliseconds, 300_000),
  },
  /** Resumable sources: those that run once for all that follow them. The same on every node. */
  source: {
    /** Most events of one source; one more fails it. Default 100000. */
    maxEntries: setting(entries, 100_000),
    /** Milliseconds its events are kept after the last one. Default 3600000. */
    ttl: setting(milliseconds, 3_600_000),
    /** Milliseconds without proof of life after which the node that runs a source counts as lost. Default 10000. */
    lease: setting(milliseconds, 10_000),
  },
  /** Sends to a connection of any node. */
  send: {
    /** `owner`: a receipt has the outcome on the owning node. `none`: the send is not awaited. Default `owner`. */
    ack: setting(oneOf('owner', 'none'), 'owner'),
    /** Milliseconds after which a send without an answer is `unknown`. Default 3000. */
    deadline: setting(millisecondsWithin(1, MAX_DEADLINE_MS), 3_000),
    /** Sends that may wait for their answer at once. Default 10000. */
    maxPending: setting(count(1), 10_000),
  },
  /** Clients that say what they have handled, for sends with `ack: 'client'`. The same on every node. */
  confirmation: {
    /** Whether clients may confirm; without it `ack: 'client'` is refused. Default false. */
    enabled: setting(flag, false),
    /** Milliseconds without a report, although a sender waits for one, after which a client has vanished: `stale`. Default 30000. */
    timeout: setting(milliseconds, 30_000),
  },
  /** Bounds per kind of call to the cluster, so that trouble in one kind does not starve the others. */
  resilience: {
    /** Registrations, and subscriptions of new connections. */
    register: operation(),
    /** Replays of what a client missed. Each waits for its turn within the node, which is no failure. */
    replay: operation({ timeout: MAX_DEADLINE_MS, concurrency: 10_000 }),
    /** Sends. Each has its own deadline (`send.deadline`) and waits for its owner alone: a slow one must not delay others. */
    send: operation({ timeout: MAX_DEADLINE_MS, concurrency: 10_000 }),
    /** Publications and broadcasts. */
    publish: operation(),
    /**
     * Commands to other nodes: closing, subscribing, unsubscribing. Each waits for its owner alone. A node that left
     * `breakerFailures` commands in a row unanswered is asked no more for `breakerCooldown`; commands to other nodes go on.
     */
    command: operation({ timeout: 5_000, concurrency: 10_000 }),
    /** Everything else. */
    maintenance: operation(),
  },
  /** What one event, connection, client or page may not exceed. */
  limits: LIMITS,
  /** Guards of endpoints. */
  guards: GUARDS,
  /**
   * What an answer without a stream says about an error beside its code. `code`: the fixed sentence of the code. `message`:
   * the message of the error, which may name settings, limits, nodes and classes; for development. Either way a 5xx has a
   * `reference` that the log has too. Default `code`.
   */
  disclosure: setting(oneOf('code', 'message'), 'code'),
  /** How clients that are sent away come back: spread out, so that they do not arrive all at once. */
  reconnect: {
    /**
     * Milliseconds a client waits before it reconnects, give or take half; a client that is sent away waits at least these.
     * Default 2000.
     */
    retry: setting(milliseconds, 2_000),
    /** Milliseconds up to which a random part is added; 0: none. Default 5000. */
    jitter: setting(millisecondsWithin(0), 5_000),
    /** Connections per second that a drain closes at most. Default 1000. */
    rate: setting(count(1), 1_000),
    /**
     * Milliseconds between the begin of a drain, when the node is not ready any more, and the first connection that it closes: at
     * most half of the time of the drain. For a balancer that needs longer than `retry` to notice, or that sends plain
     * requests as well; 5000 suits Kubernetes. 0: none. Default 0.
     */
    drainDelay: setting(millisecondsWithin(0), 0),
    /**
     * How a client is sent away that may come back: `stream` is a stream that only says when, since a browser's EventSource
     * gives up at any other status than 200; `status` is 429 or 503 with `Retry-After`, for a balancer that tries the next
     * node. A request whose Accept does not name text/event-stream gets the status. Default `stream`.
     */
    refusal: setting(oneOf('stream', 'status'), 'stream'),
  },
  /** What the node records with OpenTelemetry; without an SDK nothing is recorded. */
  telemetry: {
    /** Whether anything is recorded. Default true. */
    enabled: setting(flag, true),
    /** Keeps connection ids, and error messages that may have one, out of spans. Default false. */
    hideConnectionIds: setting(flag, false),
    /**
     * Event names that metrics distinguish; all others are counted together, since their number has no bound. In the
     * environment: `chat,tick`. Default none.
     */
    eventNames: setting(names(100), []),
    /** Names the spans of publications and deliveries after their topic, which must be few: `publish news`. Default false. */
    topicsInSpanNames: setting(flag, false),
    /** Whether baggage travels with events from node to node. Default false. */
    baggage: setting(flag, false),
  },
  /** New connections while the cluster cannot be reached: served by this node alone, or 503. Default `degrade`. */
  onUnavailable: setting(oneOf('degrade', 'reject'), 'degrade'),
  /** Signatures of all frames that nodes publish. */
  control: {
    /**
     * Signs every frame between nodes and every publication; the same on every node; never printed. Of a list the first
     * secret signs and all verify; in the environment one a line. Default: unsigned.
     */
    secret: optional(secret(oneOrMore(8, 'of at least 16 characters', /^.{16,}$/s))),
    /** Milliseconds after which a signed frame has no effect any more. Default 60000. */
    maxAge: setting(millisecondsWithin(10_000), 60_000),
  },
};

function operation({ timeout = 2_000, concurrency = 256 } = {}) {
  return {
    /**
     * Milliseconds one try of a call may take, and a call may wait for its turn.
     * Default 2000; of `replay` 600000; of `send` 600000; of `command` 5000.
     */
    timeout: setting(milliseconds, timeout),
    /** Calls that run at once. Default 256; of `replay` 10000; of `send` 10000; of `command` 10000. */
    concurrency: setting(count(1), concurrency),
    /** Calls that may wait for their turn, first come, first served; further ones fail at once. Default 10000. */
    queue: setting(count(0), 10_000),
    /** Failures in a row (no answer, `UNAVAILABLE`) after which calls fail at once. Default 5. */
    breakerFailures: setting(count(1), 5),
    /** Milliseconds after that until one call is let through; its success ends the refusals. Default 1000. */
    breakerCooldown: setting(milliseconds, 1_000),
  };
}
