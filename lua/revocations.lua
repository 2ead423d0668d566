-- Keeps a mark of a revocation, if one is given, and reads marks of revocations.
--
-- KEYS[1] marks  the marks of the last time, a stream
--
-- ARGV[1] mark   the revocation as its node wrote it; '' to read only
-- ARGV[2] most   marks that are kept at least; far older ones go
-- ARGV[3] ms     milliseconds that this mark, and those before it, are kept
-- ARGV[4] after  id of the last mark that the reader has
-- ARGV[5] limit  most marks to read
--
-- RETURNS
--   OK now id mark...  Redis' time in milliseconds; the marks after the position, oldest first. An id begins with the time
--                      of its mark.
--
-- NOTES
--   A retry keeps the mark twice, which changes nothing: a revocation concerns connections from before it.
local marks, mark, most, ms, after, limit = KEYS[1], ARGV[1], ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])

if mark ~= '' then
  redis.call('XADD', marks, 'MAXLEN', '~', most, '*', 'm', mark)
  redis.call('PEXPIRE', marks, ms)
end
local answer = { 'OK', num(now) }
for _, entry in ipairs(redis.call('XRANGE', marks, '(' .. after, '+', 'COUNT', math.min(limit, MOST))) do
  answer[#answer + 1], answer[#answer + 2] = entry[1], entry[2][2]
end
return answer
