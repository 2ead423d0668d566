-- Takes or keeps a claim, which one holder at a time has, or only says who has it.
--
-- KEYS[1] claim   the claim
--
-- ARGV[1] holder  who wants it
-- ARGV[2] ms      milliseconds to have it from now on; 0 only asks
--
-- RETURNS
--   HELD holder   who has it now
--   FREE          nobody has it, and it was only asked for
--
-- NOTES
--   A claim ends by itself. Whoever has it keeps it by asking for it again in time.
local claim, holder, ms = KEYS[1], ARGV[1], tonumber(ARGV[2])

local present = redis.call('GET', claim)
if ms > 0 and (not present or present == holder) then
  redis.call('SET', claim, holder, 'PX', ms)
  present = holder
end
if not present then return { 'FREE' } end
return { 'HELD', present }
