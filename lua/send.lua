-- Publishes messages to the nodes that own their connection ids, one after the other.
--
-- KEYS[1] leases         leases of the partition
-- KEYS[2] routes         routes of the partition
-- KEYS[3] ...            marks, of at most 64 messages: owner and token that last got a message with this id; unused when
--                        markMs is 0
--
-- ARGV[1] epoch          data epoch the sender believes in; '' when it knows none
-- ARGV[2] counts         1 when receivers are all subscribers of the owner's channel
-- ARGV[3] pubCommand     PUBLISH or SPUBLISH
-- ARGV[4] channelPrefix  channel of a node without its incarnation
-- ARGV[5] ...            conn markMs askedInc askedTok payload, at most 64: connection id; milliseconds the mark lives, 0: no
--                        other node can send a message with this id; owner and token in the mark that say they did not deliver
--                        the message, '' when none was asked; bytes for the owner
--
-- RETURNS
--   OK status inc tok fencingToken receivers...  for each message:
--     ROUTED   published to its owner; receivers as Redis counts them
--     FORMER   not published: another connection of the id may have got the message; inc and tok of that one
--     NONE     no route
--     PARTIAL  no route; but routes were lost, and may not be written again yet
--
-- NOTES
--   The owner gets '<tok> <payload>'. Look-up and publication are one step, so a route cannot change in between. A lease or a
--   route that ran out does not count: in a Redis that refuses writes it cannot be renewed, and the owner's answer decides.
--   A retry publishes again; the owner recognises the message id. In a Redis Cluster without sharded Pub/Sub receivers
--   counts the subscribers of one master only. A Redis that refuses writes keeps no mark.
local leases, routes = KEYS[1], KEYS[2]
local epoch, counts, pubCommand, channelPrefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]

local count, conns, owners, answer = (#ARGV - 4) / 5, {}, {}, { 'OK' }
local function send(route, key, markMs, asked, payload)
  local gen, tok, fencingToken = parseRoute(route or '')
  if not owners[gen or ''] then owners[gen or ''] = { leaseOf(leases, gen or '') } end
  local inc = owners[gen or ''][2]
  if not inc then return isPartial(leases, epoch) and 'PARTIAL' or 'NONE', '', '', 0, 0 end
  local owner, former = inc .. ' ' .. tok, markMs ~= '0' and redis.pcall('GET', key)
  if type(former) == 'string' and former ~= owner and former ~= asked then
    local formerInc, formerTok = string.match(former, '^(%S+) (%S+)$')
    if formerInc then return 'FORMER', formerInc, formerTok, 0, 0 end
  end
  local receivers = redis.call(pubCommand, channelPrefix .. inc, tok .. ' ' .. payload)
  if markMs ~= '0' and (receivers > 0 or counts ~= '1') then redis.pcall('SET', key, owner, 'PX', markMs) end
  return 'ROUTED', inc, tok, fencingToken, receivers
end

for i = 1, count do conns[i] = ARGV[5 * i] end
local found = redis.call('HMGET', routes, unpack(conns))
for i = 1, count do
  local at = 5 * i
  local asked = ARGV[at + 2] .. ' ' .. ARGV[at + 3]
  local status, inc, tok, fencingToken, receivers = send(found[i], KEYS[i + 2], ARGV[at + 1], asked, ARGV[at + 4])
  answer[at - 3], answer[at - 2], answer[at - 1], answer[at], answer[at + 1] = status, inc, tok, fencingToken, receivers
end
return answer
