-- Reads marks of revocations.
--
-- KEYS[1] marks  the marks of the last time, a stream
--
-- ARGV[1] after  id of the last mark that the reader has
-- ARGV[2] limit  most marks to read; at most 500
--
-- RETURNS
--   OK now id mark...  Redis' time in milliseconds; the marks after the position, oldest first. An id begins with the time
--                      of its mark.
--
-- NOTES
--   Changes nothing.
local marks, after, limit = KEYS[1], ARGV[1], math.min(tonumber(ARGV[2]), MOST)

local answer = { 'OK', num(now) }
for _, entry in ipairs(redis.call('XRANGE', marks, '(' .. after, '+', 'COUNT', limit)) do
  answer[#answer + 1], answer[#answer + 2] = entry[1], entry[2][2]
end
return answer
