-- Remembers what a connection id follows, or follows no more, for a client that comes back.
--
-- KEYS[1] meta      epoch and last id of the log
-- KEYS[2] followed  what the id follows, by topic
--
-- ARGV[1] topic     the topic
-- ARGV[2] change    add: it is subscribed, and nothing else lets it follow the topic; keep: it is subscribed; drop: it is not
-- ARGV[3] limit     most topics to remember of the id
-- ARGV[4] ms        milliseconds to remember what there is of the id from now on
--
-- RETURNS
--   OK    it is remembered
--   FULL  the id has so many topics already; nothing was changed
--
-- NOTES
--   A field is '+<epoch> <id>' or '=<epoch> <id>' with the log's last id when the subscription began, '' in an empty log; '-'
--   for a topic that the id does not follow. After '+' nothing remains of a subscription that ends. The first position of a
--   subscription stands.
local meta, followed, topic, change, limit, ms = KEYS[1], KEYS[2], ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4]

local present = redis.call('HGET', followed, topic)
local mark = present and string.sub(present, 1, 1)
if not present and redis.call('HLEN', followed) >= limit then return { 'FULL' } end
if change == 'drop' and mark == '+' then
  redis.call('HDEL', followed, topic)
elseif change == 'drop' then
  redis.call('HSET', followed, topic, '-')
elseif mark ~= '+' and mark ~= '=' then
  local m = redis.call('HMGET', meta, 'e', 'ms', 'g')
  local since = m[1] and m[1] .. ' ' .. m[2] .. '-' .. m[3] or ''
  redis.call('HSET', followed, topic, ((change == 'add' and not present) and '+' or '=') .. since)
end
redis.call('PEXPIRE', followed, ms)
return { 'OK' }
