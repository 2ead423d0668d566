import type { Cluster, Redis } from 'ioredis';
import { batch, type Command } from './batch.js';
import { parseLease, parseRoute } from './route-text.js';

const MOST = 500;

/**
 * What `lua/reap.lua` does, read first and then written, with the same KEYS, ARGV and replies. Two nodes at once may return
 * the same routes, and a node that comes back to life in between loses routes until it compares them.
 */
export async function plainReap(
  client: Redis | Cluster,
  [leases = '', routes = '', index = '']: readonly string[],
  [limitText = '', graceText = '', self = '']: readonly string[],
): Promise<readonly unknown[]> {
  const limit = Math.min(Number(limitText), MOST);
  const [time, fields] = await batch(client, [['TIME'], ['HGETALL', leases]]);
  const [seconds = 0, micros = 0] = (time as string[]).map(Number);
  const now = seconds * 1_000 + Math.floor(micros / 1_000);
  const found = leaseToReap(pairsOf(fields), now - Number(graceText), self);
  if (found === undefined) return ['NONE'];
  const { inc, gen, current } = found;

  const [listed] = await batch(client, [
    ['ZRANGEBYSCORE', index, gen, gen, 'LIMIT', 0, limit],
    // From here on every write of the dead node is refused; a release keeps its lease until the last batch.
    ...(self === '' && current ? [['HDEL', leases, `i:${inc}`] as const] : []),
  ]);
  const conns = listed as string[];
  const removed: unknown[] = [];
  const writes: Command[] = [];
  if (conns.length > 0) {
    const [texts] = await batch(client, [['HMGET', routes, ...conns]]);
    for (const [at, conn] of conns.entries()) {
      removed.push(conn, parseRoute((texts as unknown[])[at])?.tok ?? '');
    }
    writes.push(['HDEL', routes, ...conns], ['ZREM', index, ...conns]);
  }
  const done = conns.length < limit;
  if (done) {
    writes.push(['HDEL', leases, `g:${gen}`]);
    if (self !== '') writes.push(['HDEL', leases, `i:${inc}`]);
  }
  await batch(client, writes);
  return [done ? 'DONE' : 'MORE', inc, gen, ...removed];
}

function leaseToReap(
  fields: ReadonlyMap<string, string>,
  before: number,
  self: string,
): { readonly inc: string; readonly gen: string; readonly current: boolean } | undefined {
  if (self !== '') {
    const gen = fields.get(`i:${self}`);
    return gen === undefined ? undefined : { inc: self, gen, current: true };
  }
  for (const [field, value] of fields) {
    const lease = field.startsWith('g:') ? parseLease(value) : undefined;
    if (lease === undefined || lease.until > before) continue;
    const gen = field.slice('g:'.length);
    return { inc: lease.inc, gen, current: fields.get(`i:${lease.inc}`) === gen };
  }
  return undefined;
}

/** The answer to HGETALL sent as a bare command is a flat list, or a map in newer protocols. */
function pairsOf(answer: unknown): ReadonlyMap<string, string> {
  if (!Array.isArray(answer)) return new Map(Object.entries(answer as Record<string, string>));
  const fields = answer as string[];
  const pairs = new Map<string, string>();
  for (let at = 0; at < fields.length; at += 2) pairs.set(fields[at] ?? '', fields[at + 1] ?? '');
  return pairs;
}
