-- Reads the ordered log after a cursor, or only its head.
--
-- KEYS[1] meta      epoch and last id of the log
-- KEYS[2] ...       stream last, of at most 32 topics
--
-- ARGV[1] epoch     epoch of the cursor; '' asks for the head only
-- ARGV[2] ms        milliseconds of the cursor
-- ARGV[3] sequence  sequence of the cursor
-- ARGV[4] limit     most entries to return, about; at most 500
-- ARGV[5] metaMs    milliseconds the log's epoch lives from now on
-- ARGV[6] newEpoch  epoch to begin when the log is empty
-- ARGV[7] runId     run id of the Redis that is reached; '' unknown; '?' ask it here
-- ARGV[8] failoverJumpMs  milliseconds that a new master jumps ahead
--
-- RETURNS
--   OK    epoch head completeTo gaps entries  gaps: [topic until...] with entries missing after the cursor,
--                                             the newest of them being until or an earlier one;
--                                             entries: [topic id previous payload...], topic by topic, in order
--   EPOCH epoch head                    the cursor is of another log
--   AHEAD epoch head                    the cursor is newer than the log
--   LIMIT                              more than 32 topics
--
-- NOTES
--   Topics are numbered from 1 in the order of KEYS. completeTo before head: the page is full;
--   ask again from there. Trims take the oldest entries and every entry names its predecessor, so entries are missing
--   exactly when the first one after the cursor has a predecessor after it; without any, when the topic's last id is after
--   the cursor or, if that is forgotten too, the cursor is older than half of its life. Asking keeps the epoch alive.
local meta, topics = KEYS[1], (#KEYS - 1) / 2
local epoch, ms, sequence, limit = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), math.min(tonumber(ARGV[4]), MOST)
local metaMs, newEpoch, runId, failoverJumpMs = tonumber(ARGV[5]), ARGV[6], runIdOf(ARGV[7]), tonumber(ARGV[8])

if topics > 32 then return { 'LIMIT' } end

local m = redis.call('HMGET', meta, 'e', 'ms', 'g', 'r')
local current, headMs, headSequence, lastRun = m[1] or newEpoch, tonumber(m[2] or '0'), tonumber(m[3] or '0'), m[4] or ''
if not m[1] then
  headMs = now
  redis.call('HSET', meta, 'e', current, 'ms', num(headMs), 'g', '0', 'r', runId)
elseif runId ~= '' and lastRun ~= runId then -- as in publish
  if lastRun ~= '' then headMs = math.max(headMs + 1, now + failoverJumpMs) end
  redis.call('HSET', meta, 'ms', num(headMs), 'r', runId)
end
redis.call('PEXPIRE', meta, num(metaMs))
local head = num(headMs) .. '-' .. num(headSequence)
if epoch == '' then return { 'OK', current, head, head, {}, {} } end
if epoch ~= current then return { 'EPOCH', current, head } end

local function isAfter(id, otherMs, otherSequence)
  local idMs, idSequence = positionOf(id)
  return idMs > otherMs or (idMs == otherMs and idSequence > otherSequence)
end
if not isAfter(head, ms, sequence) and head ~= num(ms) .. '-' .. num(sequence) then return { 'AHEAD', current, head } end

local from, count = '(' .. num(ms) .. '-' .. num(sequence), math.ceil(limit / topics)
local gaps, pages, completeTo, endMs, endSequence = {}, {}, head, headMs, headSequence
local function addGap(topic, untilId)
  gaps[#gaps + 1] = topic
  gaps[#gaps + 1] = untilId
end
for t = 1, topics do
  local page = redis.call('XRANGE', KEYS[2 * t], from, '+', 'COUNT', count)
  pages[t] = page
  if page[1] then
    if isAfter(page[1][2][2], ms, sequence) then addGap(t, page[1][2][2]) end
    if #page == count and not isAfter(page[count][1], endMs, endSequence) then
      completeTo = page[count][1]
      endMs, endSequence = positionOf(completeTo)
    end
  else
    local last = redis.call('GET', KEYS[2 * t + 1]) or num(math.max(0, now - metaMs / 2)) .. '-0'
    if isAfter(last, ms, sequence) then addGap(t, last) end
  end
end
local entries = {}
for t = 1, topics do
  for _, entry in ipairs(pages[t]) do
    if isAfter(entry[1], endMs, endSequence) then break end
    for _, value in ipairs({ t, entry[1], entry[2][2], entry[2][4] }) do entries[#entries + 1] = value end
  end
end
return { 'OK', current, head, completeTo, gaps, entries }
