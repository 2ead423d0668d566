-- Counts the routes of live leases.
--
-- KEYS[1] leases  leases of the partition
-- KEYS[2] index   route owners of the partition
--
-- ARGV            none
--
-- RETURNS
--   OK live total inc count...  live: routes of live leases; total: of all; then each live lease with its routes
--
-- NOTES
--   Changes nothing. Counted from the index, so it cannot drift. A route that ran out counts until expire removes it.
local leases, index = KEYS[1], KEYS[2]

local answer, live = { 'OK', 0, redis.call('ZCARD', index) }, 0
local fields = redis.call('HGETALL', leases)
for i = 1, #fields, 2 do
  local gen = string.match(fields[i], '^g:(%d+)$')
  if gen then
    local till, inc = string.match(fields[i + 1], '^(%d+)|(.*)$')
    if tonumber(till) > now then
      local count = redis.call('ZCOUNT', index, gen, gen)
      live = live + count
      answer[#answer + 1] = inc
      answer[#answer + 1] = count
    end
  end
end
answer[2] = live
return answer
