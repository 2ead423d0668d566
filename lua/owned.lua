-- Lists what the cluster believes that one lease owns, a page at a time, and counts the partition.
--
-- KEYS[1] routes  routes of the partition
-- KEYS[2] index   route owners of the partition
--
-- ARGV[1] gen     generation of the lease
-- ARGV[2] offset  routes to pass over
-- ARGV[3] limit   most routes to return, at most 500; 0: only count
--
-- RETURNS
--   OK owned all indexed conn tok...  owned: entries of the lease in the index; all: routes of the partition; indexed:
--                                     entries of its index; then pairs in the order of connection ids; tok is '' where
--                                     only the index knows the connection
--
-- NOTES
--   Changes nothing. Pages are by rank: while routes come and go, one can be passed over; the next round sees it. A route
--   or an entry of the index that lacks its counterpart makes all and indexed differ.
local routes, index = KEYS[1], KEYS[2]
local gen, offset, limit = ARGV[1], ARGV[2], math.min(tonumber(ARGV[3]), MOST)

local answer =
  { 'OK', redis.call('ZCOUNT', index, gen, gen), redis.call('HLEN', routes), redis.call('ZCARD', index) }
local conns = redis.call('ZRANGEBYSCORE', index, gen, gen, 'LIMIT', offset, limit)
if #conns == 0 then return answer end
local found = redis.call('HMGET', routes, unpack(conns))
for i, conn in ipairs(conns) do
  answer[#answer + 1] = conn
  answer[#answer + 1] = select(2, parseRoute(found[i] or '')) or ''
end
return answer
