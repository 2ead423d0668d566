-- Publishes a message to the node that owns a connection id.
--
-- KEYS[1] leases         leases of the partition
-- KEYS[2] routes         routes of the partition
-- KEYS[3] mark           owner and token that last got a message with this id; unused when markMs is 0
--
-- ARGV[1] epoch          data epoch the sender believes in; '' when it knows none
-- ARGV[2] conn           connection id
-- ARGV[3] markMs         milliseconds the mark lives; 0: no other node can send a message with this id
-- ARGV[4] askedInc       owner in the mark that says it did not deliver the message; '' when none was asked
-- ARGV[5] askedTok       token beside it
-- ARGV[6] counts         1 when receivers are all subscribers of the owner's channel
-- ARGV[7] pubCommand     PUBLISH or SPUBLISH
-- ARGV[8] channelPrefix  channel of a node without its incarnation
-- ARGV[9] payload        bytes for the owner
--
-- RETURNS
--   ROUTED  inc tok fencingToken receivers  published to its owner; receivers as Redis counts them
--   FORMER  inc tok                         not published: another connection of the id may have got the message
--   NONE                                    no route
--   PARTIAL                                 no route; but routes were lost, and may not be written again yet
--
-- NOTES
--   The owner gets '<tok> <payload>'. Look-up and publication are one step, so a route cannot change in between. A lease or a
--   route that ran out does not count: in a Redis that refuses writes it cannot be renewed, and the owner's answer decides.
--   A retry publishes again; the owner recognises the message id. In a Redis Cluster without sharded Pub/Sub receivers
--   counts the subscribers of one master only. A Redis that refuses writes keeps no mark.
local leases, routes, mark = KEYS[1], KEYS[2], KEYS[3]
local epoch, conn, markMs, askedInc, askedTok, counts = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local pubCommand, channelPrefix, payload = ARGV[7], ARGV[8], ARGV[9]

local gen, tok, fencingToken = parseRoute(redis.call('HGET', routes, conn) or '')
local _, inc = leaseOf(leases, gen or '')
if not inc then return { isPartial(leases, epoch) and 'PARTIAL' or 'NONE' } end

local owner, former = inc .. ' ' .. tok, markMs ~= '0' and redis.pcall('GET', mark)
if type(former) == 'string' and former ~= owner and former ~= askedInc .. ' ' .. askedTok then
  local formerInc, formerTok = string.match(former, '^(%S+) (%S+)$')
  if formerInc then return { 'FORMER', formerInc, formerTok } end
end
local receivers = redis.call(pubCommand, channelPrefix .. inc, tok .. ' ' .. payload)
if markMs ~= '0' and (receivers > 0 or counts ~= '1') then redis.pcall('SET', mark, owner, 'PX', markMs) end
return { 'ROUTED', inc, tok, fencingToken, receivers }
