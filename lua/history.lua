-- Reads entries of the ordered log, of each topic after a position of its own.
--
-- KEYS[1] meta      epoch of the log
-- KEYS[2] ...       stream last, of at most 32 topics
--
-- ARGV[1] epoch     epoch of the positions
-- ARGV[2] limit     most entries to return, about; at most 500
-- ARGV[3] bytes     bytes of entries to return, about; at least one entry
-- ARGV ...          ms sequence, of the position of each topic
--
-- RETURNS
--   OK    read gaps more entries  read: topics that were read, the first ones; gaps: [topic until...] with entries missing
--                                 after the position, the newest of them being until, '' when it is forgotten;
--                                 more: topics that may have more entries; entries: [topic id previous payload...],
--                                 topic by topic, in order
--   EPOCH                         the positions are of another log
--   LIMIT                         more than 32 topics
--
-- NOTES
--   Topics are numbered from 1 in the order of KEYS. Each has an equal share of limit and bytes. Trims take the oldest
--   entries and every entry names its predecessor, so entries are missing exactly when the first one after the position has
--   a predecessor after it; without any, when the topic's last id is after the position. Entries are read a few at a time:
--   the size of an entry is known only when it was read. An entry or a last id that no node wrote is answered as one without
--   payload, or as a forgotten one.
local meta, topics = KEYS[1], (#KEYS - 1) / 2
local epoch, limit, bytes = ARGV[1], math.min(tonumber(ARGV[2]), MOST), tonumber(ARGV[3])

if topics > 32 then return { 'LIMIT' } end
if redis.call('HGET', meta, 'e') ~= epoch then return { 'EPOCH' } end

local share, most = bytes / topics, math.max(1, math.floor(limit / topics))
local read, used, gaps, more, entries = 0, 0, {}, {}, {}
local function addGap(topic, untilId)
  gaps[#gaps + 1] = topic
  gaps[#gaps + 1] = untilId
end
while read < topics and (read == 0 or used < bytes) do
  read = read + 1
  local t, count, size = read, 0, 0
  local ms, sequence = ARGV[2 + 2 * t], ARGV[3 + 2 * t]
  local from, page, asked = ms .. '-' .. sequence, nil, nil
  local function isMissed(id) -- whether an entry up to this one is after the position
    local idMs, idSequence = positionOf(id)
    return idMs and (idMs > tonumber(ms) or (idMs == tonumber(ms) and idSequence > tonumber(sequence)))
  end
  repeat
    asked = count == 0 and 1 or math.min(8, most - count, math.max(1, math.floor((share - size) * count / size)))
    page = redis.call('XRANGE', KEYS[2 * t], '(' .. from, '+', 'COUNT', asked)
    for _, entry in ipairs(page) do
      local previous, payload = entry[2][2], entry[2][4] or ''
      if count == 0 and isMissed(previous) then addGap(t, previous) end
      from, count, size = entry[1], count + 1, size + #payload
      for _, value in ipairs({ t, from, previous, payload }) do entries[#entries + 1] = value end
    end
  until #page < asked or count >= most or size >= share
  if #page == asked then more[#more + 1] = t end
  if count == 0 then
    local last = redis.call('GET', KEYS[2 * t + 1]) or ''
    if not positionOf(last) then last = '' end
    if last == '' or isMissed(last) then addGap(t, last) end
  end
  used = used + size
end
return { 'OK', read, gaps, more, entries }
