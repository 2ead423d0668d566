-- Names the owners of connection ids.
--
-- KEYS[1] leases  leases of the partition
-- KEYS[2] routes  routes of the partition
--
-- ARGV[1] epoch   data epoch the node believes in; '' when it knows none
-- ARGV[2] ...     conns, at most 500
--
-- RETURNS
--   OK      inc tok fencingToken user...  for each connection, all '' without a route; user is '' when there is none
--   PARTIAL inc tok fencingToken user...  the same; but routes were lost, and may not be written again yet
--   LIMIT                                 more than 500 connections
--
-- NOTES
--   Changes nothing. As in send, a lease or a route that ran out counts until it is removed.
local leases, routes = KEYS[1], KEYS[2]
local epoch = ARGV[1]

if #ARGV > MOST + 1 then return { 'LIMIT' } end

local answer, owners = { isPartial(leases, epoch) and 'PARTIAL' or 'OK' }, {}
local found = #ARGV > 1 and redis.call('HMGET', routes, unpack(ARGV, 2)) or {}
for i = 1, #ARGV - 1 do
  local gen, tok, fencingToken, _, _, _, user = parseRoute(found[i] or '')
  if gen and owners[gen] == nil then owners[gen] = select(2, leaseOf(leases, gen)) or false end
  local route = gen and owners[gen] and { owners[gen], tok, fencingToken, user } or { '', '', '', '' }
  for _, value in ipairs(route) do answer[#answer + 1] = value end
end
return answer
