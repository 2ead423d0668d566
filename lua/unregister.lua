-- Removes the route of a connection id if it is still that of this registration.
--
-- KEYS[1] leases       leases of the partition
-- KEYS[2] routes       routes of the partition
-- KEYS[3] index        route owners of the partition
-- KEYS[4] tombstone    mark of this very registration
--
-- ARGV[1] inc          incarnation of the node
-- ARGV[2] conn         connection id
-- ARGV[3] tok          token of the connection within its node
-- ARGV[4] tombstoneMs  0; or, when the registration had no answer and may still arrive: milliseconds to refuse it
--
-- RETURNS
--   REMOVED  it was ours
--   NONE     there is no route
--   FOREIGN  the route is another registration's and stays
--
-- NOTES
--   A retry after a success without an answer gets NONE. The lease is not compared: a node without one may still remove
--   its routes.
local leases, routes, index, tombstone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local inc, conn, tok, tombstoneMs = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

if tombstoneMs ~= '0' then redis.call('SET', tombstone, '1', 'PX', tombstoneMs) end
local route = redis.call('HGET', routes, conn)
if not route then
  redis.call('ZREM', index, conn) -- an eviction can have taken the routes alone
  return { 'NONE' }
end
local gen, owner = parseRoute(route)
local _, ownerInc = leaseOf(leases, gen)
if owner ~= tok or ownerInc ~= inc then return { 'FOREIGN' } end
redis.call('HDEL', routes, conn)
redis.call('ZREM', index, conn)
return { 'REMOVED' }
