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
-- ARGV[12] ...            conn tok user fencingToken trace room limits, at most 100: token within the node; user, '' when there is
--                         none; the connection's own fencing token in mode restore, else ''; trace of its opening, or ''; routes
--                         that the partition may have, or ''; 'most,perMinute;' for each of its counters: connections, connects
--                         within a minute, '' for no limit
--
-- RETURNS
--   OK now routes status fencingToken inc tok...  routes of the partition; then for each registration:
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

-- Status, fencing token, former or present owner and its token; then the new route, unless it is refused.
local function decide(old, tok, user, own)
  local oldGen, oldTok, oldToken, oldExp, oldPrevs, oldTakeovers = parseRoute(old or '')
  if not oldGen then return 'NEW', own, '', '', routeOf(gen, tok, num(own), now + ttlMs, '', '', user) end
  local till, oldInc = leaseOf(leases, oldGen)
  local same = oldInc == inc and oldTok == tok
  if same and oldGen == gen then
    return 'DUP', oldToken, '', '', routeOf(gen, tok, oldToken, now + ttlMs, oldPrevs, oldTakeovers, user)
  end
  local owner, newer = oldInc or '', mode == 'restore' and own > tonumber(oldToken)
  local superseded = string.find(',' .. oldPrevs .. ',', ',' .. inc .. '/' .. tok .. ',', 1, true)
  if superseded and not same and not newer then return 'STALE', oldToken, owner, oldTok end
  local live = not same and oldInc and till > now and oldExp > now
  if live and mode == 'nx' then return 'EXISTS', oldToken, owner, oldTok end
  if live and mode == 'restore' and not newer then return 'MOVED', oldToken, owner, oldTok end
  local takes = live and (mode == 'take' or mode == 'load') and (oldInc == inc or hears(numsub, channelPrefix .. oldInc))
  local takeovers, counted, mark = takeoversOf(oldTakeovers, mode == 'load', takeoverWindow)
  if takes and counted >= takeoverLimit then return 'STORM', oldToken, owner, oldTok end
  if takes then takeovers[#takeovers + 1] = mark .. num(now) end
  local token, prevs = newer and own or math.max(own, tonumber(oldToken) + 1), { (oldInc or '?') .. '/' .. oldTok }
  for prev in string.gmatch(oldPrevs, '[^,]+') do if #prevs < 3 then prevs[#prevs + 1] = prev end end
  if same then owner, oldTok = '', '' end
  local past = same and oldPrevs or table.concat(prevs, ',')
  local route = routeOf(gen, tok, num(token), now + ttlMs, past, table.concat(takeovers, ','), user)
  return live and 'TOOK' or 'NEW', token, owner, oldTok, route
end

local count, conns, current, written, indexed, notices, answer = (#ARGV - 11) / 7, {}, {}, {}, {}, {}, { 'OK', num(now), 0 }
for i = 1, count do conns[i] = ARGV[7 * i + 5] end
local given, found = redis.call('EXISTS', unpack(KEYS, 4, count + 3)) > 0, redis.call('HMGET', routes, unpack(conns))
for i, conn in ipairs(conns) do
  local key, at, status, token, owner, oldTok, route = KEYS[i + 3], 7 * i + 5, 'GONE', 0, '', ''
  local tok, user, own, x = ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3]) or nowMicros, ARGV[at + 4]
  local old, entry, counters, limit, which = current[conn] or found[i], gen .. '/' .. tok, countersOf(ARGV[at + 6], count + 4)
  if not given or redis.call('EXISTS', key) == 0 then
    status, token, owner, oldTok, route = decide(old, tok, user, own)
    local most = not old and tonumber(ARGV[at + 5])
    if status == 'NEW' and mode ~= 'restore' then limit, which = refusalOf(leases, counters, entry, index, most, #written / 2) end
    if limit then status, token, owner, oldTok, route = limit, which, '', '' end
  end
  if route then
    countIn(counters, entry, keyMs)
    current[conn], written[#written + 1], written[#written + 2] = route, conn, route
    indexed[#indexed + 1], indexed[#indexed + 2] = gen, conn
    local notice = { v = 1, t = 'superseded', c = conn, k = oldTok, f = num(token), x = x ~= '' and x or nil }
    if owner ~= '' then notices[#notices + 1] = { owner, notice } end
  end
  answer[4 * i], answer[4 * i + 1], answer[4 * i + 2], answer[4 * i + 3] = status, num(token), owner, oldTok
end
if #written > 0 then
  redis.call('HSET', routes, unpack(written))
  redis.call('ZADD', index, unpack(indexed))
  for _, key in ipairs(redis.call('HLEN', routes) <= #conns and { routes, index } or {}) do redis.call('PEXPIRE', key, keyMs) end
  if leaseOf(leases, gen) < now + leaseMs / 2 then extendLease(leases, gen, inc, leaseMs) end
end
answer[3] = redis.call('ZCARD', index)
for _, notice in ipairs(notices) do redis.call(pubCommand, channelPrefix .. notice[1], cjson.encode(notice[2])) end
return answer
