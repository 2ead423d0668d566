-- Compares some routes of a partition, of all nodes, with index and leases, and repairs what differs.
--
-- KEYS[1] leases   leases of the partition
-- KEYS[2] routes   routes of the partition
-- KEYS[3] index    route owners of the partition
--
-- ARGV[1] count    routes to compare, and as many entries of the index; at most 500
-- ARGV[2] repairs  most differences to repair; 0: only compare
-- ARGV[3] graceMs  milliseconds a lease must have been over to be dead
--
-- RETURNS
--   OK compared kind name repaired...  routes compared; per difference its kind, connection or incarnation, and 1 if repaired
--
-- NOTES
--   orphan: a route that ran out, or of a lease that is gone; removed. index: it names another owner, or a connection
--   without a route; corrected. half-lease: an incarnation that names a lease which is gone, or, by its field, a lease that
--   cannot be read; removed, so that its node opens another. dead-lease: never repaired here but by reap. Entries of the index
--   that belong to no lease come first; the others, and the routes, are chosen at random. A small partition is compared whole.
local leases, routes, index = KEYS[1], KEYS[2], KEYS[3]
local count, repairs, graceMs = math.min(tonumber(ARGV[1]), MOST), tonumber(ARGV[2]), tonumber(ARGV[3])

local answer = { 'OK', 0 }
local function report(kind, name, repair)
  local repaired = repair and repairs > 0
  if repaired then
    repair()
    repairs = repairs - 1
  end
  for _, value in ipairs({ kind, name, repaired and 1 or 0 }) do answer[#answer + 1] = value end
end

local fields, gens, known, seen = redis.call('HGETALL', leases), {}, {}, {}
for i = 1, #fields, 2 do
  local field = fields[i]
  local inc, gen = string.match(field, '^i:(.*)$'), string.match(field, '^g:(%d+)$')
  local till, owner = parseLease(gen and fields[i + 1])
  if inc and not select(2, leaseOf(leases, fields[i + 1])) or gen and not owner then
    report('half-lease', inc or field, function() redis.call('HDEL', leases, field) end)
  elseif gen then
    gens[#gens + 1] = tonumber(gen)
    known[gen] = true
    if till + graceMs <= now then report('dead-lease', owner) end
  end
end

local function examine(conn, route, indexed)
  if seen[conn] then return end
  seen[conn] = true
  local gen, _, _, exp = parseRoute(route or '')
  if not route then
    report('index', conn, function() redis.call('ZREM', index, conn) end)
  elseif not gen or exp <= now or not known[gen] then
    report('orphan', conn, function()
      redis.call('HDEL', routes, conn)
      redis.call('ZREM', index, conn)
    end)
  elseif indexed ~= gen then
    report('index', conn, function() redis.call('ZADD', index, gen, conn) end)
  end
end
local sample = redis.call('HRANDFIELD', routes, count, 'WITHVALUES')
answer[2] = #sample / 2
local conns = {}
for i = 1, #sample, 2 do conns[#conns + 1] = sample[i] end
local scores = #conns == 0 and {} or redis.call('ZMSCORE', index, unpack(conns))
for i, conn in ipairs(conns) do examine(conn, sample[2 * i], scores[i]) end

-- What is left of leases that are gone lies between the entries of those that are there.
local past, most = '-inf', count
table.sort(gens)
gens[#gens + 1] = math.huge
for _, gen in ipairs(gens) do
  local before = '(' .. num(gen)
  for _, conn in ipairs(redis.call('ZRANGEBYSCORE', index, past, before, 'LIMIT', 0, most)) do
    examine(conn, redis.call('HGET', routes, conn))
    most = most - 1
  end
  past = before
end
local entries = redis.call('ZRANDMEMBER', index, most)
local found = #entries == 0 and {} or redis.call('HMGET', routes, unpack(entries))
for i, conn in ipairs(entries) do if not found[i] then examine(conn, false) end end
return answer
