-- Names the owners of connection ids.
--
-- KEYS[1] leases  leases of the partition
-- KEYS[2] routes  routes of the partition
--
-- ARGV[1] ...     conns, at most 500
--
-- RETURNS
--   OK live inc tok fencingToken user...  for each connection, all '' without a route; live is 1 when the route and the lease
--                                         of its owner hold; inc is '' when the lease is gone, user when there is none
--   LIMIT                                 more than 500 connections
--
-- NOTES
--   Changes nothing.
local leases, routes = KEYS[1], KEYS[2]

if #ARGV > MOST then return { 'LIMIT' } end

local answer, owners = { 'OK' }, {}
local found = #ARGV > 0 and redis.call('HMGET', routes, unpack(ARGV)) or {}
for i = 1, #ARGV do
  local live, inc, tok, fencingToken, user = '', '', '', '', ''
  if found[i] then
    local gen, exp, _
    gen, tok, fencingToken, exp, _, _, user = parseRoute(found[i])
    if not owners[gen] then
      local till, owner = leaseOf(leases, gen)
      owners[gen] = { till = till, inc = owner or '' }
    end
    inc = owners[gen].inc
    live = owners[gen].till > now and exp > now and 1 or 0
  end
  for _, value in ipairs({ live, inc, tok, fencingToken, user }) do answer[#answer + 1] = value end
end
return answer
