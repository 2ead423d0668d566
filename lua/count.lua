-- Counts the routes of live leases.
--
-- KEYS[1] leases   leases of the partition
-- KEYS[2] index    route owners of the partition
--
-- ARGV[1] graceMs  milliseconds a lease may be over and count as live: it cannot be renewed while Redis refuses writes
--
-- RETURNS
--   OK live total inc count...  live: routes of live leases; total: of all; then each live lease with its routes
--
-- NOTES
--   Changes nothing. Counted from the index, so it cannot drift. A route that ran out counts until expire removes it.
local leases, index = KEYS[1], KEYS[2]
local graceMs = tonumber(ARGV[1])

local answer, live = { 'OK', 0, redis.call('ZCARD', index) }, 0
local fields = redis.call('HGETALL', leases)
for i = 1, #fields, 2 do
  local gen = string.match(fields[i], '^g:(%d+)$')
  local till, inc = parseLease(gen and fields[i + 1])
  if inc and till + graceMs > now then
    local count = redis.call('ZCOUNT', index, gen, gen)
    live = live + count
    answer[#answer + 1] = inc
    answer[#answer + 1] = count
  end
end
answer[2] = live
return answer
