-- Appends an event to the ordered log and publishes it:
--   1. a known idempotency key answers with the first result;
--   2. the next id comes after everything that this log, this topic, and a former master can have given out;
--   3. append, trim, remember, publish.
--
-- KEYS[1] meta         epoch and last id of the log
-- KEYS[2] stream       entries of the topic
-- KEYS[3] last         last id of the topic
-- KEYS[4] idempotency  first result of this key; unused when idempotencyMs is 0
--
-- ARGV[1] payload         bytes of the event
-- ARGV[2] maxEntries      newest entries to keep, about
-- ARGV[3] maxAgeMs        milliseconds to keep an entry, about; 0: no limit
-- ARGV[4] streamMs        milliseconds the stream lives from now on, at least
-- ARGV[5] metaMs          milliseconds the log's epoch and the topic's last id live from now on, at least
-- ARGV[6] newEpoch        epoch to begin when the log is empty
-- ARGV[7] runId           run id of the Redis that is reached; '' unknown; '?' ask it here
-- ARGV[8] failoverJumpMs  milliseconds that a new master jumps ahead
-- ARGV[9] pubCommand      PUBLISH or SPUBLISH
-- ARGV[10] channel        channel of the topic; '' publishes nothing
-- ARGV[11] idempotencyMs  milliseconds the key is known; 0: no key
-- ARGV[12] evicts         1 when Redis may evict keys
--
-- RETURNS
--   NEW   id previous epoch  appended; previous: the topic's entry before it
--   KEPT  id previous epoch  appended, but Redis refused to publish it: subscribers find it when they read the log
--   KNOWN id previous epoch  the key was published before; nothing was changed
--
-- NOTES
--   Subscribers get '<epoch> <id> <previous> <payload>'. Another run id than last time is a promoted or restored master:
--   it may have lost writes, so its ids start failoverJumpMs ahead, after every id the lost ones can have had. Where the topic's
--   last id is forgotten, previous is a bound instead, as look answers it, so that older cursors see a gap. XADD is the first
--   write: when Redis is out of memory nothing is half done. Trims by age and times to live are due once in a 64th of that time.
local meta, stream, last, idempotency = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local payload, maxEntries, maxAgeMs, streamMs = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local metaMs, newEpoch, runId, failoverJumpMs = tonumber(ARGV[5]), ARGV[6], runIdOf(ARGV[7]), tonumber(ARGV[8])
local pubCommand, channel, idempotencyMs, evicts = ARGV[9], ARGV[10], ARGV[11], ARGV[12]

-- Whether a time to live is to be renewed: after each 64th of it, so with the first publication in that.
local function isDue(lastMs, ttlMs)
  return not lastMs or math.floor(64 * lastMs / ttlMs) ~= math.floor(64 * now / ttlMs)
end
if idempotencyMs ~= '0' then
  local known = redis.call('GET', idempotency)
  if known then return { 'KNOWN', string.match(known, '^(%S+) (%S+) (%S+)$') } end
end

local m = redis.call('HMGET', meta, 'e', 'ms', 'g', 'r', 'l', 'q')
local epoch, sequence, lastRun = m[1] or newEpoch, tonumber(m[3] or '0'), m[4] or ''
local ms = math.max(tonumber(m[2] or '0'), now)
local lastEntry = m[1] and lastEntryOf(tonumber(m[2]), sequence, m[5])
local pause = m[6]
if lastEntry and positionOf(lastEntry) < now - metaMs / 4 then pause = lastEntry .. ' ' .. num(now) end
if runId ~= '' and lastRun ~= '' and lastRun ~= runId then ms = math.max(ms + 1, now + failoverJumpMs) end
local previous = redis.call('GET', last)
local lastMs, lastSequence = positionOf(previous or '')
if lastMs then -- never behind the topic, even when only the meta key was lost
  ms, sequence = math.max(ms, lastMs), math.max(sequence, lastSequence)
else
  previous = forgottenId(metaMs, lastEntry, m[1] and evictedAt(meta, evicts) or 0, pause)
end
local function renew(key, ttlMs) -- counted from the id: after a failover that is ahead of the clock
  redis.call('PEXPIRE', key, num(math.ceil(ttlMs * 65 / 64) + ms - now))
end
local id = num(ms) .. '-' .. num(sequence + 1)
local due, added = isDue(lastMs, streamMs), nil
if not due then added = redis.pcall('XADD', stream, 'NOMKSTREAM', 'MAXLEN', '~', maxEntries, id, 'p', previous, 'd', payload) end
if not added then -- also a stream that was deleted
  due, added = true, redis.pcall('XADD', stream, 'MAXLEN', '~', maxEntries, id, 'p', previous, 'd', payload)
end
if type(added) == 'table' and added.err then
  if not string.find(added.err, 'equal or smaller', 1, true) then return added end
  local info = redis.call('XINFO', 'STREAM', stream) -- meta and last were deleted, but not the stream: go on behind it
  for i = 1, #info, 2 do if info[i] == 'last-generated-id' then previous = info[i + 1] end end
  local lastMs, lastSequence = positionOf(previous)
  ms, sequence = math.max(ms, lastMs), math.max(sequence, lastSequence)
  id = num(ms) .. '-' .. num(sequence + 1)
  redis.call('XADD', stream, id, 'p', previous, 'd', payload)
end
if due and maxAgeMs > 0 then redis.call('XTRIM', stream, 'MINID', '~', num(now - maxAgeMs)) end
if due and redis.call('XLEN', stream) == 1 then -- Redis reserves 4 kB for the first entries: most topics of many have few
  local optional = redis.pcall
  local dump = optional('DUMP', stream)
  if type(dump) == 'string' then optional('RESTORE', stream, num(streamMs), dump, 'REPLACE') end
end
if due then renew(stream, streamMs) end
redis.call('SET', last, id, 'PX', num(metaMs))
redis.call('HSET', meta, 'e', epoch, 'ms', num(ms), 'g', num(sequence + 1), 'r', runId ~= '' and runId or lastRun)
if pause ~= m[6] then redis.call('HSET', meta, 'q', pause) end
if isDue(tonumber(m[2]), metaMs) then renew(meta, metaMs) end
if idempotencyMs ~= '0' then redis.call('SET', idempotency, id .. ' ' .. previous .. ' ' .. epoch, 'PX', idempotencyMs) end
local published = channel ~= '' and redis.pcall(pubCommand, channel, epoch .. ' ' .. id .. ' ' .. previous .. ' ' .. payload)
return { type(published) == 'table' and 'KEPT' or 'NEW', id, previous, epoch }
