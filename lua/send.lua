-- Publishes a message to the node that owns a connection id.
--
-- KEYS[1] leases         leases of the partition
-- KEYS[2] routes         routes of the partition
--
-- ARGV[1] epoch          data epoch the sender believes in; '' when it knows none
-- ARGV[2] conn           connection id
-- ARGV[3] pubCommand     PUBLISH or SPUBLISH
-- ARGV[4] channelPrefix  channel of a node without its incarnation
-- ARGV[5] payload        bytes for the owner
--
-- RETURNS
--   ROUTED  inc tok fencingToken receivers  published to its owner; receivers as Redis counts them
--   NONE                                    no route
--   PARTIAL                                 no route; but routes were lost, and may not be written again yet
--
-- NOTES
--   The owner gets '<tok> <payload>'. Look-up and publication are one step, so a route cannot change in between. A lease or a
--   route that ran out does not count: in a Redis that refuses writes it cannot be renewed, and the owner's answer decides.
--   A retry publishes again; the owner recognises the message id. In a Redis Cluster without sharded Pub/Sub receivers
--   counts the subscribers of one master only.
local leases, routes = KEYS[1], KEYS[2]
local epoch, conn, pubCommand, channelPrefix, payload = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local gen, tok, fencingToken = parseRoute(redis.call('HGET', routes, conn) or '')
if gen then
  local _, inc = leaseOf(leases, gen)
  if inc then
    return { 'ROUTED', inc, tok, fencingToken, redis.call(pubCommand, channelPrefix .. inc, tok .. ' ' .. payload) }
  end
end
return { isPartial(leases, epoch) and 'PARTIAL' or 'NONE' }
