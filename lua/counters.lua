-- Counts connections for users and addresses, where register does not.
--
-- KEYS[1] leases    leases of the partition
-- KEYS[2] ...       counters, of at most 500 users and addresses
--
-- ARGV[1] gen       generation of the node's lease
-- ARGV[2] mode      enter: within the limits; renew: whatever the limits are; leave
-- ARGV[3] keyMs     milliseconds the counters live from now on
-- ARGV[4] ...       tok limits, for each counter: token within the node; 'most,perMinute;', as in register
--
-- RETURNS
--   OK result...  for each counter:
--     DONE   the connection counts, or counts no more
--     FULL   mode enter: the counter has as many connections as it may have
--     OFTEN  mode enter: it had as many connects within a minute as it may have
--
-- NOTES
--   Repeating it is harmless. Only the connections of live leases count.
local leases = KEYS[1]
local gen, mode, keyMs = ARGV[1], ARGV[2], ARGV[3]

local answer = { 'OK' }
for i = 1, #KEYS - 1 do
  local key, entry, counters = KEYS[i + 1], gen .. '/' .. ARGV[2 * i + 2], countersOf(ARGV[2 * i + 3], 2)
  local limit = mode == 'enter' and refusalOf(leases, counters, entry)
  if mode == 'leave' then
    redis.call('HDEL', key, entry, '#full')
  elseif not limit then
    countIn(counters, entry, keyMs)
  end
  answer[i + 1] = limit or 'DONE'
end
return answer
