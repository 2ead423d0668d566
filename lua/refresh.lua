-- Gives routes of this node a new time to live, or only compares them with what the node believes.
--
-- KEYS[1] leases    leases of the partition
-- KEYS[2] routes    routes of the partition
-- KEYS[3] index     route owners of the partition
--
-- ARGV[1] inc       incarnation of the node
-- ARGV[2] gen       generation of its lease
-- ARGV[3] ttlMs     milliseconds the routes live from now on; 0: compare only, change nothing
-- ARGV[4] leaseMs   milliseconds the lease lives from now on
-- ARGV[5] keyMs     milliseconds the three keys live from now on
-- ARGV[6] ...       conn tok, at most 500 pairs
--
-- RETURNS
--   OK now code...  per pair 0: as given; 1: no route; 2: owned by another lease; 3: this lease, another token
--   LOST            the lease is not that of this node any more
--   LIMIT           more than 500 pairs; nothing was changed
--
-- NOTES
--   Only routes with code 0 are written.
local leases, routes, index = KEYS[1], KEYS[2], KEYS[3]
local inc, gen, ttlMs, leaseMs, keyMs = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), ARGV[5]

local conns, toks = {}, {}
for i = 6, #ARGV, 2 do
  conns[#conns + 1] = ARGV[i]
  toks[#toks + 1] = ARGV[i + 1]
end
if #conns > MOST then return { 'LIMIT' } end
if genOf(leases, inc) ~= gen then return { 'LOST' } end

local answer, renewed = { 'OK', num(now) }, {}
local found = #conns > 0 and redis.call('HMGET', routes, unpack(conns)) or {}
for i, conn in ipairs(conns) do
  local code = 1
  if found[i] then
    local routeGen, routeTok, fencingToken, _, prevs, takeovers, user = parseRoute(found[i])
    code = routeGen ~= gen and 2 or routeTok ~= toks[i] and 3 or 0
    if code == 0 and ttlMs > 0 then
      renewed[#renewed + 1] = conn
      renewed[#renewed + 1] = routeOf(gen, routeTok, fencingToken, now + ttlMs, prevs, takeovers, user)
    end
  end
  answer[#answer + 1] = code
end
if ttlMs > 0 then -- PEXPIRE comes first, as in lease: so routes are renewed in a full Redis
  for _, key in ipairs({ leases, routes, index }) do redis.call('PEXPIRE', key, keyMs) end
  extendLease(leases, gen, inc, leaseMs)
end
if #renewed > 0 then redis.call('HSET', routes, unpack(renewed)) end
return answer
