import type { Redis } from 'ioredis';
import { SseError, type UnavailableCode } from '../../errors.js';

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
  // Until somebody removes the key.
  ['WRONGTYPE', 'KEY_UNREADABLE'],
]);

/** Whether a call had no effect because a key has another type. */
export function isUnreadable(error: unknown): error is SseError {
  return SseError.is(error) && error.noEffect === 'KEY_UNREADABLE';
}

// Redis 6 names the script before the error of a command: "ERR Error running script (…): @user_script:1: WRONGTYPE …", and
// "@user_script: 1: -READONLY …" where the script returns the error.
const SCRIPT = /^(?:ERR Error running script \(.*?\): )?(?:@user_script: ?\d+: )+-?(?=[A-Z]+ )/;

/** The error code that Redis answered with, its reply's first word; `undefined` when it did not answer. */
export function redisErrorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || error.name !== 'ReplyError') return undefined;
  return error.message.replace(SCRIPT, '').split(' ', 1)[0];
}

/**
 * Any failure of a Redis call as an `SseError`, the failure itself as `cause`: `UNAVAILABLE` when there was no answer
 * (connection, timeout), one of a Redis that is not ready to serve (full, replica, loading, slot on the move, busy), or that
 * a key has another type, which is not retryable; else `INTERNAL`: a retry would fail as well. Without an answer Redis may
 * have run the call: unless it is `repeatable`, the error is not retryable. An `SseError` stays as it is.
 */
export function toSseError(failure: unknown, attempt: string, repeatable = true): SseError {
  if (SseError.is(failure)) return failure;
  const reason = reasonOf(failure);
  const known = faultOf(failure)?.advice;
  if (!isPassing(failure)) {
    const advice = known ?? 'see the cause';
    return new SseError('INTERNAL', `Redis must accept ${attempt}, got: ${reason}; ${advice}`, { cause: failure });
  }
  const code = redisErrorCode(failure);
  const noEffect = code === undefined ? undefined : PASSING.get(code);
  const retryable = code === undefined ? repeatable : noEffect !== 'KEY_UNREADABLE';
  const unknown = retryable ? 'try again later' : 'it may have been carried out all the same';
  const advice = (retryable || noEffect !== undefined ? known : undefined) ?? unknown;
  return new SseError('UNAVAILABLE', `Redis must answer ${attempt}, got: ${reason}; ${advice}`, {
    cause: failure,
    retryable,
    noEffect,
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

/**
 * Why the first try to connect failed: `INVALID_OPTION` where another try cannot succeed before an operator changes the
 * settings or the Redis, else as {@link toSseError}. The message has the rule, the reason and the next step.
 */
export function toStartError(failure: unknown): SseError {
  const cause = SseError.is(failure) ? failure.cause : failure;
  const fault = faultOf(cause);
  if (fault?.rule === undefined) return toSseError(failure, 'the first connection');
  return new SseError('INVALID_OPTION', `${fault.rule}, got: ${reasonOf(cause)}; ${fault.advice}`, { cause });
}

/** A failure in a few words, with the next step where it is known. */
export function describeFailure(failure: unknown): string {
  const advice = SseError.is(failure) ? undefined : faultOf(failure)?.advice;
  return advice === undefined ? reasonOf(failure) : `${reasonOf(failure)}; ${advice}`;
}

function isPassing(failure: unknown): boolean {
  if (!(failure instanceof Error)) return false;
  const code = redisErrorCode(failure);
  if (code !== undefined) return PASSING.has(code) || REFUSED_CONNECTION.test(failure.message);
  // An error that is no reply comes from the connection, unless it is a programming error.
  return !PROGRAM_ERRORS.has(failure.name);
}

const PROGRAM_ERRORS: ReadonlySet<string> = new Set(['TypeError', 'RangeError', 'ReferenceError']);
const REFUSED_CONNECTION = /^ERR max number of clients/;
const FIRST_WORDS = /^-((?:DENIED|ERR max number of clients)[^\r\n]*)/;

/** The reason in the first bytes of a server that closes a connection at once, which ioredis does not report. */
export function refusalIn(first: Buffer): Error | undefined {
  const text = first.toString('latin1', 0, 256);
  if (text.startsWith('HTTP/')) return new Error('Protocol error: a web server answers');
  const reason = FIRST_WORDS.exec(text)?.[1];
  return reason === undefined ? undefined : Object.assign(new Error(reason), { name: 'ReplyError' });
}

/** A known way in which Redis is reached wrongly. */
interface Fault {
  readonly sign: RegExp;
  /** Of a fault that lasts until somebody changes the settings or the Redis. */
  readonly rule?: string;
  /** The next step. */
  readonly advice: string;
}

const ACCOUNT = 'set redis.username and redis.password, redis.credentials, or the options of redis.client';

/** In the order in which they are looked for. The sign is looked for in the message and in the error code of Node. */
const FAULTS: readonly Fault[] = [
  {
    sign: /^WRONGPASS|^ERR invalid password/,
    rule: 'Redis must accept the user and password',
    advice: `${ACCOUNT}, to those of this Redis`,
  },
  {
    sign: /^NOAUTH|called without any password configured/,
    rule: 'Redis must be given the password that it asks for',
    advice: ACCOUNT,
  },
  {
    sign: /^DENIED/,
    rule: 'Redis must accept connections from this machine',
    advice: 'Redis is in protected mode: give its default user a password (requirepass), then set redis.password',
  },
  {
    sign: /^NOPERM|ACL failure in script|can't (?:run|access)/,
    rule: 'the Redis user must be allowed to run every command of this library',
    advice: 'allow it with ACL SETUSER; docs/redis.md has the least account',
  },
  {
    sign: /^MOVED|SELECT is not allowed in cluster mode/,
    rule: 'redis.url must lead to a Redis that is not part of a Redis Cluster',
    advice: 'give redis.client: new Cluster([{ host, port }]) of ioredis, and no database',
  },
  {
    sign: /cluster support disabled/,
    rule: 'a Cluster as redis.client must lead to a Redis Cluster',
    advice: 'this Redis is a single one: give redis.url, or redis.client: new Redis(url) of ioredis',
  },
  {
    sign: /DB index is out of range/,
    rule: 'the database must exist in Redis',
    advice: 'change the number at the end of redis.url or the option db of redis.client, or raise databases in Redis',
  },
  {
    sign: /Unknown RESP type|Protocol error/,
    rule: 'the address must be that of a Redis',
    advice: 'another kind of server answers there: check host and port',
  },
  {
    sign: /WRONG_VERSION_NUMBER|packet length too long|EPROTO|ERR_SSL/,
    rule: 'the port must speak TLS for a rediss:// URL or the option tls',
    advice: 'it answers without TLS: use redis://, or the TLS port of Redis',
  },
  {
    sign: /SELF_SIGNED|CERT_|ERR_TLS|UNABLE_TO_/,
    advice: 'trust its authority with NODE_EXTRA_CA_CERTS, or hand in a redis.client with the option tls.ca',
  },
  { sign: /^WRONGTYPE/, advice: 'another program wrote that key: delete it, or use another redis.prefix' },
  {
    sign: /^ERR max number of clients/,
    advice: 'Redis has as many clients as it allows: raise maxclients, or end clients that are not needed',
  },
  { sign: /ENOTFOUND|EAI_AGAIN/, advice: 'check the host of redis.url or redis.client' },
  { sign: /ECONNREFUSED/, advice: 'check host and port, and that Redis runs' },
  {
    sign: /Connection is closed|ECONNRESET|EPIPE/,
    advice: 'where that port asks for TLS, use rediss://; a Redis that has maxclients connections closes new ones, too',
  },
  {
    sign: /ETIMEDOUT|not ready/,
    advice: 'check host, port and firewall; a rediss:// URL needs a port that speaks TLS',
  },
];

function faultOf(failure: unknown): Fault | undefined {
  const error = rootOf(failure);
  if (!(error instanceof Error)) return undefined;
  const code = 'code' in error && typeof error.code === 'string' ? error.code : '';
  const text = error.message.replace(SCRIPT, '');
  return FAULTS.find(({ sign }) => sign.test(text) || sign.test(code));
}

/** The failure of a node, where a Redis Cluster only says that all its nodes failed. */
function rootOf(failure: unknown): unknown {
  const node: unknown = failure instanceof Error && 'lastNodeError' in failure ? failure.lastNodeError : undefined;
  return node ?? failure;
}

function reasonOf(failure: unknown): string {
  const error = rootOf(failure);
  if (!(error instanceof Error)) return String(error);
  // The errors of several addresses of one host have no message of their own.
  if (error.message !== '') return error.message;
  return 'code' in error ? String(error.code) : error.name;
}

/** A Redis as it describes itself; texts are '' where the user may not ask. */
export interface ServerInfo {
  /** New with each start of the server. */
  readonly runId: string;
  readonly role: string;
  readonly version: string;
  readonly mode: string;
  /** By which it deletes keys before their time when its memory is full; `undefined` when it does not. */
  readonly evictionPolicy: string | undefined;
}

/** Asks a Redis what it is. @throws the failure of the connection */
export async function askServer(connection: Redis): Promise<ServerInfo> {
  let text = '';
  try {
    text = await connection.info();
  } catch (failure) {
    // Without the permission the node works, and cannot notice that the master moved.
    if (redisErrorCode(failure) === undefined) throw failure;
  }
  const field = (name: string): string => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(text)?.[1] ?? '';
  const memoryPolicy = field('maxmemory_policy');
  return {
    runId: field('run_id'),
    role: field('role'),
    version: field('redis_version'),
    // Valkey has the second name from 9.1 on.
    mode: field('redis_mode') || field('server_mode'),
    evictionPolicy: ['', 'noeviction'].includes(memoryPolicy) ? undefined : memoryPolicy,
  };
}

/** Why a single Redis cannot serve; `undefined` when it can. */
export function obstacleOf(server: ServerInfo): SseError | undefined {
  if (server.mode === 'cluster') {
    return new SseError(
      'INVALID_OPTION',
      'redis.url must lead to a Redis that is not part of a Redis Cluster, got a node of one; give redis.client: ' +
        'new Cluster([{ host, port }]) of ioredis instead',
    );
  }
  if (server.mode === 'sentinel') {
    return new SseError(
      'INVALID_OPTION',
      'redis.url must lead to a Redis, got a Sentinel; give redis.client: new Redis({ sentinels: [{ host, port }], name }) ' +
        'of ioredis instead',
    );
  }
  if (isOlder(server, 6, 2)) return tooOld(server, 'Redis must be 6.2 or newer');
  return server.role === 'slave' ? atReplica() : undefined;
}

/** Why a node of a Redis Cluster cannot serve; `undefined` when it can. */
export function clusterObstacleOf(server: ServerInfo): SseError | undefined {
  if (!isOlder(server, 7, 0)) return undefined;
  return tooOld(server, 'a Redis Cluster must have sharded Pub/Sub (Redis 7.0 or newer)');
}

/** Whether a version is older than another; not where it is unknown. */
function isOlder({ version }: ServerInfo, major: number, minor: number): boolean {
  const [, itsMajor, itsMinor] = /^(\d+)\.(\d+)/.exec(version) ?? [];
  if (itsMajor === undefined) return false;
  return Number(itsMajor) < major || (Number(itsMajor) === major && Number(itsMinor) < minor);
}

/** @param rule what the Redis must be */
function tooOld({ version }: ServerInfo, rule: string): SseError {
  return new SseError('INVALID_OPTION', `${rule}, got ${version}; upgrade it, or give a single Redis or Sentinels`);
}

/** The error for an address that leads to a replica: it may change. */
export function atReplica(): SseError {
  return new SseError(
    'UNAVAILABLE',
    'the address of Redis must lead to a master, got a replica; try again when the failover is over, or change the address',
  );
}
