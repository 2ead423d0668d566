-- Removes the routes of one lease that ran out, or of the caller's own lease, a batch at a time.
--
-- KEYS[1] leases   leases of the partition
-- KEYS[2] routes   routes of the partition
-- KEYS[3] index    route owners of the partition
--
-- ARGV[1] limit    most routes to remove, at most 500
-- ARGV[2] overBy   ms, the time of the call as its node knows it: the lease must have been over then; unused for its own
-- ARGV[3] self     '' for any lease that is over; an incarnation to release its own, live or not
--
-- RETURNS
--   DONE inc gen conn tok...  the last batch of that lease, which is gone with it
--   MORE inc gen conn tok...  a batch; call again
--   NONE                      no lease to reap
--
-- NOTES
--   Any node may call it, several at once: a route is returned by exactly one call. The first batch of a lease that is over
--   takes the lease from its node: from then on every write under it answers LOST. That must not concern a new lease which
--   the node has opened since. A release keeps the lease until the last batch. A call may have waited while Redis stood
--   still: nodes could not renew their leases then, so those that ran out meanwhile are left alone.
local leases, routes, index = KEYS[1], KEYS[2], KEYS[3]
local limit, overBy, self = math.min(tonumber(ARGV[1]), MOST), math.min(tonumber(ARGV[2]), now), ARGV[3]

local inc, gen
if self ~= '' then
  inc, gen = self, genOf(leases, self)
else
  local fields = redis.call('HGETALL', leases)
  for i = 1, #fields, 2 do
    local candidate = string.match(fields[i], '^g:(%d+)$')
    local till, owner = parseLease(candidate and fields[i + 1])
    if owner and till <= overBy then
      inc, gen = owner, candidate
      break
    end
  end
  if gen and genOf(leases, inc) == gen then redis.call('HDEL', leases, 'i:' .. inc) end
end
if not gen then return { 'NONE' } end

local conns = redis.call('ZRANGEBYSCORE', index, gen, gen, 'LIMIT', 0, limit)
local answer = { 'MORE', inc, gen }
if #conns > 0 then
  local found = redis.call('HMGET', routes, unpack(conns))
  for i, conn in ipairs(conns) do
    answer[#answer + 1] = conn
    answer[#answer + 1] = select(2, parseRoute(found[i] or '')) or ''
  end
  redis.call('HDEL', routes, unpack(conns))
  redis.call('ZREM', index, unpack(conns))
end
if #conns < limit then
  redis.call('HDEL', leases, 'g:' .. gen)
  if self ~= '' then redis.call('HDEL', leases, 'i:' .. inc) end
  answer[1] = 'DONE'
end
return answer
