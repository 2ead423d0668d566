-- Publishes messages to the nodes that own their connection ids. Those of one owner share a publication, in their order.
--
-- KEYS[1] leases         leases of the partition
-- KEYS[2] routes         routes of the partition
-- KEYS[3] ...            marks, of the messages with a mark, in their order: owner and token that last got a message with this id
--
-- ARGV[1] epoch          data epoch the sender believes in; '' when it knows none
-- ARGV[2] counts         1 when receivers are all subscribers of the owner's channel
-- ARGV[3] pubCommand     PUBLISH or SPUBLISH
-- ARGV[4] channelPrefix  channel of a node without its incarnation
-- ARGV[5] named          '' when no other node can send messages with these ids; else a line for each, without a break behind the
--                        last: '' or '<ms>', which its mark lives, or '<ms> <inc> <tok>' with the owner and token in the mark
--                        that say they did not deliver the message
-- ARGV[6] ...            conn payload, at most 64: connection id; bytes for the owner
--
-- RETURNS
--   OK outcomes number...  the number of its outcome for each message; the outcomes are a list of status inc tok receivers...:
--     ROUTED   published to its owner; receivers as Redis counts them; tok is ''
--     FORMER   not published: another connection of the id may have got the message; inc and tok of that one
--     NONE     no route
--     PARTIAL  no route; but routes were lost, and may not be written again yet
--
-- NOTES
--   The owner gets '<tok> <payload>', or several in '+ ' and for each '<length> <tok> <payload>', the length being that of token,
--   blank and payload. Look-up and publication are one step, so a route cannot change in between. A lease or a
--   route that ran out does not count: in a Redis that refuses writes it cannot be renewed, and the owner's answer decides.
--   A retry publishes again; the owner recognises the message id. In a Redis Cluster without sharded Pub/Sub receivers
--   counts the subscribers of one master only. A Redis that refuses writes keeps no mark.
local leases, routes = KEYS[1], KEYS[2]
local epoch, counts, pubCommand, channelPrefix, named = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]

local lines, conns, outcomes, incs, frames, marks, given, missing = {}, {}, {}, {}, {}, {}, 2, nil
local function formerOf(key, owner, asked) -- inc and tok of another connection that may have got the message
  local former = redis.pcall('GET', key)
  if type(former) == 'string' and former ~= owner and former ~= asked then return string.match(former, '^(%S+) (%S+)$') end
end
local function send(route, line, payload)
  if line ~= '' then given = given + 1 end
  local gen, tok = string.match(route or '', '^(%d+)|([^|]*)|%d+|%d+')
  if gen and incs[gen] == nil then incs[gen] = select(2, leaseOf(leases, gen)) or false end
  local inc = incs[gen or '']
  if not inc then
    missing = missing or numbered(outcomes, isPartial(leases, epoch) and 'PARTIAL' or 'NONE', '', '', 0)
    return missing
  end
  local frame = frames[inc] or { inc = inc }
  if line ~= '' then
    local key, owner, ms, asked = KEYS[given], inc .. ' ' .. tok, string.match(line, '^(%d+) ?(.*)$')
    local formerInc, formerTok = formerOf(key, owner, asked)
    if formerInc then return numbered(outcomes, 'FORMER', formerInc, formerTok, 0) end
    marks[#marks + 1] = { key = key, owner = owner, ms = ms, frame = frame }
  end
  if not frame.number then
    frame.number, frame.tok = numbered(outcomes, 'ROUTED', inc, '', 0), tok
    frames[inc], frames[#frames + 1] = frame, frame
  end
  frame[#frame + 1], frame[#frame + 2] = #tok + 1 + #payload .. ' ' .. tok .. ' ', payload
  return frame.number
end

if named ~= '' then
  for line in string.gmatch(named .. '\n', '(.-)\n') do lines[#lines + 1] = line end
end
for at = 6, #ARGV, 2 do conns[#conns + 1] = ARGV[at] end
local found, answer = redis.call('HMGET', routes, unpack(conns)), { 'OK', outcomes }
for i = 1, #conns do answer[i + 2] = send(found[i], lines[i] or '', ARGV[2 * i + 5]) end
for _, frame in ipairs(frames) do
  local text = #frame > 2 and '+ ' .. table.concat(frame) or frame.tok .. ' ' .. frame[2]
  outcomes[4 * frame.number] = redis.call(pubCommand, channelPrefix .. frame.inc, text)
end
for _, mark in ipairs(marks) do
  local key, receivers = mark.key, outcomes[4 * mark.frame.number]
  if receivers > 0 or counts ~= '1' then redis.pcall('SET', key, mark.owner, 'PX', mark.ms) end
end
return answer
