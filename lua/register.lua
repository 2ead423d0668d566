-- Makes a node the owner of a connection id:
--   1. refuses a node whose lease is gone, or which gave this registration up;
--   2. recognises an earlier attempt of this registration, and one that was superseded since;
--   3. decides by mode whether a live owner is superseded; counts takeovers;
--   4. writes route and index; notifies a former owner that was not reaped.
--
-- KEYS[1] leases          leases of the partition
-- KEYS[2] routes          routes of the partition
-- KEYS[3] index           route owners of the partition
-- KEYS[4] tombstone       mark of this very registration, left by an ambiguous unregister
--
-- ARGV[1] inc             incarnation of the node
-- ARGV[2] gen             generation of its lease
-- ARGV[3] conn            connection id
-- ARGV[4] tok             token of the connection within its node
-- ARGV[5] user            user of the connection; '' when there is none
-- ARGV[6] mode            take: supersede a live owner; nx: refuse; restore: as after a lost lease, never supersede
-- ARGV[7] ttlMs           milliseconds the route lives
-- ARGV[8] leaseMs         milliseconds the lease lives from now on
-- ARGV[9] keyMs           milliseconds the keys live when they are new
-- ARGV[10] takeoverLimit  takeovers of one id that succeed within the window; more than 500 count as 500
-- ARGV[11] takeoverWindow milliseconds
-- ARGV[12] pubCommand     PUBLISH or SPUBLISH
-- ARGV[13] channelPrefix  channel of a node without its incarnation
--
-- RETURNS
--   NEW    fencingToken inc tok now  owner; inc and tok of a notified former owner that was no longer live, or ''
--   TOOK   fencingToken inc tok now  owner; inc and tok of the former owner, which was notified
--   DUP    fencingToken inc tok now  owner since an earlier attempt with this token; inc and tok are ''
--   STALE  fencingToken inc tok now  superseded since an earlier attempt; inc and tok of the present owner
--   EXISTS fencingToken inc tok now  mode nx: inc and tok of the live owner
--   MOVED  fencingToken inc tok now  mode restore: inc and tok of the live owner
--   STORM  fencingToken inc tok now  mode take: the limit is reached; inc and tok of the owner, which keeps the id
--   GONE                             the registration was given up before
--   LOST                             the lease is not that of this node any more
--
-- NOTES
--   Only NEW, TOOK and DUP change the route. The fencing token grows with every owner of an id, also after a flush. The last
--   three superseded tokens are kept: a late retry of one must not win the id back. A route of its own under an earlier
--   lease is moved to the present one (NEW): else it would be reaped with the old lease. The former owner gets the JSON
--   {v:1, t:'superseded', c:conn, k:tok, f:fencing token} on its channel, also when its lease ran out: a node that only
--   stalled renews the lease when it wakes up, and would keep the connection until it reconciles.
local leases, routes, index, tombstone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local inc, gen, conn, tok, user, mode = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local ttlMs, leaseMs, keyMs = tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
local takeoverLimit, takeoverWindow = math.min(tonumber(ARGV[10]), MOST), tonumber(ARGV[11])
local pubCommand, channelPrefix = ARGV[12], ARGV[13]

if genOf(leases, inc) ~= gen then return { 'LOST' } end
if redis.call('EXISTS', tombstone) == 1 then return { 'GONE' } end

local status, formerInc, formerTok, fencingToken, prevs, takeovers = 'NEW', '', '', nowMicros, '', {}
local old = redis.call('HGET', routes, conn)
if old then
  local oldGen, oldTok, oldFencingToken, oldExp, oldPrevs, oldTakeovers = parseRoute(old)
  local till, oldInc = leaseOf(leases, oldGen)
  local same = oldInc == inc and oldTok == tok
  if same and oldGen == gen then
    redis.call('HSET', routes, conn, routeOf(gen, tok, oldFencingToken, now + ttlMs, oldPrevs, oldTakeovers, user))
    return { 'DUP', oldFencingToken, '', '', num(now) }
  end
  local function refuse(refusal) return { refusal, oldFencingToken, oldInc or '', oldTok, num(now) } end
  if not same and string.find(',' .. oldPrevs .. ',', ',' .. inc .. '/' .. tok .. ',', 1, true) then return refuse('STALE') end
  local live = not same and oldInc and till > now and oldExp > now
  if live and mode == 'nx' then return refuse('EXISTS') end
  if live and mode == 'restore' then return refuse('MOVED') end
  for at in string.gmatch(oldTakeovers, '%d+') do
    if now - tonumber(at) < takeoverWindow then takeovers[#takeovers + 1] = at end
  end
  if live and #takeovers >= takeoverLimit then return refuse('STORM') end
  if live then takeovers[#takeovers + 1] = num(now) end
  fencingToken = math.max(fencingToken, tonumber(oldFencingToken) + 1)
  if same then
    prevs = oldPrevs
  else
    local kept = { (oldInc or '?') .. '/' .. oldTok }
    for prev in string.gmatch(oldPrevs, '[^,]+') do if #kept < 3 then kept[#kept + 1] = prev end end
    status, formerInc, formerTok, prevs = live and 'TOOK' or 'NEW', oldInc or '', oldTok, table.concat(kept, ',')
  end
end

local route = routeOf(gen, tok, num(fencingToken), now + ttlMs, prevs, table.concat(takeovers, ','), user)
redis.call('HSET', routes, conn, route)
redis.call('ZADD', index, gen, conn)
if redis.call('HLEN', routes) == 1 then
  redis.call('PEXPIRE', routes, keyMs)
  redis.call('PEXPIRE', index, keyMs)
end
if leaseOf(leases, gen) < now + leaseMs / 2 then extendLease(leases, gen, inc, leaseMs) end
if formerInc ~= '' then
  local notice = cjson.encode({ v = 1, t = 'superseded', c = conn, k = formerTok, f = num(fencingToken) })
  redis.call(pubCommand, channelPrefix .. formerInc, notice)
end
return { status, num(fencingToken), formerInc, formerTok, num(now) }
