import type { Redis } from 'ioredis';
import { encodePayload } from '../../../src/cluster/redis/frames.js';
import { Keys } from '../../../src/cluster/redis/keys.js';
import { formatCursor } from '../../../src/protocol/cursor.js';
import { unsigned } from './signer-of.js';

const EPOCH = 'filled';
const PER_CALL = 10_000;
const LIFE_MS = 600_000;

const FILL = `
local first, last, ms, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3], tonumber(ARGV[4])
for n = first, last do
  local data = string.format('%d ', n)
  local payload = ARGV[6] .. data .. string.rep('x', bytes - #data) .. '\\n\\n'
  redis.call('XADD', KEYS[2], ms .. '-' .. n, 'p', ms .. '-' .. (n - 1), 'd', payload)
end
redis.call('SET', KEYS[3], ms .. '-' .. last, 'PX', ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
redis.call('HSET', KEYS[1], 'e', '${EPOCH}', 'ms', ms, 'g', last)
redis.call('PEXPIRE', KEYS[1], ARGV[5])
`;

/**
 * Leaves the log as `publish.lua` leaves it after so many entries of one topic, in a fraction of the time. Their data is
 * their number from 1 on, and so many bytes long. Resolves to the id before the first.
 */
export async function fillLog(admin: Redis, topic: string, entries: number, bytes: number): Promise<string> {
  const layout = { prefix: 'sse:', database: 0, channel: 'sse:events', partitions: 1 } as const;
  const keys = new Keys({ ...layout, pubsub: 'classic', cluster: false });
  const { stream, last } = keys.topic(topic);
  const body = Buffer.from('event: message\ndata: ');
  const head = encodePayload(unsigned(), topic, { trace: undefined, body });
  const ms = Date.now();
  for (let from = 1; from <= entries; from += PER_CALL) {
    const to = Math.min(entries, from + PER_CALL - 1);
    await admin.eval(FILL, 3, keys.logMeta, stream, last, from, to, ms, bytes, LIFE_MS, head);
  }
  return formatCursor({ epoch: EPOCH, ms, sequence: 0 });
}
