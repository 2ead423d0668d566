-- Takes, keeps or gives up a lock, which has one holder at a time, or only names the holder.
--
-- KEYS[1] lock    the lock
--
-- ARGV[1] holder  who wants it, or gives it up
-- ARGV[2] ms      milliseconds to hold it from now on; 0 only asks; -1 gives it up
--
-- RETURNS
--   HELD holder   the present holder
--   FREE          there is no holder, and ms is not positive
--
-- NOTES
--   A lock ends by itself. Its holder keeps it by asking for it again in time. Only its holder gives it up.
local lock, holder, ms = KEYS[1], ARGV[1], tonumber(ARGV[2])

local present = redis.call('GET', lock)
if ms > 0 and (not present or present == holder) then
  redis.call('SET', lock, holder, 'PX', ms)
  present = holder
elseif ms < 0 and present == holder then
  redis.call('PEXPIRE', lock, 0)
  present = false
end
if not present then return { 'FREE' } end
return { 'HELD', present }
