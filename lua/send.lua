-- Publishes a message to the node that owns a connection id, if that node is alive.
--
-- KEYS[1] leases         leases of the partition
-- KEYS[2] routes         routes of the partition
--
-- ARGV[1] conn           connection id
-- ARGV[2] pubCommand     PUBLISH or SPUBLISH
-- ARGV[3] channelPrefix  channel of a node without its incarnation
-- ARGV[4] payload        bytes for the owner
--
-- RETURNS
--   ROUTED  inc tok fencingToken receivers  published to its owner; receivers as Redis counts them
--   EXPIRED inc tok fencingToken            the route ran out
--   DEAD    inc tok fencingToken            the lease of its owner ran out; inc is '' when the lease is gone
--   NONE                                    no route
--
-- NOTES
--   The owner gets '<tok> <payload>'. Look-up, proof of life and publication are one step, so a route cannot change in
--   between. A retry publishes again; the owner recognises the message id. In a Redis Cluster without sharded Pub/Sub
--   receivers counts the subscribers of one master only.
local leases, routes = KEYS[1], KEYS[2]
local conn, pubCommand, channelPrefix, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local route = redis.call('HGET', routes, conn)
if not route then return { 'NONE' } end
local gen, tok, fencingToken, exp = parseRoute(route)
local till, inc = leaseOf(leases, gen)
if till <= now then return { 'DEAD', inc or '', tok, fencingToken } end
if exp <= now then return { 'EXPIRED', inc, tok, fencingToken } end
return { 'ROUTED', inc, tok, fencingToken, redis.call(pubCommand, channelPrefix .. inc, tok .. ' ' .. payload) }
