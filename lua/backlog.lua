-- Reads the newest entries of topics of the ordered log, all topics together.
--
-- KEYS[1] meta      epoch of the log
-- KEYS[2] ...       stream, of at most 32 topics
--
-- ARGV[1] epoch     epoch of the positions
-- ARGV[2] newest    id of the newest entry to return; with '(' in front: only entries before it
-- ARGV[3] after     only entries after this id
-- ARGV[4] limit     most entries to return; at most 500
-- ARGV[5] each      most entries of one topic
-- ARGV[6] bytes     bytes of entries to return, about; at least one entry
--
-- RETURNS
--   OK    entries   [topic id payload...], newest first
--   EPOCH           the positions are of another log
--   LIMIT           more than 32 topics
--
-- NOTES
--   Topics are numbered from 1 in the order of KEYS. Each topic is read backward, a few entries at a time: the size of an entry
--   is known only when it was read. The newest of what was read is returned next.
local meta, topics = KEYS[1], #KEYS - 1
local epoch, newest, after, limit = ARGV[1], ARGV[2], ARGV[3], math.min(tonumber(ARGV[4]), MOST)
local each, bytes = tonumber(ARGV[5]), tonumber(ARGV[6])

if topics > 32 then return { 'LIMIT' } end
if redis.call('HGET', meta, 'e') ~= epoch then return { 'EPOCH' } end

local all, entries, used = {}, {}, 0
local read, size = 0, 0 -- of all topics, to guess how many entries more are wanted
local function readOn(t) -- moves a topic to its next entry
  local topic = all[t]
  topic.at = topic.at + 1
  if not topic.page[topic.at] and topic.left > 0 then
    local most = math.min(8, topic.left, limit - #entries / 3)
    local asked = read < topics and 1 or math.min(most, math.max(1, math.floor((bytes - used) * read / size)))
    topic.page = redis.call('XREVRANGE', KEYS[1 + t], topic.from, '(' .. after, 'COUNT', asked)
    topic.at, topic.left = 1, #topic.page < asked and 0 or topic.left - asked
    for _, entry in ipairs(topic.page) do
      read, size, topic.from = read + 1, size + #(entry[2][4] or ''), '(' .. entry[1]
    end
  end
  topic.ms, topic.sequence = positionOf((topic.page[topic.at] or { '' })[1])
end
for t = 1, topics do
  all[t] = { from = newest, page = {}, at = 0, left = each }
  readOn(t)
end

local best
while #entries < 3 * limit and (used == 0 or used < bytes) do
  if best then readOn(best) end
  best = nil
  for t, topic in ipairs(all) do
    local other = all[best]
    if topic.ms and (not other or topic.ms > other.ms or topic.ms == other.ms and topic.sequence > other.sequence) then best = t end
  end
  if not best then break end
  local entry = all[best].page[all[best].at]
  local payload = entry[2][4] or ''
  for _, value in ipairs({ best, entry[1], payload }) do entries[#entries + 1] = value end
  used = used + #payload
end
return { 'OK', entries }
