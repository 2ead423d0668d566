import { channel } from 'node:diagnostics_channel';
import type { ClusterOptions, Redis, RedisOptions } from 'ioredis';
import { redisErrorCode } from './failures.js';

/** Milliseconds after which a command counts as unanswered. */
export const COMMAND_TIMEOUT = 1_000;
const CONNECT_TIMEOUT = 2_000;
/** Milliseconds of silence, while commands wait, after which the socket is closed. */
const SOCKET_TIMEOUT = 5_000;
/** Milliseconds between two questions whether Redis has loaded its data. */
const LOADING_RETRY = 1_000;
const SLOTS_REFRESH = 10_000;
const MAX_REDIRECTIONS = 6;

/** Milliseconds before the next try: doubling to two seconds, with a random part, so that nodes do not return together. */
export function backoff(attempt: number): number {
  return Math.min(50 * 2 ** attempt, 2_000) + Math.random() * 200;
}

/**
 * The options of a connection for commands, whatever the options of the application's own client are. With them each call
 * settles within about a second, runs at most once, and never waits in a queue while Redis cannot be reached.
 */
export function commandOptions(seeksMaster = () => true) {
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
    // While Redis loads its data it is asked again this soon, whatever time Redis estimates.
    maxLoadingRetryTime: LOADING_RETRY,
    // It can end in silence or in an unhandled rejection; RedisSubscriber subscribes itself.
    autoResubscribe: false,
    autoResendUnfulfilledCommands: true,
    // Calls are sent in the order they are made.
    enableAutoPipelining: false,
    // 1: reconnect, since the master is elsewhere now, and reject, since our own retry knows what may be repeated.
    reconnectOnError: (error: Error) => (redisErrorCode(error) === 'READONLY' && seeksMaster() ? 1 : false),
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
    retryDelayOnFailover: 0, // ioredis must not resend calls that may have run before their connection closed.
    slotsRefreshInterval: SLOTS_REFRESH,
    shardedSubscribers: false,
    scripts: {},
    redisOptions: commandOptions(),
  } satisfies ClusterOptions;
}

/** The options of a connection for one life of a subscriber; the subscriber opens the next one. */
export function subscriberOptions() {
  return {
    ...commandOptions(),
    // Silence is normal here; the probe finds a dead connection.
    socketTimeout: undefined,
    retryStrategy: null,
  } satisfies RedisOptions;
}

/** Runs work so that an instrumentation of ioredis records none of it. */
export type Quietly = <R>(work: () => R) => R;

/** Where ioredis reports its commands to an instrumentation. */
const COMMANDS = channel('tracing:ioredis:command:start');

/**
 * Has an instrumentation of ioredis record no command of this connection: their arguments have connection ids and events,
 * and the library reports its calls itself. Without an instrumentation it costs a comparison per command.
 */
export function keepQuiet(connection: Redis, quietly: Quietly): void {
  const send = connection.sendCommand.bind(connection);
  // So the instrumentations of OpenTelemetry mark a method that they have replaced.
  const replaced = Object.hasOwn(Reflect.get(connection, 'sendCommand'), '__wrapped');
  connection.sendCommand = (command, stream) =>
    replaced || COMMANDS.hasSubscribers ? quietly(() => send(command, stream)) : send(command, stream);
}
