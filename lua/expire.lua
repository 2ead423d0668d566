-- Removes routes that ran out, and routes of leases that are gone, one chunk of the partition at a time.
--
-- KEYS[1] leases  leases of the partition; has the cursor of the next chunk
-- KEYS[2] routes  routes of the partition
-- KEYS[3] index   route owners of the partition
--
-- ARGV[1] count   routes to look at, about; at most 500
--
-- RETURNS
--   WRAPPED conn...  the last chunk of a round, and the connections that were removed
--   MORE    conn...  a chunk; the next call continues
--
-- NOTES
--   All nodes share one round. A small partition is one chunk whatever the count. Where the index disagrees with a route,
--   the index is repaired. Routes of a lease that ran out are left to reap, which names their node.
local leases, routes, index = KEYS[1], KEYS[2], KEYS[3]
local count = math.min(tonumber(ARGV[1]), MOST)

local cursor = redis.call('HGET', leases, '#cur') or '0'
local chunk = redis.call('HSCAN', routes, cursor, 'COUNT', count)
local answer, found, known = { chunk[1] == '0' and 'WRAPPED' or 'MORE' }, chunk[2], {}
local kept, gens = {}, {}
for i = 1, #found, 2 do
  local conn = found[i]
  local gen, _, _, exp = parseRoute(found[i + 1])
  if gen and known[gen] == nil then known[gen] = redis.call('HEXISTS', leases, 'g:' .. gen) == 1 end
  if not gen or exp <= now or not known[gen] then
    redis.call('HDEL', routes, conn)
    redis.call('ZREM', index, conn)
    answer[#answer + 1] = conn
  else
    kept[#kept + 1], gens[#gens + 1] = conn, gen
  end
end
for from = 0, #kept - 1, MOST do
  local indexed = redis.call('ZMSCORE', index, unpack(kept, from + 1, math.min(from + MOST, #kept)))
  for i, score in ipairs(indexed) do
    local conn, gen = kept[from + i], gens[from + i]
    if score ~= gen then redis.call('ZADD', index, gen, conn) end
  end
end
if redis.call('EXISTS', leases) == 1 then redis.call('HSET', leases, '#cur', chunk[1]) end
return answer
