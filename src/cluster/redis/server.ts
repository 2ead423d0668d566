import type { Redis } from 'ioredis';
import { SseError } from '../../errors.js';
import { redisErrorCode } from './failures.js';

/** A Redis as it describes itself; texts are '' where the user may not ask. */
export interface ServerInfo {
  /** New with each start of the server. */
  readonly runId: string;
  readonly role: string;
  readonly version: string;
  readonly mode: string;
  /** What it does when its memory is full. */
  readonly memoryPolicy: string;
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
  return {
    runId: field('run_id'),
    role: field('role'),
    version: field('redis_version'),
    // Valkey has the second name from 9.1 on.
    mode: field('redis_mode') || field('server_mode'),
    memoryPolicy: field('maxmemory_policy'),
  };
}

/** The policy by which a Redis deletes keys before their time when its memory is full; `undefined` when it does not. */
export function evictionPolicyOf({ memoryPolicy }: ServerInfo): string | undefined {
  return memoryPolicy === '' || memoryPolicy === 'noeviction' ? undefined : memoryPolicy;
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
