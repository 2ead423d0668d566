-- Removes the routes of connection ids that are still those of these registrations.
--
-- KEYS[1] leases       leases of the partition
-- KEYS[2] routes       routes of the partition
-- KEYS[3] index        route owners of the partition
-- KEYS[4] ...          tombstones, of at most 100 registrations
--
-- ARGV[1] inc          incarnation of the node
-- ARGV[2] ...          conn tok tombstoneMs, at most 100: token within the node; 0, or, when the registration had no answer and
--                      may still arrive, milliseconds to refuse it
--
-- RETURNS
--   OK result...  for each registration:
--     REMOVED  it was ours
--     NONE     there is no route
--     FOREIGN  the route is another registration's and stays
--
-- NOTES
--   A retry after a success without an answer gets NONE. The lease is not compared: a node without one may still remove
--   its routes. A route that cannot be read is none, and is removed.
local leases, routes, index = KEYS[1], KEYS[2], KEYS[3]
local inc = ARGV[1]

local conns, answer, gone = {}, { 'OK' }, {}
for i = 2, #ARGV, 3 do
  local key = KEYS[#conns + 4]
  conns[#conns + 1] = ARGV[i]
  if ARGV[i + 2] ~= '0' then redis.call('SET', key, '1', 'PX', ARGV[i + 2]) end
end
local found = redis.call('HMGET', routes, unpack(conns))
for i, conn in ipairs(conns) do
  local result = 'NONE'
  local gen, owner = parseRoute(found[i] or '')
  if gen and not gone[conn] then
    local _, ownerInc = leaseOf(leases, gen)
    result = owner == ARGV[3 * i] and ownerInc == inc and 'REMOVED' or 'FOREIGN'
  end
  if result ~= 'FOREIGN' then -- without a route too: an eviction can have taken the routes alone
    gone[conn] = true
    redis.call('HDEL', routes, conn)
    redis.call('ZREM', index, conn)
  end
  answer[#answer + 1] = result
end
return answer
