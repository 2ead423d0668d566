-- Makes a node the owner of connection ids, one registration after the other:
--   1. refuses a node whose lease is gone, and a registration that was given up;
--   2. recognises an earlier attempt of a registration, and one that was superseded since;
--   3. decides by mode and fencing token whether a live owner is superseded; counts takeovers;
--   4. refuses a new connection of a user, an address or a cluster that has as many as it may have;
--   5. writes routes, index and counters; notifies former owners that were not reaped.
--
-- KEYS[1] leases          leases of the partition
-- KEYS[2] routes          routes of the partition
-- KEYS[3] index           route owners of the partition
-- KEYS[4] ...             tombstones, of at most 100 registrations: marks left by ambiguous unregisters
-- KEYS ...                counters, of the users and addresses that the registrations count for, in their order
--
-- ARGV[1] inc             incarnation of the node
-- ARGV[2] gen             generation of its lease
-- ARGV[3] mode            take: supersede a live owner; load: the same, counted apart; nx: refuse; restore: supersede only
--                         a smaller fencing token
-- ARGV[4] ttlMs           milliseconds the routes live
-- ARGV[5] leaseMs         milliseconds the lease lives from now on
-- ARGV[6] keyMs           milliseconds the keys live when they are new
-- ARGV[7] takeoverLimit   takeovers of one id and mode that succeed within the window; more than 500 count as 500
-- ARGV[8] takeoverWindow  milliseconds
-- ARGV[9] numsub          subcommand of PUBSUB that counts the subscribers of a node, '' where that counts not all of them
-- ARGV[10] pubCommand     PUBLISH or SPUBLISH
-- ARGV[11] channelPrefix  channel of a node without its incarnation
-- ARGV[12] ...            conn tok user more, at most 100: connection id; token within the node; user, '' when there is none; with
--                         line breaks between them and none at the end: the connection's own fencing token, in mode restore;
--                         routes that the partition may have; 'most,perMinute;' for each of its counters: connections, connects
--                         within a minute, '' for no limit; trace of its opening
--
-- RETURNS
--   OK now routes answers number...  routes of the partition; the number of its answer for each registration; the answers are a
--                         list of status fencingToken inc tok...:
--     NEW     owner; inc and tok of a notified former owner that was no longer live, or ''
--     TOOK    owner; inc and tok of the former owner, which was notified
--     DUP     owner since an earlier attempt with this token; inc and tok are ''
--     STALE   superseded since an earlier attempt; inc and tok of the present owner
--     EXISTS  mode nx: inc and tok of the live owner
--     MOVED   mode restore: inc and tok of the live owner, whose fencing token is not smaller
--     STORM   mode take or load: the limit is reached; inc and tok of the owner, which keeps the id
--     GONE    the registration was given up before
--     FULL    too many connections; in place of the fencing token the number of the counter among its own, 0: of the partition
--     OFTEN   too many connects within a minute; the same
--   LOST      the lease is not that of this node any more; nothing was changed
--
-- NOTES
--   Only NEW, TOOK and DUP change a route. The fencing token grows with every owner of an id, also after a flush. A restored
--   connection keeps its own: where Redis has lost writes, a live route with a smaller one is older data. The last three
--   superseded tokens are kept: a late retry of one must not win the id back. A route of its own under an earlier lease is
--   moved to the present one (NEW): else it would be reaped with the old lease. A former owner gets the JSON
--   {v:1, t:'superseded', c:conn, k:tok, f:fencing token, x:trace if given}, also when its lease ran out: a node that only
--   stalled renews the lease when it wakes up. The limit of takeovers ends a fight of two clients that both live. A takeover
--   from another node counts while that node hears its channel. A killed node does not hear, although its lease still runs, and
--   its clients must not be refused. A frozen node hears until its lease is over. While a subscription is away for a moment,
--   takeovers from its node do not count. No client can bring that about, and a hostile one would gain nothing: it may connect
--   with another id at any time. A route that cannot be read is none. FULL and OFTEN concern neither mode restore nor the
--   takeover of a live owner. In a counter only the connections of live leases count.
local leases, routes, index, numsub, channelPrefix = KEYS[1], KEYS[2], KEYS[3], ARGV[9], ARGV[11]
local inc, gen, mode, ttlMs, leaseMs, keyMs = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5]), ARGV[6]
local takeoverLimit, takeoverWindow, pubCommand = math.min(tonumber(ARGV[7]), MOST), tonumber(ARGV[8]), ARGV[10]

if genOf(leases, inc) ~= gen then return { 'LOST' } end

local call = { leases = leases, inc = inc, gen = gen, mode = mode, ttlMs = ttlMs, numsub = numsub, channelPrefix = channelPrefix }
call.takeoverLimit, call.takeoverWindow = takeoverLimit, takeoverWindow
local count, conns, current, written, indexed, notices, answers = (#ARGV - 11) / 4, {}, {}, {}, {}, {}, {}
local answer, added, given, new = { 'OK', num(now), 0, answers }, 0, false, nil
local fresh = '|' .. num(nowMicros) .. '|' .. num(now + ttlMs)

local function register(key, conn, tok, user, more, old) -- the number of the answer; then the new route, unless it is refused
  local own, room, limits, x = string.match(more, '^([^\n]*)\n?([^\n]*)\n?([^\n]*)\n?(.*)$')
  own = tonumber(own) or nowMicros
  local entry, counters, limit, which = gen .. '/' .. tok, countersOf(limits, count + 4), nil, nil
  local status, token, owner, oldTok, route = 'GONE', 0, '', '', nil
  if not given or redis.call('EXISTS', key) == 0 then
    status, token, owner, oldTok, route = decide(call, old, tok, user, own)
    local most = not old and tonumber(room)
    if status == 'NEW' and mode ~= 'restore' then limit, which = refusalOf(leases, counters, entry, index, most, added) end
    if limit then status, token, owner, oldTok, route = limit, which, '', '', nil end
  end
  if route then countIn(counters, entry, keyMs) end
  if route and owner ~= '' then
    local notice = { v = 1, t = 'superseded', c = conn, k = oldTok, f = num(token), x = x ~= '' and x or nil }
    notices[#notices + 1] = { owner, notice }
  end
  return numbered(answers, status, num(token), owner, oldTok), route
end

for i = 1, count do conns[i] = ARGV[4 * i + 8] end
given = redis.call('EXISTS', unpack(KEYS, 4, count + 3)) > 0
local found = redis.call('HMGET', routes, unpack(conns))
for i, conn in ipairs(conns) do
  local at, old, route = 4 * i + 8, current[conn] or found[i], nil
  local tok, user, more = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  if not old and not given and (more == '' or string.find(more, '^\n\n\n')) then -- nearly all: the same result in fewer steps
    new = new or numbered(answers, 'NEW', num(nowMicros), '', '')
    answer[i + 4], route = new, gen .. '|' .. tok .. fresh .. (user == '' and '' or '|||' .. user)
  else
    answer[i + 4], route = register(KEYS[i + 3], conn, tok, user, more, old)
  end
  if route then
    local to = 2 * added
    current[conn], written[to + 1], written[to + 2], indexed[to + 1], indexed[to + 2] = route, conn, route, gen, conn
    added = added + 1
  end
end
if added > 0 then
  redis.call('HSET', routes, unpack(written))
  redis.call('ZADD', index, unpack(indexed))
  for _, key in ipairs(redis.call('HLEN', routes) <= #conns and { routes, index } or {}) do redis.call('PEXPIRE', key, keyMs) end
  if leaseOf(leases, gen) < now + leaseMs / 2 then extendLease(leases, gen, inc, leaseMs) end
end
answer[3] = redis.call('ZCARD', index)
for _, notice in ipairs(notices) do redis.call(pubCommand, channelPrefix .. notice[1], cjson.encode(notice[2])) end
return answer
