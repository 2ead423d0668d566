-- How the cluster counts the connections of users and addresses.
--   counter  '<gen>/<tok>' -> '' for each connection    '#m' minute, '#n' connects in it, '#f' connects in the one before
--            '#full' -> ms: the counter was full, and is not counted again until then
local counterKeys = 0 -- that were used so far
local function countersOf(limits, first) -- counters of the next registration: 'most,perMinute;' for each; first: position of all keys
  local counters = {}
  for most, perMinute in string.gmatch(limits, '(%d*),(%d*);') do
    counters[#counters + 1] = { key = KEYS[first + counterKeys], most = tonumber(most), perMinute = tonumber(perMinute) }
    counterKeys = counterKeys + 1
  end
  return counters
end
local function connectsOf(counter, entry) -- connects in this minute; in the one before; in 60 s, about; whether entry counts; full until
  local known = redis.call('HMGET', counter, '#m', '#n', '#f', entry, '#full')
  local n, f = tonumber(known[2] or '') or 0, tonumber(known[3] or '') or 0
  local behind = math.floor(now / 60000) - (tonumber(known[1] or '') or 0)
  if behind == 1 then
    n, f = 0, n
  elseif behind ~= 0 then
    n, f = 0, 0
  end
  return n, f, n + f * (1 - now % 60000 / 60000), known[4], tonumber(known[5] or '') or 0
end
local function refusalOf(leases, counters, entry, index, most, added) -- the limit that refuses one more, and the number of its counter
  if most and redis.call('ZCARD', index) + added >= most then return 'FULL', 0 end
  for i, counter in ipairs(counters) do
    local key, most = counter.key, counter.most
    local _, _, connects, counted, fullTill = connectsOf(key, entry)
    if not counted and counter.perMinute and connects >= counter.perMinute then return 'OFTEN', i end
    if not counted and most and redis.call('HLEN', key) >= most then
      if fullTill > now and fullTill <= now + 1000 then return 'FULL', i end
      local live, lives = 0, {}
      for _, each in ipairs(redis.call('HKEYS', key)) do
        local gen = string.match(each, '^(%d+)/')
        if gen and not lives[gen] then lives[gen] = leaseOf(leases, gen) end
        if gen and lives[gen] > now then live = live + 1 end
        if gen and lives[gen] == 0 then redis.call('HDEL', key, each) end -- its node left, or was reaped
      end
      if live >= most then
        redis.call('HSET', key, '#full', num(now + 1000))
        return 'FULL', i
      end
    end
  end
end
local function countIn(counters, entry, keyMs) -- a connection counts from now on; a repetition counts once
  for _, counter in ipairs(counters) do
    local n, f, _, counted = connectsOf(counter.key, entry)
    redis.call('HSET', counter.key, entry, '')
    if counter.perMinute and not counted then
      redis.call('HSET', counter.key, '#m', num(math.floor(now / 60000)), '#n', num(n + 1), '#f', num(f))
    end
    redis.call('PEXPIRE', counter.key, keyMs)
  end
end
