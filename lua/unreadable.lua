-- Names the keys that have another type.
--
-- KEYS[1] ...  key, of at most 100
--
-- ARGV[1] ...  type, of each key: hash, stream or string
--
-- RETURNS
--   OK unreadable...  the keys that have another type
--   LIMIT             more than 100 keys
--
-- NOTES
--   Changes nothing. A key that is not there can be read.
local READS = { hash = 'HLEN', stream = 'XLEN', string = 'GET' }

if #KEYS > 100 then return { 'LIMIT' } end
local reply = { 'OK' }
for i, key in ipairs(KEYS) do
  local answer = redis.pcall(READS[ARGV[i]], key)
  if type(answer) == 'table' and answer.err then reply[#reply + 1] = key end
end
return reply
