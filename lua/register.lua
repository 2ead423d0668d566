-- Makes a node the owner of a connection id:
--   1. refuses a writer whose lease is gone, or who gave this registration up;
--   2. recognises its own earlier attempt, and one that was superseded since;
--   3. decides by mode what a live owner means; counts takeovers;
--   4. writes route and index; tells a former owner, unless it was reaped, that it was superseded.
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
-- ARGV[5] mode            take: supersede a live owner; nx: refuse; restore: as after a lost lease, never supersede
-- ARGV[6] ttlMs           milliseconds the route lives
-- ARGV[7] leaseMs         milliseconds the lease lives from now on
-- ARGV[8] keyMs           milliseconds the keys live when they are new
-- ARGV[9] takeoverLimit   takeovers of one id that succeed within the window; more than 500 count as 500
-- ARGV[10] takeoverWindow milliseconds
-- ARGV[11] pubCommand     PUBLISH or SPUBLISH
-- ARGV[12] channelPrefix  channel of a node without its incarnation
--
-- RETURNS
--   NEW    fencing token inc tok now  owner; inc and tok of a former owner that was no longer live, and has been told, or ''
--   TOOK   fencing token inc tok now  owner; inc and tok of the former owner, who has been told
--   DUP    fencing token inc tok now  owner since an earlier attempt with this token; inc and tok are ''
--   STALE  fencing token inc tok now  superseded since an earlier attempt; the present owner is named
--   EXISTS fencing token inc tok now  mode nx: the live owner is named
--   MOVED  fencing token inc tok now  mode restore: the live owner is named
--   STORM  fencing token inc tok now  mode take: the limit is reached, the owner that is named keeps it
--   GONE                      the registration was given up before
--   LOST                      the lease is not that of this node any more
--
-- NOTES
--   Every answer but NEW, TOOK and DUP leaves the route as it was. fencing token grows with every owner of an id, also after a
--   flush. The last three superseded tokens are kept, because a late retry of one must not win the id back. A route of
--   its own under an earlier lease is moved to the present one (NEW), otherwise it would be reaped with the old lease.
--   The former owner gets the JSON {v:1, t:'superseded', c:conn, k:tok, f:fencing token} on its channel, also when its lease ran
--   out: a node that only stalled wakes up, renews the lease, and would keep the connection until its next check.
local leases, routes, index, tombstone = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local inc, gen, conn, tok, mode = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ttlMs, leaseMs, keyMs = tonumber(ARGV[6]), tonumber(ARGV[7]), ARGV[8]
local takeoverLimit, takeoverWindow = math.min(tonumber(ARGV[9]), MOST), tonumber(ARGV[10])
local pubCommand, channelPrefix = ARGV[11], ARGV[12]

if genOf(leases, inc) ~= gen then return { 'LOST' } end
if redis.call('EXISTS', tombstone) == 1 then return { 'GONE' } end

local status, formerInc, formerTok, fencingToken, prevs, takeovers = 'NEW', '', '', nowMicros, '', {}
local old = redis.call('HGET', routes, conn)
if old then
  local oldGen, oldTok, oldFence, oldExp, oldPrevs, oldTakeovers = parseRoute(old)
  local till, oldInc = leaseOf(leases, oldGen)
  local same = oldInc == inc and oldTok == tok
  if same and oldGen == gen then
    redis.call('HSET', routes, conn, routeOf(gen, tok, oldFence, now + ttlMs, oldPrevs, oldTakeovers))
    return { 'DUP', oldFence, '', '', num(now) }
  end
  local function refuse(refusal) return { refusal, oldFence, oldInc or '', oldTok, num(now) } end
  if not same and string.find(',' .. oldPrevs .. ',', ',' .. inc .. '/' .. tok .. ',', 1, true) then return refuse('STALE') end
  local live = not same and oldInc and till > now and oldExp > now
  if live and mode == 'nx' then return refuse('EXISTS') end
  if live and mode == 'restore' then return refuse('MOVED') end
  for at in string.gmatch(oldTakeovers, '%d+') do
    if now - tonumber(at) < takeoverWindow then takeovers[#takeovers + 1] = at end
  end
  if live and #takeovers >= takeoverLimit then return refuse('STORM') end
  if live then takeovers[#takeovers + 1] = num(now) end
  fencingToken = math.max(fencingToken, tonumber(oldFence) + 1)
  if same then
    prevs = oldPrevs
  else
    local kept = { (oldInc or '?') .. '/' .. oldTok }
    for prev in string.gmatch(oldPrevs, '[^,]+') do if #kept < 3 then kept[#kept + 1] = prev end end
    status, formerInc, formerTok, prevs = live and 'TOOK' or 'NEW', oldInc or '', oldTok, table.concat(kept, ',')
  end
end

redis.call('HSET', routes, conn, routeOf(gen, tok, num(fencingToken), now + ttlMs, prevs, table.concat(takeovers, ',')))
redis.call('ZADD', index, gen, conn)
if redis.call('HLEN', routes) == 1 then
  redis.call('PEXPIRE', routes, keyMs)
  redis.call('PEXPIRE', index, keyMs)
end
if leaseOf(leases, gen) < now + leaseMs / 2 then extendLease(leases, gen, inc, leaseMs) end
if formerInc ~= '' then
  local told = cjson.encode({ v = 1, t = 'superseded', c = conn, k = formerTok, f = num(fencingToken) })
  redis.call(pubCommand, channelPrefix .. formerInc, told)
end
return { status, num(fencingToken), formerInc, formerTok, num(now) }
