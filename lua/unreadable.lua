-- Names the keys of the ordered log that have another type.
--
-- KEYS[1] meta     epoch and last id of the log
-- KEYS[2] ...      stream last, of at most 32 topics
--
-- ARGV             none
--
-- RETURNS
--   OK unreadable...  the keys that have another type
--   LIMIT             more than 32 topics
--
-- NOTES
--   Changes nothing. A key that is not there can be read.
local meta, topics = KEYS[1], (#KEYS - 1) / 2

if topics > 32 then return { 'LIMIT' } end
local reply = { 'OK' }
for i, key in ipairs(KEYS) do
  local answer = redis.pcall(key == meta and 'HLEN' or i % 2 == 0 and 'XLEN' or 'GET', key)
  if type(answer) == 'table' and answer.err then reply[#reply + 1] = key end
end
return reply
