-- Reads what is remembered of the subscriptions of connection ids, and remembers it longer.
--
-- KEYS[1] ...  followed, of at most 32 connection ids
--
-- ARGV[1] ms   milliseconds to remember it from now on
--
-- RETURNS
--   OK remembered  for each id its topics: [topic state...], each state as remember writes it
--   LIMIT          more than 32 ids
--
-- NOTES
--   An id of which nothing is remembered has no key and gets none.
local ms = ARGV[1]

if #KEYS > 32 then return { 'LIMIT' } end

local answer = { 'OK' }
for i, key in ipairs(KEYS) do
  answer[i + 1] = redis.call('HGETALL', key)
  if #answer[i + 1] > 0 then redis.call('PEXPIRE', key, ms) end
end
return answer
