-- Says who owns connection ids.
--
-- KEYS[1] leases  leases of the partition
-- KEYS[2] routes  routes of the partition
--
-- ARGV[1] ...     conn, at most 500
--
-- RETURNS
--   OK live inc tok fencing token...  per connection; live 1: the route and its owner's lease hold; all others '' without a route
--   LIMIT                     more than 500 connections
--
-- NOTES
--   Changes nothing.
local leases, routes = KEYS[1], KEYS[2]

if #ARGV > MOST then return { 'LIMIT' } end

local answer, owners = { 'OK' }, {}
local found = #ARGV > 0 and redis.call('HMGET', routes, unpack(ARGV)) or {}
for i = 1, #ARGV do
  local live, inc, tok, fencingToken = 0, '', '', ''
  if found[i] then
    local gen, exp
    gen, tok, fencingToken, exp = parseRoute(found[i])
    if not owners[gen] then
      local till, owner = leaseOf(leases, gen)
      owners[gen] = { till = till, inc = owner or '' }
    end
    inc = owners[gen].inc
    if owners[gen].till > now and exp > now then live = 1 end
  end
  for _, value in ipairs({ live, inc, tok, fencingToken }) do answer[#answer + 1] = value end
end
return answer
