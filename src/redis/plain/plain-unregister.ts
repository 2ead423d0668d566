import type { Cluster, Redis } from 'ioredis';
import { batch, type Command } from './batch.js';
import { parseLease, parseRoute } from './route-text.js';

/**
 * What `lua/unregister.lua` does, read first and then written, with the same KEYS, ARGV and replies. A registration that
 * comes between the two is removed with the route that it replaced, until the next comparison restores it.
 */
export async function plainUnregister(
  client: Redis | Cluster,
  [leases = '', routes = '', index = '', tombstone = '']: readonly string[],
  [inc = '', conn = '', tok = '', tombstoneMs = '0']: readonly string[],
): Promise<readonly unknown[]> {
  const mark: Command[] = tombstoneMs === '0' ? [] : [['SET', tombstone, '1', 'PX', tombstoneMs]];
  const answers = await batch(client, [...mark, ['HGET', routes, conn]]);
  const route = parseRoute(answers.at(-1));
  if (route === undefined) {
    await batch(client, [['ZREM', index, conn]]);
    return ['NONE'];
  }
  const [lease] = await batch(client, [['HGET', leases, `g:${route.gen}`]]);
  if (route.tok !== tok || parseLease(lease)?.inc !== inc) return ['FOREIGN'];
  await batch(client, [
    ['HDEL', routes, conn],
    ['ZREM', index, conn],
  ]);
  return ['REMOVED'];
}
