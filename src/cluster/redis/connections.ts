import { createRequire } from 'node:module';
import type * as Ioredis from 'ioredis';
import type { Cluster, ClusterOptions, Redis, RedisOptions } from 'ioredis';
import { SseError, type UnavailableCode } from '../../errors.js';
import { withTimeout } from '../../time.js';

/** Where Redis is: the settings `redis.url`, `redis.client`, `redis.username` and `redis.password`. */
export interface RedisAddress {
  readonly url: string | undefined;
  readonly client: object | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
}

/**
 * Makes the connections of one node: one for commands, and one for each subscriber. A client of the application is only
 * copied (single Redis, Sentinel, Redis Cluster); it is never used, changed or closed. No connection opens before `open`.
 */
export class RedisConnections {
  /** For commands. */
  readonly command: Redis | Cluster;
  readonly #cluster: Cluster | undefined;

  /** @throws SseError `INVALID_OPTION` when there is no address, or the client is none of ioredis or has a `keyPrefix`. */
  constructor({ url, client, username, password }: RedisAddress) {
    if (client !== undefined) this.command = copyOf(client);
    else if (url !== undefined) {
      const account = {
        ...(username !== undefined && { username }),
        ...(password !== undefined && { password }),
      };
      this.command = new (loadIoredis().Redis)(url, { ...commandOptions(), ...account });
    } else {
      throw new SseError('INVALID_OPTION', 'redis.url or redis.client must be given, got neither');
    }
    this.#cluster = isCluster(this.command) ? this.command : undefined;
    // ioredis connects a master with its first command, and fails the commands that come meanwhile. So each master gets a
    // ping; not before ready, because ioredis' own check would fail then.
    const cluster = this.#cluster;
    cluster?.on('ready', () => void this.#wakeMasters());
    cluster?.on('+node', () => {
      if (cluster.status === 'ready') void this.#wakeMasters();
    });
  }

  /** Whether it is a Redis Cluster. */
  get cluster(): boolean {
    return this.#cluster !== undefined;
  }

  /** Number of the database; 0 in a Redis Cluster, which has no other. */
  get database(): number {
    return isCluster(this.command) ? 0 : (this.command.options.db ?? 0);
  }

  /**
   * Connects for commands, in a Redis Cluster to every master that answers.
   * @throws the client's error when the first try fails; the client goes on trying.
   */
  async open(): Promise<void> {
    await firstTry(this.command);
    await this.#wakeMasters();
  }

  /**
   * A new connection to subscribe with. It is not connected yet, and does not reconnect. In a Redis Cluster it goes to the
   * master of `near`, a key or sharded channel, or, without one, to a master that varies with `attempt`.
   * @throws SseError `UNAVAILABLE` when no such master is known at present.
   */
  subscriber(attempt: number, near?: string): Redis {
    // The connection before may have ended because slots or masters moved. This takes effect with the next attempt.
    if (attempt > 0) this.#cluster?.refreshSlotsCache(() => undefined);
    const pattern = this.#cluster === undefined ? this.command : master(this.#cluster, attempt, near);
    if (pattern === undefined || isCluster(pattern)) {
      throw new SseError('UNAVAILABLE', 'a master of the Redis Cluster must be known, got none yet');
    }
    return pattern.duplicate(subscriberOptions());
  }

  /** Connects to each master. A master that does not answer is tried again by the commands that need it. */
  async #wakeMasters(): Promise<void> {
    const masters = this.#cluster?.nodes('master') ?? [];
    await Promise.all(masters.map(node => node.ping().catch(() => undefined)));
  }
}

/** Milliseconds after which a connection that is not ready counts as failed; Redis may be loading its data. */
const FIRST_TRY = 3_000;

/** Settles with the first try. `connect` of a Cluster does not settle when the cluster is down. */
async function firstTry(command: Redis | Cluster): Promise<void> {
  let end: (failure?: unknown) => void = () => undefined;
  const onReady = (): void => end();
  const onClose = (): void => end('closed');
  const ended = new Promise<unknown>(resolve => {
    end = resolve;
    command.once('ready', onReady);
    command.once('close', onClose);
    command.connect().catch(resolve);
  });
  const failure = await withTimeout(ended, FIRST_TRY, () => 'not ready');
  command.removeListener('ready', onReady);
  command.removeListener('close', onClose);
  if (failure !== undefined) {
    throw new Error('the first try to connect failed', { cause: failure });
  }
}

function master(cluster: Cluster, attempt: number, near: string | undefined): Redis | undefined {
  const masters = cluster.nodes('master');
  if (near === undefined) return masters[attempt % masters.length];
  const owner = cluster.slots[hashSlot(near)]?.[0];
  return masters.find(({ options: { host, port } }) => `${host ?? ''}:${port ?? ''}` === owner);
}

function copyOf(client: object): Redis | Cluster {
  if (!isClient(client)) {
    throw new SseError(
      'INVALID_OPTION',
      'redis.client must be a Redis or Cluster of ioredis, got another object; or give redis.url',
    );
  }
  const { options } = client;
  const redisOptions = 'redisOptions' in options ? options.redisOptions : undefined;
  // ioredis puts it in front of keys, but not of channels.
  if (options.keyPrefix || redisOptions?.keyPrefix) {
    throw new SseError(
      'INVALID_OPTION',
      'redis.client must not have a keyPrefix; give a client without one and set redis.prefix',
    );
  }
  return isCluster(client) ? client.duplicate([], clusterOptions()) : client.duplicate(commandOptions());
}

/** Loaded late, because only nodes with a `redis.url` need the package. */
function loadIoredis(): typeof Ioredis {
  try {
    return createRequire(import.meta.url)('ioredis') as typeof Ioredis;
  } catch (cause) {
    throw new SseError('INVALID_OPTION', 'redis.url needs the package ioredis: npm install ioredis', {
      cause,
    });
  }
}

function isClient(client: object): client is Redis | Cluster {
  const { duplicate, options } = client as { duplicate?: unknown; options?: unknown };
  return typeof duplicate === 'function' && typeof options === 'object' && options !== null;
}

// Not instanceof: the application's client may come from another copy of ioredis.
function isCluster(client: Redis | Cluster): client is Cluster {
  return client.isCluster;
}

/** Milliseconds after which a command counts as unanswered. */
const COMMAND_TIMEOUT = 1_000;
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
function commandOptions() {
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
    reconnectOnError: error => (redisErrorCode(error) === 'READONLY' ? 1 : false),
    retryStrategy: backoff,
    readOnly: false,
    stringNumbers: false,
    replyMapping: 'legacy',
    scripts: {},
  } satisfies RedisOptions;
}

/** The same for a Redis Cluster. */
function clusterOptions() {
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

/** The options of a connection for one life of a subscriber; the subscriber opens the next one. */
function subscriberOptions() {
  return {
    ...commandOptions(),
    // Silence is normal here; the probe finds a dead connection.
    socketTimeout: undefined,
    retryStrategy: null,
  } satisfies RedisOptions;
}

/** Slots of a Redis Cluster. */
export const SLOTS = 16_384;

/** The Redis Cluster slot of a key or sharded channel: CRC16 (XMODEM) of its hash tag, or of all of it without one. */
export function hashSlot(key: string): number {
  const open = key.indexOf('{');
  const close = open < 0 ? -1 : key.indexOf('}', open + 1);
  const hashed = close > open + 1 ? key.slice(open + 1, close) : key;
  let crc = 0;
  for (const byte of Buffer.from(hashed)) {
    crc ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) {
      crc = crc & 0x8000 ? ((crc << 1) ^ 0x1021) & 0xffff : (crc << 1) & 0xffff;
    }
  }
  return crc % SLOTS;
}

/** First words of Redis errors that pass by themselves. The call that got one had no effect, for this reason. */
const PASSING: ReadonlyMap<string, UnavailableCode> = new Map([
  ['OOM', 'WRITES_REFUSED'],
  ['NOREPLICAS', 'WRITES_REFUSED'],
  ['MISCONF', 'WRITES_REFUSED'],
  ['READONLY', 'WRITES_REFUSED'],
  ['LOADING', 'CLUSTER_UNREACHABLE'],
  ['CLUSTERDOWN', 'CLUSTER_UNREACHABLE'],
  ['TRYAGAIN', 'CLUSTER_UNREACHABLE'],
  ['MASTERDOWN', 'CLUSTER_UNREACHABLE'],
  ['BUSY', 'CLUSTER_UNREACHABLE'],
]);

// Redis 6 wraps the error of a command that a script calls: "ERR Error running script (…): …: -READONLY You can't …".
const WRAPPED = /^ERR Error running script .*: -([A-Z]+) /s;

/** The error code that Redis answered with, its reply's first word; `undefined` when it did not answer. */
export function redisErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  return WRAPPED.exec(error.message)?.[1] ?? error.message.split(' ', 1)[0];
}

/**
 * Any failure of a Redis call as an `SseError`, the failure itself as `cause`: `UNAVAILABLE` when there was no answer
 * (connection, timeout) or one of a Redis that is not ready to serve (full, replica, loading, slot on the move, busy), else
 * `INTERNAL`: a retry would fail as well. Without an answer Redis may have run the call: unless it is `repeatable`, the
 * error is not retryable. An `SseError` stays as it is.
 */
export function toSseError(failure: unknown, attempt: string, repeatable = true): SseError {
  if (SseError.is(failure)) return failure;
  const reason = failure instanceof Error ? failure.message : String(failure);
  if (!isPassing(failure)) {
    return new SseError('INTERNAL', `Redis must accept ${attempt}, got: ${reason}; see the cause`, {
      cause: failure,
    });
  }
  const code = redisErrorCode(failure);
  const retryable = repeatable || code !== undefined;
  const advice = retryable ? 'try again later' : 'it may have been carried out all the same';
  return new SseError('UNAVAILABLE', `Redis must answer ${attempt}, got: ${reason}; ${advice}`, {
    cause: failure,
    retryable,
    noEffect: code === undefined ? undefined : PASSING.get(code),
  });
}

/** A step that only reads, before anything is sent: a call that ends with its failure had no effect. */
export async function beforeSending<T>(step: Promise<T>): Promise<T> {
  try {
    return await step;
  } catch (error) {
    if (!SseError.is(error, 'UNAVAILABLE') || error.noEffect !== undefined) throw error;
    const { message, cause, retryable } = error;
    throw new SseError('UNAVAILABLE', message, { cause, retryable, noEffect: 'CLUSTER_UNREACHABLE' });
  }
}

function isPassing(failure: unknown): boolean {
  if (!(failure instanceof Error)) return false;
  const code = redisErrorCode(failure);
  if (code !== undefined) return PASSING.has(code);
  // An error that is no reply comes from the connection, unless it is a programming error.
  return !PROGRAM_ERRORS.has(failure.name);
}

const PROGRAM_ERRORS: ReadonlySet<string> = new Set(['TypeError', 'RangeError', 'ReferenceError']);
