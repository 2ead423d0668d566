import type { ClusterOptions, RedisOptions } from 'ioredis';
import { redisErrorCode } from './redis-failure.js';

/** Milliseconds after which a command counts as unanswered. */
const COMMAND_TIMEOUT = 1_000;
const CONNECT_TIMEOUT = 2_000;
/** Milliseconds of silence, while commands wait, after which the socket is given up. */
const SOCKET_TIMEOUT = 5_000;
/** Milliseconds between two looks whether Redis has loaded its data. */
const LOADING_RETRY = 1_000;
const SLOTS_REFRESH = 10_000;
const MAX_REDIRECTIONS = 6;

/** Milliseconds before the next try: doubling to two seconds, with a random part so that nodes do not come at once. */
export function backoff(attempt: number): number {
  return Math.min(50 * 2 ** attempt, 2_000) + Math.random() * 200;
}

/**
 * What a connection for commands must be set to, whatever the application's own client is set to. Together they make
 * each call settle within a second or so, run at most once, and never wait in a queue while Redis is away.
 */
export function commandOptions() {
  return {
    lazyConnect: true,
    enableReadyCheck: true,
    // A full queue would send minutes-old writes after an outage; and ioredis would resend what may have run.
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    commandTimeout: COMMAND_TIMEOUT,
    connectTimeout: CONNECT_TIMEOUT,
    socketTimeout: SOCKET_TIMEOUT,
    keepAlive: 10_000,
    // While Redis loads its data it is asked again this soon, whatever it guesses.
    maxLoadingRetryTime: LOADING_RETRY,
    // It can end in silence or in an unhandled rejection; RedisSubscriber subscribes itself.
    autoResubscribe: false,
    autoResendUnfulfilledCommands: true,
    // Calls are sent in the order they are made.
    enableAutoPipelining: false,
    // 1: reconnect, since the master is elsewhere now, and reject, since our own retry knows what may be repeated.
    reconnectOnError: error => (redisErrorCode(error) === 'READONLY' ? 1 : false),
    retryStrategy: backoff,
    readOnly: false,
    stringNumbers: false,
    replyMapping: 'legacy',
    scripts: {},
  } satisfies RedisOptions;
}

/** The same for a Redis Cluster. */
export function clusterOptions() {
  return {
    lazyConnect: true,
    enableOfflineQueue: false,
    enableReadyCheck: true,
    enableAutoPipelining: false,
    scaleReads: 'master',
    maxRedirections: MAX_REDIRECTIONS,
    // 0: ioredis must not resend what may have run before its connection closed.
    retryDelayOnFailover: 0,
    slotsRefreshInterval: SLOTS_REFRESH,
    shardedSubscribers: false,
    clusterRetryStrategy: backoff,
    scripts: {},
    redisOptions: commandOptions(),
  } satisfies ClusterOptions;
}

/** What a connection for one life of a subscriber must be set to; its owner opens the next one. */
export function subscriberOptions() {
  return {
    ...commandOptions(),
    // Silence is normal here; the probe finds a dead connection.
    socketTimeout: undefined,
    retryStrategy: null,
  } satisfies RedisOptions;
}
