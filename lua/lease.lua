-- Renews the lease of one node in one partition, or opens one when it has none.
--
-- KEYS[1] leases    leases of the partition
-- KEYS[2] routes    routes of the partition
-- KEYS[3] index     route owners of the partition
--
-- ARGV[1] inc       incarnation of the node
-- ARGV[2] gen       generation the node believes in; '' when it knows none
-- ARGV[3] epoch     data epoch the node believes in; '' when it knows none
-- ARGV[4] leaseMs   milliseconds the lease lives from now on
-- ARGV[5] keyMs     milliseconds the three keys live from now on
-- ARGV[6] schema    layout this node reads and writes
-- ARGV[7] newEpoch  epoch to begin when the partition is empty
--
-- RETURNS
--   RENEWED gen epoch owned nowMicros full routes  the lease the node believed in; owned: its routes in this partition;
--                     nowMicros: microseconds; full is 1 when Redis is out of memory; routes: of all nodes in this partition
--   OPENED  gen epoch owned nowMicros full routes  another lease than it believed in: what it registered here is gone, restore it
--   SCHEMA  stored    the partition has another layout; nothing was changed
--   UNREADABLE key    a key is of another type; nothing was changed
--
-- NOTES
--   Generations are counted from the present second (modulo some days), not from 1: where the leases alone were lost,
--   old routes must not look like those of a new lease. Two lives can still begin in one second, so the epoch is compared
--   as well. OPENED is answered until the node has learnt gen and epoch; restoring twice is harmless. A lease that ran out
--   but was not reaped is renewed. A node that believes in another epoch had routes here, which are lost: for the time of a
--   lease send and resolve answer PARTIAL where there is no route. A full Redis refuses the first write of a script unless it
--   frees memory or is PEXPIRE, and no later one: so leases survive.
local leases, routes, index = KEYS[1], KEYS[2], KEYS[3]
local inc, gen, epoch, leaseMs, keyMs = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[5]
local schema, newEpoch = ARGV[6], ARGV[7]

for i, command in ipairs({ 'HLEN', 'HLEN', 'ZCARD' }) do
  local key = KEYS[i]
  if type(redis.pcall(command, key)) == 'table' then return { 'UNREADABLE', key } end
end
local stored = redis.call('HGET', leases, '#v')
if stored and stored ~= schema then return { 'SCHEMA', stored } end

local begun, full = redis.pcall('HSETNX', leases, '#ep', newEpoch), 0
if type(begun) == 'table' then
  if not string.find(begun.err, 'OOM', 1, true) then return begun end
  redis.call('PEXPIRE', leases, keyMs)
  begun, full = redis.call('HSETNX', leases, '#ep', newEpoch), 1
end
if begun == 1 then redis.call('HSET', leases, '#v', schema) end
local current = genOf(leases, inc)
if not tonumber(current or '') then
  local last = tonumber(redis.call('HGET', leases, '#gen') or '') or math.floor(now / 1000) % 1000000
  repeat last = last + 1 until redis.call('HEXISTS', leases, 'g:' .. num(last)) == 0
  current = num(last)
  redis.call('HSET', leases, '#gen', current, 'i:' .. inc, current)
end
extendLease(leases, current, inc, leaseMs)
local currentEpoch = redis.call('HGET', leases, '#ep')
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, keyMs) end
if epoch ~= '' and epoch ~= currentEpoch then redis.call('HSET', leases, '#lost', num(now + leaseMs)) end
local status = current == gen and currentEpoch == epoch and 'RENEWED' or 'OPENED'
local owned, all = redis.call('ZCOUNT', index, current, current), redis.call('ZCARD', index)
return { status, current, currentEpoch, owned, num(nowMicros), full, all }
