-- Reads where the ordered log stands, and the last ids of topics. Without topics it is the look of a node at rest.
--
-- KEYS[1] meta      epoch and last id of the log
-- KEYS[2] forgets   what is remembered of a connection id that begins anew, to be deleted; the meta key: nothing
-- KEYS[3] ...       last, of at most 1000 topics
--
-- ARGV[1] metaMs    milliseconds the log's epoch lives from now on
-- ARGV[2] newEpoch  epoch to begin when the log is empty
-- ARGV[3] runId     run id of the Redis that is reached; '' unknown; '?' ask it here
-- ARGV[4] failoverJumpMs  milliseconds that a new master jumps ahead
-- ARGV[5] evicts    1 when Redis may evict keys
--
-- RETURNS
--   OK    now epoch run head forgotten lasts  run: run id of the log's last writer; forgotten: stands for a last id that
--                                             is ''; lasts: last id of each topic, '' when it is forgotten
--   LIMIT                                     more than 1000 topics
--
-- NOTES
--   A topic has no entry after its last id. A forgotten last id stands for half of its life ago, or for the time at which a key
--   was found evicted last, but never for more than the log's own last entry, or the one before a pause in which that time is. Asking
--   keeps the epoch alive.
local meta, forgets, topics = KEYS[1], KEYS[2], #KEYS - 2
local metaMs, newEpoch, runId, failoverJumpMs = tonumber(ARGV[1]), ARGV[2], runIdOf(ARGV[3]), tonumber(ARGV[4])
local evicts = ARGV[5]

if topics > 1000 then return { 'LIMIT' } end

local m = redis.call('HMGET', meta, 'e', 'ms', 'g', 'r', 'l', 'q')
local epoch, ms, sequence, run = m[1] or newEpoch, tonumber(m[2] or '0'), tonumber(m[3] or '0'), m[4] or ''
local lastEntry = lastEntryOf(ms, sequence, m[5])
if not m[1] then
  ms, run = now, runId
  lastEntry = num(ms) .. '-0'
  redis.call('HSET', meta, 'e', epoch, 'ms', num(ms), 'g', '0', 'r', run)
elseif runId ~= '' and run ~= runId then -- as in publish
  if run ~= '' then ms = math.max(ms + 1, now + failoverJumpMs) end
  run = runId
  redis.call('HSET', meta, 'ms', num(ms), 'r', run, 'l', lastEntry)
end
redis.call('PEXPIRE', meta, num(metaMs))
if forgets ~= meta then redis.call('PEXPIRE', forgets, 0) end

local evicted = topics > 0 and evictedAt(meta, evicts) or 0
local lasts = topics > 0 and redis.call('MGET', unpack(KEYS, 3)) or {}
for t = 1, topics do lasts[t] = lasts[t] or '' end
return { 'OK', now, epoch, run, num(ms) .. '-' .. num(sequence), forgottenId(metaMs, lastEntry, evicted, m[6]), lasts }
