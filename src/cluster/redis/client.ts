import { channel } from 'node:diagnostics_channel';
import type { Cluster, ClusterOptions, Command, Redis, RedisOptions } from 'ioredis';
import { SseError } from '../../errors.js';
import type { CredentialsSource, RedisCredentials } from '../../options/kinds.js';
import type { ResolvedSseOptions } from '../../options/sse-options.js';
import { withTimeout } from '../../time.js';
import { redisErrorCode } from './failures.js';

/** Where Redis is, and as whom: the settings of the same names in the group `redis`. */
export interface RedisAddress {
  readonly url: string | undefined;
  readonly client: object | undefined;
  readonly class: RedisClass | undefined;
  readonly username: string | undefined;
  readonly password: string | undefined;
  readonly credentials: CredentialsSource | undefined;
}

/** The class `Redis` of ioredis. */
export type RedisClass = typeof Redis;

type LegacyReplies = RedisOptions & { readonly replyMapping: 'legacy' };

/** Options of connections for commands: to one Redis, and to a Redis Cluster. */
interface ClientOptions {
  readonly single: LegacyReplies;
  readonly cluster: ClusterOptions & { readonly redisOptions: LegacyReplies };
}

/**
 * Refuses an address that no client can be made for.
 * @throws SseError `INVALID_OPTION` when there is none, or the client cannot be copied or has a `keyPrefix`
 */
export function checkAddress({ url, client }: Pick<RedisAddress, 'url' | 'client'>): void {
  if (client !== undefined) checkedClient(client);
  else if (url === undefined) {
    throw new SseError('INVALID_OPTION', 'redis.url or redis.client must be given, got neither');
  }
}

/**
 * The class for clients of an address: that of `redis.class`, else that of the package. It is loaded late, because only nodes
 * with a `redis.url` need the package, and by a literal import, which bundlers follow.
 * @throws SseError `INVALID_OPTION` when the package is missing
 */
export async function loadClass({ url, class: given }: ResolvedSseOptions['redis']): Promise<RedisClass | undefined> {
  // The kind of the setting has looked at it.
  if (given !== undefined) return given as RedisClass;
  if (url === undefined) return undefined;
  try {
    const { Redis } = await import('ioredis');
    return Redis;
  } catch (cause) {
    throw new SseError('INVALID_OPTION', 'redis.url needs the package ioredis: npm install ioredis', { cause });
  }
}

/**
 * A client of this library's own for an address, not connected yet. A client of the application is only copied.
 * @throws SseError `INVALID_OPTION` as {@link checkAddress}, and for a URL without its class
 */
export function clientFor(address: RedisAddress, options: ClientOptions): Redis | Cluster {
  checkAddress(address);
  const { url, client, class: redisClass } = address;
  if (client !== undefined) {
    const checked = checkedClient(client);
    return isCluster(checked) ? checked.duplicate([], options.cluster) : checked.duplicate(options.single);
  }
  if (url !== undefined && redisClass !== undefined) return new redisClass(url, options.single);
  throw new SseError('INVALID_OPTION', 'redis.url needs redis.class, the class Redis of ioredis, got none');
}

// Not instanceof: the application's client may come from another copy of ioredis.
export function isCluster(client: Redis | Cluster): client is Cluster {
  return client.isCluster;
}

/** @throws SseError `INVALID_OPTION` */
function checkedClient(client: object): Redis | Cluster {
  if (!isClient(client)) {
    throw new SseError(
      'INVALID_OPTION',
      `redis.client must be a Redis or Cluster of ioredis, got ${nameOf(client)}; hand in new Redis(url) or ` +
        'new Cluster([{ host, port }]) of ioredis, or give redis.url',
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
  if (isCluster(client) && redisOptions?.db) {
    throw new SseError(
      'INVALID_OPTION',
      `a Cluster as redis.client must have the database 0, got ${redisOptions.db}; a Redis Cluster has no other: leave ` +
        'out the option db, and set redis.prefix to keep applications apart',
    );
  }
  return client;
}

function isClient(client: object): client is Redis | Cluster {
  const { duplicate, options, defineCommand, status } = client as Partial<Record<keyof Redis, unknown>>;
  return (
    typeof duplicate === 'function' &&
    typeof defineCommand === 'function' &&
    typeof status === 'string' &&
    typeof options === 'object' &&
    options !== null
  );
}

function nameOf(client: object): string {
  if (typeof client === 'function') return 'a function';
  if ('sendCommand' in client && !('defineCommand' in client)) return 'a client of the package redis (node-redis)';
  return 'another object';
}

/** Milliseconds that the application may take to give user and password. */
const LONGEST_READ = 2_000;

/**
 * User and password of the connections, read anew before each connect: from `redis.credentials`, else from the settings,
 * else from the options of the application's client, which may change. So a node goes on after its password was rotated.
 */
export class Login {
  #present: RedisCredentials | undefined;

  constructor(
    private readonly address: RedisAddress,
    /** A failure of `redis.credentials`. The last user and password stay in force. */
    private readonly onError: (error: SseError) => void,
  ) {}

  /** Reads user and password. Never rejects. */
  async refresh(): Promise<void> {
    const { credentials, client, username, password } = this.address;
    if (credentials !== undefined) {
      await this.#ask(credentials);
    } else if (username !== undefined || password !== undefined) {
      this.#present = { username, password };
    } else if (client !== undefined && isClient(client)) {
      const { options } = client;
      const account = 'redisOptions' in options ? options.redisOptions : options;
      // The types of a Redis and of a Cluster have the two names in common.
      this.#present = account as RedisCredentials | undefined;
    }
  }

  /** Makes the next connect of a client use the user and password that were read last. */
  applyTo({ options }: Redis): void {
    if (this.#present === undefined) return;
    const { username, password } = this.#present;
    if (username !== undefined) options.username = username;
    if (password !== undefined) options.password = password;
  }

  async #ask(credentials: CredentialsSource): Promise<void> {
    try {
      const given: unknown = await withTimeout(Promise.resolve(credentials()), LONGEST_READ, () => 'no answer');
      if (!isCredentials(given)) throw new TypeError(`it gave ${given === 'no answer' ? given : typeof given}`);
      this.#present = given;
    } catch (cause) {
      const rule = `redis.credentials must give { username?, password? } as texts within ${LONGEST_READ} ms`;
      const next = 'the next connect uses the former ones';
      this.onError(new SseError('INVALID_OPTION', `${rule}, got: ${String(cause)}; ${next}`, { cause }));
    }
  }
}

function isCredentials(given: unknown): given is RedisCredentials {
  if (typeof given !== 'object' || given === null) return false;
  const { username, password } = given as Partial<Record<string, unknown>>;
  return [username, password].every(part => part === undefined || typeof part === 'string');
}

const CONNECT_TIMEOUT = 2_000;
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
    connectTimeout: CONNECT_TIMEOUT,
    // AnswerTimeout bounds each command and the silence of a socket. In ioredis 5 the timer of a socket that broke ends the next.
    commandTimeout: undefined,
    socketTimeout: undefined,
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
  return { ...commandOptions(), retryStrategy: null } satisfies RedisOptions;
}

/** Runs work so that an instrumentation of ioredis records none of it. */
export type Quietly = <R>(work: () => R) => R;

/** Where ioredis reports its commands to an instrumentation. */
const COMMANDS = channel('tracing:ioredis:command:start');

/**
 * Prepares a new connection. Each of its commands ends within about a second, and a silent socket as {@link AnswerTimeout}. A
 * socket that fails twice, as with TLS, does not end the process: ioredis has a listener for the first error only. And an
 * instrumentation of ioredis records no command: their arguments have connection ids and events, and the library reports its
 * calls itself. Without an instrumentation that costs a comparison per command.
 */
export function prepare(connection: Redis, quietly: Quietly): void {
  connection.on('error', () => {
    // Unlike what the types say, there may be no stream yet.
    if (Reflect.has(connection, 'stream')) connection.stream.on('error', () => undefined);
  });
  const send = connection.sendCommand.bind(connection);
  const timeout = new AnswerTimeout(connection);
  // So the instrumentations of OpenTelemetry mark a method that they have replaced.
  const replaced = Object.hasOwn(Reflect.get(connection, 'sendCommand'), '__wrapped');
  connection.sendCommand = (command, stream) => {
    timeout.add(command);
    return replaced || COMMANDS.hasSubscribers ? quietly(() => send(command, stream)) : send(command, stream);
  };
}

/** Milliseconds after which a command counts as unanswered. */
export const COMMAND_TIMEOUT = 1_000;
/** Milliseconds without a byte after that, after which the socket is closed. */
const SOCKET_TIMEOUT = 4_000;
/** Milliseconds that a timer is late at least when the event loop stood still. */
const STALL = 50;
/** Milliseconds that the commands of a connection get after that, to be written and answered. */
const GRACE = 100;
/** Places of answered commands after which they are removed. */
const MOST_FORGOTTEN = 256;

/** A command that was sent, and when it counts as unanswered, by the monotonic clock. */
interface Waiting {
  readonly command: Pick<Command, 'isResolved' | 'reject'>;
  readonly due: number;
  failed: boolean;
}

/** One socket of a connection, from which no byte came since a command counted as unanswered. */
interface QuietSocket {
  readonly stream: Redis['stream'];
  readonly bytes: number;
  /** When it is closed. */
  readonly due: number;
}

/**
 * Rejects the commands of one connection that got no answer within a second, with one timer for all. When no byte comes for
 * five seconds while a command waits, it closes the socket, and the client opens another. An event loop that stood still runs
 * its timers before it reads the answers that came meanwhile, and before it writes the commands that were made in the same
 * turn: both are done first. So a node that was busy knows what Redis answered.
 */
export class AnswerTimeout {
  /** In the order in which they were sent, which is the order of their answers. */
  #waiting: (Waiting | undefined)[] = [];
  /** Those in front of it are answered, and `undefined`. */
  #first = 0;
  #planned = false;
  #quiet: QuietSocket | undefined;

  constructor(private readonly connection: Pick<Redis, 'stream'>) {}

  /** To be called with each command that is sent. */
  add(command: Waiting['command']): void {
    this.#forgetAnswered();
    const waiting: Waiting = { command, due: performance.now() + COMMAND_TIMEOUT, failed: false };
    const reject = command.reject.bind(command);
    // ioredis marks the commands that succeeded, and not those that Redis refused.
    command.reject = error => {
      waiting.failed = true;
      reject(error);
    };
    this.#waiting.push(waiting);
    if (!this.#planned) this.#plan(COMMAND_TIMEOUT);
  }

  #plan(ms: number): void {
    this.#planned = true;
    const at = performance.now() + ms;
    const onTime = (): void => {
      const now = performance.now();
      const end = (): void => this.#end(now);
      // A setImmediate runs when the sockets have been read.
      if (now - at < STALL) setImmediate(end);
      else setTimeout(() => setImmediate(end), GRACE).unref();
    };
    setTimeout(onTime, ms).unref();
  }

  /** Rejects the commands that were due at this time, and plans for the others. */
  #end(now: number): void {
    const open = this.#waiting.filter(waiting => waiting !== undefined).filter(({ command }) => !command.isResolved);
    const late = open.filter(({ due }) => due <= now);
    const [next] = (this.#waiting = open.filter(({ due }) => due > now));
    this.#first = 0;
    // Redis answered those that failed. They end all the same: ioredis may have kept one, to send it to another master.
    const unanswered = late.some(({ failed }) => !failed);
    this.#quiet = this.#quietSocket(now, unanswered);
    this.#planned = false;
    if (next !== undefined) this.#plan(Math.max(1, next.due - performance.now()));
    else if (this.#quiet !== undefined) this.#plan(COMMAND_TIMEOUT);
    for (const { command } of late) command.reject(new Error('Command timed out'));
  }

  /** Closes the socket when it has been silent for too long. */
  #quietSocket(now: number, late: boolean): QuietSocket | undefined {
    const stream = streamOf(this.connection);
    if (stream === undefined) return undefined;
    const bytes = stream.bytesRead;
    if (stream !== this.#quiet?.stream || bytes !== this.#quiet.bytes) {
      return late ? { stream, bytes, due: now + SOCKET_TIMEOUT } : undefined;
    }
    if (now < this.#quiet.due) return this.#quiet;
    stream.destroy(new Error('Redis sent nothing for five seconds while commands waited'));
    return undefined;
  }

  /** Their arguments can be large. */
  #forgetAnswered(): void {
    while (this.#waiting[this.#first]?.command.isResolved === true) {
      this.#waiting[this.#first] = undefined;
      this.#first += 1;
    }
    if (this.#first < MOST_FORGOTTEN) return;
    this.#waiting.splice(0, this.#first);
    this.#first = 0;
  }
}

/** The socket of a connection. Unlike what the types say, there is none before the first connect. */
export function streamOf(connection: Pick<Redis, 'stream'> | undefined): Redis['stream'] | undefined {
  return connection?.stream;
}
