-- What the scripts share.
--   leases  'i:<inc>' -> gen    'g:<gen>' -> '<untilMs>|<inc>'    '#gen' '#ep' '#v' '#cur'    '#lost' -> ms: a node brought
--           a lease of an earlier epoch, so routes may be missing until then
--   routes  conn -> '<gen>|<tok>|<fencing token>|<expMs>', then '|<prev>,<prev>,<prev>|<takeoverMs>,...' after a former
--           owner or with a user, with prev = '<inc>/<tok>', then '|<user>' with a user
local MOST = 500 -- items that one call may touch: keeps every script well below a millisecond or two
local function num(n)
  return string.format('%.0f', n)
end
local function genOf(leases, inc)
  return redis.call('HGET', leases, 'i:' .. inc)
end
local function parseLease(lease) -- until, inc; 0, nil for what is no lease
  local till, inc = string.match(lease or '', '^(%d+)|(.*)$')
  return tonumber(till) or 0, inc
end
local function leaseOf(leases, gen) -- the same; 0, nil when the lease is gone
  return parseLease(redis.call('HGET', leases, 'g:' .. gen))
end
local function extendLease(leases, gen, inc, ms)
  redis.call('HSET', leases, 'g:' .. gen, num(now + ms) .. '|' .. inc)
end
local function parseRoute(route) -- gen, tok, fencing token, exp, prevs, takeovers, user; exp is the only number; nil: no route
  local gen, tok, fencingToken, exp, prevs, takeovers, user =
    string.match(route, '^(%d+)|([^|]*)|(%d+)|(%d+)|?([^|]*)|?([^|]*)|?(.*)$')
  return gen, tok, fencingToken, tonumber(exp), prevs, takeovers, user
end
local function routeOf(gen, tok, fencingToken, exp, prevs, takeovers, user)
  local route = gen .. '|' .. tok .. '|' .. fencingToken .. '|' .. num(exp)
  if user ~= '' then return route .. '|' .. prevs .. '|' .. takeovers .. '|' .. user end
  if prevs == '' then return route end -- nearly all: two bytes less keep 100,000 of them in a smaller size of memory
  return route .. '|' .. prevs .. '|' .. takeovers
end
local function takeoversOf(past, pageLoad, window) -- takeovers of a route within the window, and how many were page loads, or were not
  local mark, counted, takeovers = pageLoad and 'l' or '', 0, {}
  for kind, at in string.gmatch(past, '(l?)(%d+)') do
    local recent = now - tonumber(at) < window
    if recent then takeovers[#takeovers + 1] = kind .. at end
    if recent and kind == mark then counted = counted + 1 end
  end
  return takeovers, counted, mark
end
local function hears(numsub, channel) -- whether it has a subscriber; taken for granted where Redis knows not all, or may not say
  return numsub == '' or redis.pcall('PUBSUB', numsub, channel)[2] ~= 0
end
local function isPartial(leases, epoch) -- whether routes that the sender knows of may be lost and not written again yet
  local known = redis.call('HMGET', leases, '#ep', '#lost')
  return known[1] ~= epoch or (tonumber(known[2]) or 0) > now
end
local function positionOf(id)
  local ms, sequence = string.match(id, '^(%d+)-(%d+)$')
  return tonumber(ms), tonumber(sequence)
end
local function lastEntryOf(headMs, headSequence, before) -- a new master moves the head without an entry; before is the last one then
  local id = num(headMs) .. '-' .. num(headSequence)
  return before and string.match(before, '-(%d+)$') == num(headSequence) and before or id
end
local function evictedAt(meta, evicts) -- when a key was found evicted last; 0 for never, and where Redis evicts none
  local info = evicts == '1' and redis.pcall('INFO', 'stats')
  local count = type(info) == 'string' and string.match(info, 'evicted_keys:(%d+)') or '0'
  local known = redis.call('HMGET', meta, 'ev', 'at')
  if count == (known[1] or '0') then return tonumber(known[2] or '0') end
  redis.call('HSET', meta, 'ev', count, 'at', num(now + 1))
  return now + 1
end
local function forgottenId(metaMs, lastEntry, evicted, pause) -- stands for a topic's last id that expired, or was evicted, by then;
  -- pause: '<last entry before the log paused> <ms of the end of that>'
  local ms = math.max(0, now - metaMs / 2, evicted)
  if lastEntry and positionOf(lastEntry) < ms then return lastEntry end
  local before, till = string.match(pause or '', '^(%S+) (%d+)$')
  return before and positionOf(before) < ms and ms < tonumber(till) and before or num(ms) .. '-0'
end
local function runIdOf(given) -- '?': ask; '' when it may not be asked
  if given ~= '?' then return given end
  local info = redis.pcall('INFO', 'server')
  return type(info) == 'string' and string.match(info, 'run_id:(%x+)') or ''
end
local function numbered(list, a, b, c, d) -- adds four values; the number of the four in the list
  local at = #list
  list[at + 1], list[at + 2], list[at + 3], list[at + 4] = a, b, c, d
  return at / 4 + 1
end
