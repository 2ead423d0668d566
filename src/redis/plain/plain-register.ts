import type { Cluster, Redis } from 'ioredis';
import { batch, type Command } from './batch.js';
import { formatRoute, parseLease, parseRoute, type RouteText } from './route-text.js';

const MOST = 500;
const KEPT_PREVS = 3;

/**
 * What `lua/register.lua` does, read first and then written, with the same KEYS, ARGV and replies. Between the two another
 * node may do the same: then both believe to be owner, and the later write wins.
 */
export async function plainRegister(
  client: Redis | Cluster,
  [leases = '', routes = '', index = '', tombstone = '']: readonly string[],
  args: readonly string[],
): Promise<readonly unknown[]> {
  const [inc = '', gen = '', conn = '', tok = '', mode = ''] = args;
  const [ttlMs = 0, leaseMs = 0, keyMs = 0, limit = 0, window = 0] = args.slice(5, 10).map(Number);
  const [pubCommand = '', channelPrefix = ''] = args.slice(10);
  const [time, held, given, text] = await batch(client, [
    ['TIME'],
    ['HGET', leases, `i:${inc}`],
    ['EXISTS', tombstone],
    ['HGET', routes, conn],
  ]);
  const [seconds = 0, micros = 0] = (time as string[]).map(Number);
  const now = seconds * 1_000 + Math.floor(micros / 1_000);
  if (held !== gen) return ['LOST'];
  if (given === 1) return ['GONE'];

  const old = parseRoute(text);
  const [ownLease, oldLease] = await batch(client, [
    ['HGET', leases, `g:${gen}`],
    ['HGET', leases, `g:${old?.gen ?? gen}`],
  ]);
  const lease = parseLease(oldLease);
  const same = old !== undefined && lease?.inc === inc && old.tok === tok;
  const owner = lease?.inc ?? '';
  const refuse = (status: string) => [status, old?.fence, owner, old?.tok, now];
  if (old !== undefined) {
    if (same && old.gen === gen) {
      await batch(client, [['HSET', routes, conn, formatRoute({ ...old, exp: now + ttlMs })]]);
      return ['DUP', old.fence, '', '', now];
    }
    if (!same && old.prevs.includes(`${inc}/${tok}`)) return refuse('STALE');
  }
  const live = old !== undefined && !same && (lease?.until ?? 0) > now && old.exp > now;
  if (live && mode === 'nx') return refuse('EXISTS');
  if (live && mode === 'restore') return refuse('MOVED');
  const recent = old?.takeovers.filter(at => now - at < window) ?? [];
  if (live && recent.length >= Math.min(limit, MOST)) return refuse('STORM');

  const former =
    old === undefined ? [] : [`${owner === '' ? '?' : owner}/${old.tok}`, ...old.prevs];
  const route: RouteText = {
    gen,
    tok,
    fence: Math.max(seconds * 1_000_000 + micros, (old?.fence ?? -1) + 1),
    exp: now + ttlMs,
    prevs: same ? old.prevs : former.slice(0, KEPT_PREVS),
    takeovers: live ? [...recent, now] : recent,
  };
  const writes: Command[] = [
    ['HSET', routes, conn, formatRoute(route)],
    ['ZADD', index, gen, conn],
    ['PEXPIRE', routes, keyMs],
    ['PEXPIRE', index, keyMs],
  ];
  if ((parseLease(ownLease)?.until ?? 0) < now + leaseMs / 2) {
    writes.push(['HSET', leases, `g:${gen}`, `${now + leaseMs}|${inc}`]);
  }
  if (old !== undefined && !same && owner !== '') {
    const told = JSON.stringify({
      v: 1,
      t: 'superseded',
      c: conn,
      k: old.tok,
      f: String(route.fence),
    });
    writes.push([pubCommand, channelPrefix + owner, told]);
  }
  await batch(client, writes);
  if (old === undefined || same) return ['NEW', route.fence, '', '', now];
  return [live ? 'TOOK' : 'NEW', route.fence, owner, old.tok, now];
}
